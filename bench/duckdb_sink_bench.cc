// Rows a second and CPU a row of the DuckDB sink, on prebuilt batches: appended changelog, upsert
// of inserts only, upsert of a 1:1:1 mix of inserts, updates and deletes. usage: duckdb_sink_bench
// CASE [ROWS [FLUSH_ROWS [THREADS [MEMORY_MIB [BUFFER_MIB]]]]], CASE = append | insert | mix;
// prints one JSON object.
#include <arrow/api.h>
#include <fmt/core.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "change/change_batch.h"
#include "sink/duckdb/duckdb_sink.h"

namespace freshet::sink::duckdb {
namespace {

using change::ChangeKind;
using change::LogicalKind;

constexpr int64_t kBatchRows = 16'000;
constexpr int64_t kTransactionRows = 1'000;
constexpr int64_t kPrime = 700'001;  ///< the mix updates and deletes keys up to twice that

std::shared_ptr<const change::TableSchema> Schema() {
  const auto column = [](const char* name, change::LogicalType type, bool key = false) {
    change::Column out;
    out.name = name;
    out.type = type;
    out.identity = out.primary_key = out.not_null = key;
    return out;
  };
  return std::make_shared<const change::TableSchema>(
      change::TableId{20'000}, change::TableName{"public", "entries"},
      change::ReplicaIdentity::kDefault,
      std::vector<change::Column>{
          column("id", {.kind = LogicalKind::kInt64}, true),
          column("account", {.kind = LogicalKind::kInt32}),
          column("amount", {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2}),
          column("note", {.kind = LogicalKind::kText}),
          column("created_at", {.kind = LogicalKind::kTimestampTz})});
}

/// 32 hexadecimal digits, as md5() makes them: text that does not compress.
std::string Note(int64_t seed) {
  auto bits = static_cast<uint64_t>(seed) * 0x9E37'79B9'7F4A'7C15U + 1;
  uint64_t words[2];
  for (uint64_t& word : words) {
    bits ^= bits >> 30;
    bits *= 0xBF58'476D'1CE4'E5B9U;
    bits ^= bits >> 27;
    word = bits;
  }
  return fmt::format("{:016x}{:016x}", words[0], words[1]);
}

enum class Mix : uint8_t { kSnapshot, kInserts, kThirds };

/// Makes batches of whole transactions, one at a time: the workload of bench/workload.py.
class Traffic {
 public:
  explicit Traffic(std::shared_ptr<const change::TableSchema> schema)
      : schema_(std::move(schema)) {}

  std::shared_ptr<const change::ChangeBatch> Next(Mix mix) {
    auto batch = std::make_shared<change::ChangeBatch>();
    change::TableChanges table;
    table.schema = schema_;
    arrow::Int64Builder id;
    arrow::Int32Builder account;
    arrow::Decimal128Builder amount(arrow::decimal128(12, 2));
    arrow::StringBuilder note;
    arrow::TimestampBuilder at(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                               arrow::default_memory_pool());
    for (int64_t i = 0; i < kBatchRows; ++i) {
      if (i % kTransactionRows == 0) {
        lsn_ += 100'000;
        batch->transactions.push_back({.xid = {static_cast<uint32_t>(lsn_ / 100'000)},
                                       .commit_lsn = {lsn_ - 8},
                                       .end_lsn = {lsn_},
                                       .commit_time = 1'700'000'000'000'000,
                                       .origin = ""});
      }
      const auto [kind, key] = NextChange(mix, i % kTransactionRows);
      CHECK(id.Append(key).ok());
      if (kind == ChangeKind::kDelete) {
        CHECK(account.AppendNull().ok() && amount.AppendNull().ok() && note.AppendNull().ok() &&
              at.AppendNull().ok());
      } else {
        CHECK(account.Append(static_cast<int32_t>(key * 7919 % 100'000)).ok());
        CHECK(amount.Append(arrow::Decimal128(key % 1'000'000)).ok());
        CHECK(note.Append(Note(key * 3 + static_cast<int64_t>(kind))).ok());
        CHECK(at.Append(1'767'225'600'000'000 + key * 1'000).ok());
      }
      table.kinds.push_back(kind);
      table.transactions.push_back(static_cast<int32_t>(batch->transactions.size()) - 1);
      table.ordinals.push_back(i % kTransactionRows);
    }
    table.rows = arrow::RecordBatch::Make(
        schema_->arrow_schema(), kBatchRows,
        arrow::ArrayVector{id.Finish().ValueOrDie(), account.Finish().ValueOrDie(),
                           amount.Finish().ValueOrDie(), note.Finish().ValueOrDie(),
                           at.Finish().ValueOrDie()});
    batch->tables.push_back(std::move(table));
    return batch;
  }

 private:
  std::pair<ChangeKind, int64_t> NextChange(Mix mix, int64_t place) {
    constexpr int64_t kThird = kTransactionRows / 3;
    if (mix == Mix::kSnapshot) return {ChangeKind::kSnapshot, next_key_++};
    if (mix == Mix::kThirds && place < kThird) {
      return {ChangeKind::kUpdatePostimage, 2 * (updates_++ * 7919 % kPrime) + 2};
    }
    if (mix == Mix::kThirds && place < 2 * kThird) {
      return {ChangeKind::kDelete, 2 * (deletes_++ * 48271 % kPrime) + 1};
    }
    return {ChangeKind::kInsert, next_key_++};
  }

  std::shared_ptr<const change::TableSchema> schema_;
  int64_t next_key_ = 1;
  int64_t updates_ = 0;
  int64_t deletes_ = 0;
  uint64_t lsn_ = 0;
};

/// Seconds of CPU this process used, and its largest resident set in MiB.
std::pair<double, double> Usage() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {seconds(used.ru_utime) + seconds(used.ru_stime),
          static_cast<double>(used.ru_maxrss) / 1024};
}

int Main(const std::string& name, int64_t rows, int64_t flush_rows, Options options) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("freshet-bench-{}", getpid());
  const auto schema = Schema();
  options.path = folder / "bench.duckdb";
  DuckDbSink sink(
      options,
      {.name = "bench", .mode = name == "append" ? WriteMode::kAppend : WriteMode::kUpsert},
      SystemClock());
  CHECK(sink.Open({}).has_value());
  CHECK(sink.Prepare(*schema).has_value());

  Traffic traffic(schema);
  const auto write = [&](Mix mix) {
    const auto batch = traffic.Next(mix);
    const auto started = std::chrono::steady_clock::now();
    const double cpu_before = Usage().first;
    const Status written = sink.Write(
        batch, {.source = "",
                .log_id = "",
                .log_offset = 0,
                .position = {.commit_end = batch->transactions.back().end_lsn, .ordinal = 0}});
    CHECK(written.has_value());
    return std::pair(started, cpu_before);
  };
  if (name == "mix") {
    for (int64_t row = 0; row < 2 * kPrime; row += kBatchRows) write(Mix::kSnapshot);
    CHECK(sink.Flush().has_value());
  }
  double wall = 0;
  double cpu = 0;
  int64_t done = 0;
  int64_t unflushed = 0;
  while (done < rows) {
    const auto [started, cpu_before] = write(name == "mix" ? Mix::kThirds : Mix::kInserts);
    done += kBatchRows;
    unflushed += kBatchRows;
    if (unflushed >= flush_rows || done >= rows) {
      const auto flushed = sink.Flush();
      if (!flushed.has_value()) fmt::print(stderr, "{}\n", flushed.error().message);
      CHECK(flushed.has_value());
      unflushed = 0;
    }
    wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    cpu += Usage().first - cpu_before;
  }
  CHECK(sink.Close().has_value());
  const auto bytes = std::filesystem::file_size(folder / "bench.duckdb");
  std::filesystem::remove_all(folder);
  const auto count = static_cast<double>(done);
  fmt::print(
      "{{\"case\": \"{}\", \"rows\": {}, \"flush_rows\": {}, \"rows_per_second\": {:.0f}, "
      "\"wall_us_per_row\": {:.3f}, \"cpu_us_per_row\": {:.3f}, \"peak_rss_mib\": {:.0f}, "
      "\"file_bytes_per_row\": {:.1f}}}\n",
      name, done, flush_rows, count / wall, wall * 1e6 / count, cpu * 1e6 / count, Usage().second,
      static_cast<double>(bytes) / count);
  return 0;
}

}  // namespace
}  // namespace freshet::sink::duckdb

int main(int argc, char** argv) {
  using freshet::sink::duckdb::Options;
  const auto number = [&](int place, int64_t otherwise) {
    return argc > place ? std::stoll(argv[place]) : otherwise;
  };
  constexpr int64_t kMebibyte = 1 << 20;
  Options options;
  options.threads = number(4, options.threads);
  options.memory_limit = {number(5, options.memory_limit.bytes / kMebibyte) * kMebibyte};
  options.buffer = {number(6, options.buffer.bytes / kMebibyte) * kMebibyte};
  return freshet::sink::duckdb::Main(argc > 1 ? argv[1] : "append", number(2, 2'000'000),
                                     number(3, 250'000), options);
}
