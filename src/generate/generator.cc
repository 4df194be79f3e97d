#include "generate/generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "postgres/connection.h"

namespace freshet::generate {
namespace {

/// Counts runs, outside the schemas a pipeline usually captures: a second run with the same seed
/// must not make up the keys of the first one.
constexpr std::string_view kRunsSql = R"sql(
CREATE SCHEMA IF NOT EXISTS freshet_generate;
CREATE TABLE IF NOT EXISTS freshet_generate.runs (
  run bigserial PRIMARY KEY, seed text NOT NULL, started_at timestamptz NOT NULL DEFAULT now());
)sql";

std::unique_ptr<TransactionSource> MakeSource(const Options& options, int64_t run) {
  const Random random(options.seed, static_cast<uint64_t>(run));
  switch (options.schema) {
    case Schema::kShop:
      return MakeTraffic(MakeShop(run), random);
    case Schema::kShipping:
      return MakeTraffic(MakeShipping(run), random);
    case Schema::kBench:
      break;
  }
  return MakeBulk(random);
}

std::string AsOneQuery(const Transaction& transaction) {
  std::string sql = "BEGIN";
  for (const std::string& statement : transaction.sql) {
    sql += ";\n";
    sql += statement;
  }
  sql += transaction.commits ? ";\nCOMMIT" : ";\nROLLBACK";
  return sql;
}

/// Sends what a TransactionSource makes up, on time.
class Writer {
 public:
  Writer(const Clock& clock, postgres::Connection& connection, TransactionSource& source,
         const OnProgress& on_progress)
      : clock_(clock),
        connection_(connection),
        source_(source),
        on_progress_(on_progress),
        started_(clock.Monotonic()) {}

  /// One transaction, sent and answered.
  Status WriteOne(const Shape& shape, std::stop_token stop);

  /// Begins anew to count rows and time; transactions go on counting.
  void StartOver() {
    started_ = clock_.Monotonic();
    progress_.rows = 0;
  }

  void set_filling(bool filling) { progress_.filling = filling; }
  const Progress& progress() const { return progress_; }
  std::chrono::nanoseconds elapsed() const { return clock_.Monotonic() - started_; }

 private:
  const Clock& clock_;
  postgres::Connection& connection_;
  TransactionSource& source_;
  const OnProgress& on_progress_;
  std::chrono::nanoseconds started_;
  Progress progress_;
  int conflicts_in_a_row_ = 0;
};

Status Writer::WriteOne(const Shape& shape, std::stop_token stop) {
  const Transaction transaction = source_.Next(shape);
  Status done = connection_.Execute(AsOneQuery(transaction), stop);
  if (done.has_value()) {
    conflicts_in_a_row_ = 0;
    progress_.rows += transaction.rows;
    ++(transaction.commits ? progress_.transactions : progress_.rolled_back);
  } else {
    // The server refuses a statement when somebody else took a row away that we remember, or waits
    // for what we hold. Anything worse shows again at once, in the ROLLBACK.
    if (stop.stop_requested() || ++conflicts_in_a_row_ > kMaxConflicts) return done;
    if (!connection_.Execute("ROLLBACK", stop).has_value()) return done;
    FRESHET_RETURN_IF_ERROR(source_.Load(connection_));
    ++progress_.conflicts;
  }
  progress_.elapsed = elapsed();
  on_progress_(progress_);
  return {};
}

Status Fill(Writer& writer, const Options& options, std::stop_token stop) {
  constexpr int64_t kRowsPerTransaction = 500;
  const Shape shape{.rows = std::min(kRowsPerTransaction, options.initial_rows),
                    .mix = {.inserts = 1, .updates = 0, .deletes = 0},
                    .surprises = false,
                    .truncates = false};
  while (writer.progress().rows < options.initial_rows && !stop.stop_requested()) {
    FRESHET_RETURN_IF_ERROR(writer.WriteOne(shape, stop));
  }
  return {};
}

Status WriteOnTime(Writer& writer, const Options& options, const Clock& clock,
                   std::stop_token stop) {
  while (!stop.stop_requested()) {
    const Progress& progress = writer.progress();
    if (options.rows > 0 && progress.rows >= options.rows) return {};
    if (options.duration.count() > 0 && writer.elapsed() >= options.duration) return {};
    if (options.rate > 0) {
      const std::chrono::duration<double> due(static_cast<double>(progress.rows) / options.rate);
      auto wait = std::chrono::duration_cast<std::chrono::nanoseconds>(due) - writer.elapsed();
      if (options.duration.count() > 0) {
        wait = std::min(wait, options.duration - writer.elapsed());
      }
      if (wait.count() > 0) {
        clock.WaitFor(wait, stop);
        continue;
      }
    }
    Shape shape = options.shape;
    if (options.rows > 0) shape.rows = std::min(shape.rows, options.rows - progress.rows);
    FRESHET_RETURN_IF_ERROR(writer.WriteOne(shape, stop));
  }
  return {};
}

/// Whether `source`'s tables hold nothing: then the initial rows are still to be written.
Result<bool> IsEmpty(postgres::Connection& connection, Schema schema) {
  const std::string_view table = schema == Schema::kShop       ? "users"
                                 : schema == Schema::kShipping ? "customers"
                                                               : "bench";
  FRESHET_TRY(const postgres::Rows rows,
              connection.Query(fmt::format("SELECT NOT EXISTS (SELECT FROM public.{})", table)));
  return rows.boolean(0, 0);
}

}  // namespace

Result<Progress> Generate(const Options& options, const Clock& clock, std::stop_token stop,
                          const OnProgress& on_progress) {
  postgres::SessionOptions session;
  session.application_name = "freshet generate";
  if (!options.synchronous_commit) session.settings.emplace_back("synchronous_commit", "off");
  FRESHET_TRY(auto connection, postgres::Connection::Connect(options.url, session, stop));
  FRESHET_RETURN_IF_ERROR(connection.Execute(std::string(kRunsSql), stop));
  FRESHET_TRY(const postgres::Rows run,
              connection.Query("INSERT INTO freshet_generate.runs (seed) VALUES ($1) RETURNING run",
                               {std::to_string(options.seed)}, stop));

  const auto source = MakeSource(options, run.integer(0, 0));
  FRESHET_RETURN_IF_ERROR(connection.Execute(std::string(source->setup_sql()), stop));
  FRESHET_RETURN_IF_ERROR(source->Load(connection));

  Writer writer(clock, connection, *source, on_progress);
  const auto finished = [&](Status status) -> Result<Progress> {
    // Being told to stop is how most runs end.
    if (!status.has_value() && status.error().kind != ErrorKind::kCancelled) {
      return Fail(std::move(status).error());
    }
    return writer.progress();
  };
  FRESHET_TRY(const bool empty, IsEmpty(connection, options.schema));
  if (empty && options.initial_rows > 0) {
    writer.set_filling(true);
    Status filled = Fill(writer, options, stop);
    if (!filled.has_value()) return finished(std::move(filled));
    writer.set_filling(false);
    writer.StartOver();
  }
  return finished(WriteOnTime(writer, options, clock, stop));
}

}  // namespace freshet::generate
