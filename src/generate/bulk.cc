#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "generate/transaction_source.h"
#include "postgres/connection.h"

namespace freshet::generate {
namespace {

constexpr std::string_view kSetup = R"sql(
CREATE TABLE IF NOT EXISTS public.bench (
  id bigint PRIMARY KEY,
  k integer,
  payload text,
  at timestamptz,
  amount numeric(12,2));
)sql";

/// Ids are dense: the table holds [first_, next_). Inserts grow it at the end, deletes take the
/// oldest rows, updates take a run of rows anywhere.
class Bulk final : public TransactionSource {
 public:
  explicit Bulk(Random random) : random_(random) {}

  std::string_view setup_sql() const override { return kSetup; }

  Status Load(postgres::Connection& connection) override {
    FRESHET_TRY(const postgres::Rows rows,
                connection.Query("SELECT coalesce(min(id), 1), coalesce(max(id), 0) + 1 "
                                 "FROM public.bench"));
    first_ = rows.integer(0, 0);
    next_ = rows.integer(0, 1);
    return {};
  }

  Transaction Next(const Shape& shape) override;

 private:
  void Insert(int64_t rows, Statements& out);
  void Update(int64_t rows, Statements& out);
  void Delete(int64_t rows, Statements& out);

  Random random_;
  int64_t first_ = 1;
  int64_t next_ = 1;
};

void Bulk::Insert(int64_t rows, Statements& out) {
  if (rows == 0) return;
  const int64_t last = next_ + rows - 1;
  out.Add(fmt::format("INSERT INTO public.bench (id, k, payload, at, amount) "
                      "SELECT id, (id * 7919 % 1000003)::integer, 'payload-' || md5(id::text), "
                      "timestamptz '2026-01-01 00:00:00+00' + id * interval '1 millisecond', "
                      "(id % 1000000) / 100.0 FROM generate_series({}::bigint, {}) AS id",
                      next_, last),
          rows);
  next_ = last + 1;
}

void Bulk::Update(int64_t rows, Statements& out) {
  if (rows == 0) return;
  const int64_t begin = random_.Between(first_, next_ - rows);
  out.Add(fmt::format("UPDATE public.bench SET k = k + 1, amount = amount + 0.01 "
                      "WHERE id >= {} AND id < {}",
                      begin, begin + rows),
          rows);
}

void Bulk::Delete(int64_t rows, Statements& out) {
  if (rows == 0) return;
  out.Add(fmt::format("DELETE FROM public.bench WHERE id >= {} AND id < {}", first_, first_ + rows),
          rows);
  first_ += rows;
}

Transaction Bulk::Next(const Shape& shape) {
  const Mix& mix = shape.mix;
  const double total = mix.inserts + mix.updates + mix.deletes;
  const auto part = [&](double share) {
    return static_cast<int64_t>(std::llround(static_cast<double>(shape.rows) * share / total));
  };
  // Before there are rows to change, all of a transaction is inserts.
  const int64_t live = next_ - first_;
  const int64_t updates = std::min(part(mix.updates), live);
  const int64_t deletes = std::min(part(mix.deletes), live - updates);

  Statements statements;
  Insert(std::max<int64_t>(shape.rows - updates - deletes, 0), statements);
  Update(updates, statements);
  Delete(deletes, statements);
  return {.sql = std::move(statements.sql), .rows = statements.rows, .commits = true};
}

}  // namespace

std::unique_ptr<TransactionSource> MakeBulk(Random random) {
  return std::make_unique<Bulk>(random);
}

}  // namespace freshet::generate
