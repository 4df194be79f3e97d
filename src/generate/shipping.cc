#include <fmt/format.h>

#include <array>

#include "generate/key_pool.h"
#include "generate/values.h"
#include "generate/workload.h"
#include "postgres/connection.h"

namespace freshet::generate {
namespace {

constexpr std::string_view kSetup = R"sql(
CREATE TABLE IF NOT EXISTS public.customers (
  customer_id uuid PRIMARY KEY,
  name text,
  email text,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS public.transactions (
  transaction_id uuid PRIMARY KEY,
  customer_id uuid NOT NULL REFERENCES public.customers,
  amount numeric(12,2),
  status text NOT NULL DEFAULT 'authorized',
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS transactions_customer_id ON public.transactions (customer_id);
CREATE TABLE IF NOT EXISTS public.shipments (
  shipment_id uuid PRIMARY KEY,
  transaction_id uuid NOT NULL REFERENCES public.transactions,
  address text,
  status text NOT NULL DEFAULT 'pending',
  updated_at timestamptz DEFAULT now());
CREATE INDEX IF NOT EXISTS shipments_transaction_id ON public.shipments (transaction_id);
)sql";

class Shipping final : public Workload {
 public:
  explicit Shipping(int64_t run) : run_(run) {}

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
  void InsertCustomer(Random& random, Statements& out);
  void InsertTransaction(Random& random, Statements& out);
  void InsertShipment(Random& random, Statements& out);

  const int64_t run_;
  int64_t names_ = 0;
  KeyPool<Uuid> customers_;
  KeyPool<Uuid> transactions_;
  KeyPool<Uuid> shipments_;
};

Status Shipping::Load(postgres::Connection& connection, Random& random) {
  const auto load = [&](std::string_view sql, KeyPool<Uuid>& pool) -> Status {
    pool.Clear();
    FRESHET_TRY(const postgres::Rows rows,
                connection.Query(fmt::format("{} ORDER BY 1 LIMIT {}", sql, pool.kCapacity)));
    for (int i = 0; i < rows.size(); ++i) pool.Add(ParseUuid(rows.at(i, 0)), random);
    return {};
  };
  FRESHET_RETURN_IF_ERROR(load("SELECT customer_id FROM public.customers", customers_));
  FRESHET_RETURN_IF_ERROR(load("SELECT transaction_id FROM public.transactions", transactions_));
  return load("SELECT shipment_id FROM public.shipments", shipments_);
}

void Shipping::InsertCustomer(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const std::string name = FirstName(random);
  out.Add(
      fmt::format("INSERT INTO public.customers (customer_id, name, email) VALUES ({}, {}, "
                  "'customer{}.{}@example.com')",
                  Quote(id), name, run_, ++names_));
  if (lasting()) customers_.Add(id, random);
}

void Shipping::InsertTransaction(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const Uuid customer = customers_.Pick(random);
  const std::string amount = random.Chance(0.05) ? "NULL" : Cents(random.Between(1, 10'000'000));
  out.Add(
      fmt::format("INSERT INTO public.transactions (transaction_id, customer_id, amount) "
                  "VALUES ({}, {}, {})",
                  Quote(id), Quote(customer), amount));
  if (lasting()) transactions_.Add(id, random);
}

void Shipping::InsertShipment(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  const Uuid transaction = transactions_.Pick(random);
  const std::string address = random.Chance(0.1) ? "NULL" : AddressJson(random);
  out.Add(
      fmt::format("INSERT INTO public.shipments (shipment_id, transaction_id, address) "
                  "VALUES ({}, {}, {})",
                  Quote(id), Quote(transaction), address));
  if (lasting()) shipments_.Add(id, random);
}

void Shipping::Insert(Random& random, Statements& out) {
  const uint64_t draw = random.Below(100);
  if (customers_.empty() || draw < 15) return InsertCustomer(random, out);
  if (transactions_.empty() || draw < 60) return InsertTransaction(random, out);
  InsertShipment(random, out);
}

void Shipping::Update(Random& random, Statements& out) {
  constexpr std::array<std::string_view, 4> kStatuses = {"packed", "shipped", "delivered",
                                                         "returned"};
  constexpr std::array<std::string_view, 3> kPaid = {"captured", "refunded", "failed"};
  if (transactions_.empty() || shipments_.empty()) return Insert(random, out);
  if (random.Chance(0.6)) {
    const std::string_view status = random.Pick(kStatuses);
    out.Add(fmt::format(
        "UPDATE public.shipments SET status = '{}', updated_at = now() WHERE shipment_id = {}",
        status, Quote(shipments_.Pick(random))));
  } else {
    const std::string_view status = random.Pick(kPaid);
    out.Add(fmt::format("UPDATE public.transactions SET status = '{}' WHERE transaction_id = {}",
                        status, Quote(transactions_.Pick(random))));
  }
}

void Shipping::Delete(Random& random, Statements& out) {
  if (shipments_.empty()) return Insert(random, out);
  out.Add(fmt::format("DELETE FROM public.shipments WHERE shipment_id = {}",
                      Quote(shipments_.Take(random))));
}

void Shipping::ChangeKey(Random& random, Statements& out) {
  if (shipments_.empty()) return Insert(random, out);
  const Uuid old_id = shipments_.Take(random);
  const Uuid new_id = random.NextUuid();
  out.Add(fmt::format("UPDATE public.shipments SET shipment_id = {} WHERE shipment_id = {}",
                      Quote(new_id), Quote(old_id)));
  shipments_.Add(new_id, random);
}

void Shipping::WriteToast(Random& random, Statements& out) {
  if (shipments_.empty()) return Insert(random, out);
  const Uuid shipment = shipments_.Pick(random);
  out.Add(fmt::format("UPDATE public.shipments SET address = {} WHERE shipment_id = {}",
                      ToastText(random), Quote(shipment)));
  out.Add(fmt::format("UPDATE public.shipments SET status = 'held' WHERE shipment_id = {}",
                      Quote(shipment)));
}

void Shipping::WriteOddValues(Random& random, Statements& out) {
  if (customers_.empty() || transactions_.empty() || shipments_.empty()) {
    return Insert(random, out);
  }
  const std::string name = OddText(random);
  out.Add(fmt::format("UPDATE public.customers SET name = {} WHERE customer_id = {}", name,
                      Quote(customers_.Pick(random))));
  const std::string amount = OddNumeric(random);
  out.Add(fmt::format("UPDATE public.transactions SET amount = {} WHERE transaction_id = {}",
                      amount, Quote(transactions_.Pick(random))));
  const std::string updated_at = OddTimestamp(random);
  out.Add(fmt::format("UPDATE public.shipments SET updated_at = {} WHERE shipment_id = {}",
                      updated_at, Quote(shipments_.Pick(random))));
}

void Shipping::InsertUpdateDelete(Random& random, Statements& out) {
  const Uuid id = random.NextUuid();
  out.Add(
      fmt::format("INSERT INTO public.customers (customer_id, name) VALUES ({}, '')", Quote(id)));
  out.Add(
      fmt::format("UPDATE public.customers SET name = 'guest' WHERE customer_id = {}", Quote(id)));
  out.Add(fmt::format("DELETE FROM public.customers WHERE customer_id = {}", Quote(id)));
}

void Shipping::Truncate(Random&, Statements& out) {
  shipments_.Clear();
  out.Add("TRUNCATE public.shipments", 0);
}

}  // namespace

std::unique_ptr<Workload> MakeShipping(int64_t run) { return std::make_unique<Shipping>(run); }

}  // namespace freshet::generate
