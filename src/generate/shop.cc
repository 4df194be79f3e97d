#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "generate/key_pool.h"
#include "generate/values.h"
#include "generate/workload.h"
#include "postgres/connection.h"

namespace freshet::generate {
namespace {

constexpr std::string_view kSetup = R"sql(
CREATE TABLE IF NOT EXISTS public.users (
  user_id uuid PRIMARY KEY,
  email varchar(255) NOT NULL UNIQUE,
  first_name varchar(100),
  last_name varchar(100),
  phone varchar(50),
  address jsonb,
  status varchar(20) NOT NULL DEFAULT 'active',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz);
CREATE TABLE IF NOT EXISTS public.products (
  product_id uuid PRIMARY KEY,
  sku varchar(100) NOT NULL UNIQUE,
  name varchar(255) NOT NULL,
  description text,
  category varchar(100),
  subcategory varchar(100),
  price numeric(10,2) NOT NULL,
  cost numeric(10,2),
  stock_quantity integer NOT NULL DEFAULT 0,
  attributes jsonb,
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public.orders (
  order_id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES public.users,
  order_number varchar(50) NOT NULL UNIQUE,
  status varchar(30) NOT NULL DEFAULT 'pending',
  total_amount numeric(12,2) NOT NULL,
  tax_amount numeric(10,2),
  shipping_amount numeric(10,2),
  discount_amount numeric(10,2),
  currency varchar(3) NOT NULL DEFAULT 'USD',
  shipping_address jsonb,
  billing_address jsonb,
  notes text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  shipped_at timestamptz,
  delivered_at timestamptz);
CREATE INDEX IF NOT EXISTS orders_user_id ON public.orders (user_id);
CREATE TABLE IF NOT EXISTS public.order_items (
  order_item_id uuid PRIMARY KEY,
  order_id uuid NOT NULL REFERENCES public.orders ON DELETE CASCADE,
  product_id uuid NOT NULL REFERENCES public.products,
  quantity integer NOT NULL,
  unit_price numeric(10,2) NOT NULL,
  discount numeric(5,2),
  total_price numeric(12,2) NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS order_items_order_id ON public.order_items (order_id);
CREATE INDEX IF NOT EXISTS order_items_product_id ON public.order_items (product_id);
CREATE TABLE IF NOT EXISTS public.inventory_movements (
  movement_id uuid PRIMARY KEY,
  product_id uuid NOT NULL REFERENCES public.products,
  warehouse_id integer NOT NULL,
  movement_type varchar(20) NOT NULL,
  quantity integer NOT NULL,
  reference_type varchar(50),
  reference_id uuid,
  notes text,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS inventory_movements_product_id
  ON public.inventory_movements (product_id);
CREATE TABLE IF NOT EXISTS public.audit_log (
  audit_id bigserial PRIMARY KEY,
  table_name text NOT NULL,
  operation text NOT NULL,
  row_id uuid NOT NULL,
  changed_columns text[],
  changed_at timestamptz NOT NULL DEFAULT now());
CREATE OR REPLACE FUNCTION public.write_audit() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
  new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
BEGIN
  INSERT INTO public.audit_log (table_name, operation, row_id, changed_columns)
  VALUES (TG_TABLE_NAME, lower(TG_OP),
          (CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END ->> TG_ARGV[0])::uuid,
          (SELECT array_agg(key ORDER BY key)
           FROM jsonb_each(CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END)
           WHERE old_row -> key IS DISTINCT FROM new_row -> key));
  RETURN NULL;
END $body$;
DO $body$
DECLARE
  audited record;
BEGIN
  FOR audited IN SELECT * FROM (VALUES ('users', 'user_id'), ('products', 'product_id'),
                                       ('orders', 'order_id')) AS t (name, key) LOOP
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = audited.name || '_audit'
                   AND tgrelid = ('public.' || audited.name)::regclass) THEN
      EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON public.%I '
                     'FOR EACH ROW EXECUTE PROCEDURE public.write_audit(%L)',
                     audited.name || '_audit', audited.name, audited.key);
    END IF;
  END LOOP;
END $body$;
)sql";

constexpr std::array<std::string_view, 5> kCategories = {"home", "outdoor", "office", "kitchen",
                                                         "travel"};
constexpr std::array<std::string_view, 4> kCurrencies = {"USD", "EUR", "GBP", "JPY"};
constexpr std::array<std::string_view, 4> kMovementTypes = {"in", "out", "transfer", "adjustment"};

struct Order {
  Uuid id;
  Uuid user;
};

struct Item {
  Uuid id;
  Uuid order;
};

class Shop final : public Workload {
 public:
  explicit Shop(int64_t run) : run_(run) {}

  std::string_view setup_sql() const override { return kSetup; }

  Status Load(postgres::Connection& connection, Random& random) override;

  void Insert(Random& random, Statements& out) override;
  void Update(Random& random, Statements& out) override;
  void Delete(Random& random, Statements& out) override;
  void ChangeKey(Random& random, Statements& out) override;
  void WriteToast(Random& random, Statements& out) override;
  void WriteOddValues(Random& random, Statements& out) override;
  void InsertUpdateDelete(Random& random, Statements& out) override;
  void Truncate(Random& random, Statements& out) override;

 private:
  void InsertUser(Random& random, Statements& out);
  void InsertProduct(Random& random, Statements& out);
  void InsertOrder(Random& random, Statements& out);
  void InsertItem(const Uuid& order, Random& random, Statements& out);
  void InsertMovement(Random& random, Statements& out);
  void DeleteOrder(Random& random, Statements& out);
  void DeleteUser(Random& random, Statements& out);

  const int64_t run_;
  int64_t names_ = 0;  ///< e-mail addresses, SKUs and order numbers made up in this run
  KeyPool<Uuid> users_;
  KeyPool<Uuid> products_;
  KeyPool<Order> orders_;
  KeyPool<Item> items_;
  KeyPool<Uuid> movements_;
};

Status Shop::Load(postgres::Connection& connection, Random& random) {
  const auto load = [&](std::string_view sql, auto& pool, const auto& make) -> Status {
    pool.Clear();
    FRESHET_TRY(const postgres::Rows rows,
                connection.Query(fmt::format("{} ORDER BY 1 LIMIT {}", sql, pool.kCapacity)));
    for (int i = 0; i < rows.size(); ++i) pool.Add(make(rows, i), random);
    return {};
  };
  const auto id = [](const postgres::Rows& rows, int row) { return ParseUuid(rows.at(row, 0)); };
  FRESHET_RETURN_IF_ERROR(load("SELECT user_id FROM public.users", users_, id));
  FRESHET_RETURN_IF_ERROR(load("SELECT product_id FROM public.products", products_, id));
  FRESHET_RETURN_IF_ERROR(
      load("SELECT movement_id FROM public.inventory_movements", movements_, id));
  FRESHET_RETURN_IF_ERROR(load("SELECT order_id, user_id FROM public.orders", orders_,
                               [](const postgres::Rows& rows, int row) {
                                 return Order{.id = ParseUuid(rows.at(row, 0)),
                                              .user = ParseUuid(rows.at(row, 1))};
                               }));
  return load("SELECT order_item_id, order_id FROM public.order_items", items_,
              [](const postgres::Rows& rows, int row) {
                return Item{.id = ParseUuid(rows.at(row, 0)), .order = ParseUuid(rows.at(row, 1))};
              });
}

void Shop::InsertUser(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const std::string first = FirstName(random);
  const std::string last = LastName(random);
  const std::string phone = PhoneOrNull(random);
  const std::string address = random.Chance(0.2) ? "NULL" : AddressJson(random);
  out.Add(
      fmt::format("INSERT INTO public.users (user_id, email, first_name, last_name, phone, "
                  "address) VALUES ({}, 'user{}.{}@example.com', {}, {}, {}, {})",
                  Quote(id), run_, ++names_, first, last, phone, address));
  if (lasting()) users_.Add(id, random);
}

void Shop::InsertProduct(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const std::string name = ProductName(random);
  const std::string description = random.Chance(0.2) ? ToastText(random) : Sentence(random);
  const std::string_view category = random.Pick(kCategories);
  const std::string subcategory = random.Chance(0.5) ? "NULL" : "'new'";
  const int64_t price = random.Between(100, 50'000);
  const int64_t stock = random.Between(0, 500);
  const int64_t weight = random.Between(1, 9'999);
  out.Add(fmt::format(
      "INSERT INTO public.products (product_id, sku, name, description, category, subcategory, "
      "price, cost, stock_quantity, attributes) VALUES ({}, 'SKU-{}-{}', {}, {}, '{}', {}, {}, {}, "
      "{}, '{{\"grams\": {}, \"tags\": [\"a\", null]}}')",
      Quote(id), run_, ++names_, name, description, category, subcategory, Cents(price),
      Cents(price / 2), stock, weight));
  if (lasting()) products_.Add(id, random);
}

void Shop::InsertItem(const Uuid& order, Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const Uuid product = products_.Pick(random);
  const int64_t quantity = random.Between(1, 5);
  const int64_t price = random.Between(100, 50'000);
  const std::string discount = random.Chance(0.7) ? "NULL" : Cents(random.Between(0, 9'999));
  out.Add(
      fmt::format("INSERT INTO public.order_items (order_item_id, order_id, product_id, "
                  "quantity, unit_price, discount, total_price) "
                  "VALUES ({}, {}, {}, {}, {}, {}, {})",
                  Quote(id), Quote(order), Quote(product), quantity, Cents(price), discount,
                  Cents(quantity * price)));
  if (lasting()) items_.Add({.id = id, .order = order}, random);
}

void Shop::InsertOrder(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const Uuid user = users_.Pick(random);
  const int64_t total = random.Between(500, 200'000);
  const std::string_view currency = random.Pick(kCurrencies);
  const std::string shipping_address = AddressJson(random);
  const std::string billing_address = random.Chance(0.5) ? "NULL" : AddressJson(random);
  const std::string notes = random.Chance(0.6) ? "NULL" : Sentence(random);
  out.Add(fmt::format(
      "INSERT INTO public.orders (order_id, user_id, order_number, total_amount, tax_amount, "
      "shipping_amount, discount_amount, currency, shipping_address, billing_address, notes) "
      "VALUES ({}, {}, 'ORD-{}-{:06}', {}, {}, {}, 0, '{}', {}, {}, {})",
      Quote(id), Quote(user), run_, ++names_, Cents(total), Cents(total / 5),
      Cents(total > 5'000 ? 0 : 499), currency, shipping_address, billing_address, notes));
  if (lasting()) orders_.Add({.id = id, .user = user}, random);
  const int64_t items = random.Between(1, 4);
  for (int64_t i = 0; i < items; ++i) InsertItem(id, random, out);
}

void Shop::InsertMovement(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const Uuid product = products_.Pick(random);
  const int64_t warehouse = random.Between(1, 8);
  const std::string_view type = random.Pick(kMovementTypes);
  const int64_t quantity = random.Between(-50, 200);
  const bool of_order = !orders_.empty() && random.Chance(0.5);
  const std::string reference = of_order ? Quote(orders_.Pick(random).id) : "NULL";
  const std::string notes = random.Chance(0.8) ? "NULL" : Sentence(random);
  out.Add(
      fmt::format("INSERT INTO public.inventory_movements (movement_id, product_id, "
                  "warehouse_id, movement_type, quantity, reference_type, reference_id, notes) "
                  "VALUES ({}, {}, {}, '{}', {}, {}, {}, {})",
                  Quote(id), Quote(product), warehouse, type, quantity,
                  of_order ? "'order'" : "NULL", reference, notes));
  if (lasting()) movements_.Add(id, random);
}

void Shop::Insert(Random& random, Statements& out) {
  const uint64_t draw = random.Below(100);
  if (users_.empty() || draw < 15) return InsertUser(random, out);
  if (products_.empty() || draw < 22) return InsertProduct(random, out);
  if (draw < 62) return InsertOrder(random, out);
  InsertMovement(random, out);
}

void Shop::Update(Random& random, Statements& out) {
  const uint64_t draw = random.Below(100);
  if (users_.empty() || products_.empty() || orders_.empty() || items_.empty()) {
    return Insert(random, out);
  }
  if (draw < 50) {
    constexpr std::array<std::string_view, 5> kSteps = {
        "status = 'paid'", "status = 'packed'", "status = 'shipped', shipped_at = now()",
        "status = 'delivered', delivered_at = now()", "status = 'cancelled', notes = NULL"};
    const std::string_view step = random.Pick(kSteps);
    out.Add(fmt::format("UPDATE public.orders SET {}, updated_at = now() WHERE order_id = {}", step,
                        Quote(orders_.Pick(random).id)));
  } else if (draw < 75) {
    const int64_t stock = random.Between(0, 500);
    const int64_t price = random.Between(100, 50'000);
    out.Add(
        fmt::format("UPDATE public.products SET stock_quantity = {}, price = {}, is_active = "
                    "{}, updated_at = now() WHERE product_id = {}",
                    stock, Cents(price), stock > 0, Quote(products_.Pick(random))));
  } else if (draw < 90) {
    const bool leaves = random.Chance(0.1);
    const std::string phone = PhoneOrNull(random);
    out.Add(
        fmt::format("UPDATE public.users SET phone = {}, status = '{}', deleted_at = {}, "
                    "updated_at = now() WHERE user_id = {}",
                    phone, leaves ? "deleted" : "active", leaves ? "now()" : "NULL",
                    Quote(users_.Pick(random))));
  } else {
    const int64_t quantity = random.Between(1, 9);
    out.Add(
        fmt::format("UPDATE public.order_items SET quantity = {0}, total_price = unit_price * "
                    "{0} WHERE order_item_id = {1}",
                    quantity, Quote(items_.Pick(random).id)));
  }
}

void Shop::DeleteOrder(Random& random, Statements& out) {
  const Order order = orders_.Take(random);
  items_.Forget([&](const Item& item) { return item.order == order.id; });
  out.Add(fmt::format("DELETE FROM public.orders WHERE order_id = {}", Quote(order.id)));
}

void Shop::DeleteUser(Random& random, Statements& out) {
  const Uuid user = users_.Take(random);
  std::vector<Uuid> gone;
  orders_.Forget([&](const Order& order) {
    if (order.user == user) gone.push_back(order.id);
    return order.user == user;
  });
  items_.Forget([&](const Item& item) {
    return std::find(gone.begin(), gone.end(), item.order) != gone.end();
  });
  out.Add(fmt::format("DELETE FROM public.orders WHERE user_id = {}", Quote(user)),
          static_cast<int64_t>(gone.size()));
  out.Add(fmt::format("DELETE FROM public.users WHERE user_id = {}", Quote(user)));
}

void Shop::Delete(Random& random, Statements& out) {
  const uint64_t draw = random.Below(100);
  if (draw < 45 && !movements_.empty()) {
    out.Add(fmt::format("DELETE FROM public.inventory_movements WHERE movement_id = {}",
                        Quote(movements_.Take(random))));
  } else if (draw < 75 && !items_.empty()) {
    out.Add(fmt::format("DELETE FROM public.order_items WHERE order_item_id = {}",
                        Quote(items_.Take(random).id)));
  } else if (draw < 95 && !orders_.empty()) {
    DeleteOrder(random, out);
  } else if (users_.size() > 1) {
    DeleteUser(random, out);
  } else {
    Insert(random, out);
  }
}

void Shop::ChangeKey(Random& random, Statements& out) {
  if (movements_.empty()) return Insert(random, out);
  const Uuid old_id = movements_.Take(random);
  const Uuid new_id = random.NextUuid();
  out.Add(
      fmt::format("UPDATE public.inventory_movements SET movement_id = {} WHERE movement_id = {}",
                  Quote(new_id), Quote(old_id)));
  movements_.Add(new_id, random);
}

void Shop::WriteToast(Random& random, Statements& out) {
  if (products_.empty() || orders_.empty()) return Insert(random, out);
  const Uuid product = products_.Pick(random);
  const std::string description = ToastText(random);
  out.Add(fmt::format("UPDATE public.products SET description = {} WHERE product_id = {}",
                      description, Quote(product)));
  // The next update of the same row leaves the big value alone: the server then does not send it.
  out.Add(
      fmt::format("UPDATE public.products SET is_active = NOT is_active "
                  "WHERE product_id = {}",
                  Quote(product)));
  const Uuid order = orders_.Pick(random).id;
  out.Add(fmt::format("UPDATE public.orders SET notes = {} WHERE order_id = {}", ToastText(random),
                      Quote(order)));
}

void Shop::WriteOddValues(Random& random, Statements& out) {
  if (users_.empty() || products_.empty() || orders_.empty()) return Insert(random, out);
  const uint64_t draw = random.Below(3);
  if (draw == 0) {
    const std::string name = OddText(random);
    const std::string deleted_at = OddTimestamp(random);
    out.Add(
        fmt::format("UPDATE public.users SET last_name = {}, phone = NULL, deleted_at = {} "
                    "WHERE user_id = {}",
                    name, deleted_at, Quote(users_.Pick(random))));
  } else if (draw == 1) {
    const std::string cost = OddNumeric(random);
    const std::string price = OddNumeric(random);
    const int64_t stock = random.Chance(0.5) ? INT32_MAX : INT32_MIN;
    out.Add(
        fmt::format("UPDATE public.products SET price = {}, cost = {}, stock_quantity = {}, "
                    "attributes = NULL WHERE product_id = {}",
                    price, cost, stock, Quote(products_.Pick(random))));
  } else {
    const std::string notes = OddText(random);
    const std::string tax = OddNumeric(random);
    const std::string shipped_at = OddTimestamp(random);
    out.Add(
        fmt::format("UPDATE public.orders SET notes = {}, tax_amount = {}, shipped_at = {} "
                    "WHERE order_id = {}",
                    notes, tax, shipped_at, Quote(orders_.Pick(random).id)));
  }
}

void Shop::InsertUpdateDelete(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  out.Add(
      fmt::format("INSERT INTO public.users (user_id, email) VALUES ({}, "
                  "'guest{}.{}@example.com')",
                  Quote(id), run_, ++names_));
  out.Add(fmt::format("UPDATE public.users SET status = 'guest' WHERE user_id = {}", Quote(id)));
  out.Add(fmt::format("DELETE FROM public.users WHERE user_id = {}", Quote(id)));
}

void Shop::Truncate(Random&, Statements& out) { out.Add("TRUNCATE public.audit_log", 0); }

}  // namespace

std::unique_ptr<Workload> MakeShop(int64_t run) { return std::make_unique<Shop>(run); }

}  // namespace freshet::generate
