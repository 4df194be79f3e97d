// What writing a changelog to files costs the rows that pass through the sink: Parquet and JSON
// lines, by compression. Rows are (int8, int4, numeric(12,2), text, timestamptz), in transactions
// of 1,000. Files go to a folder in TMPDIR and are deleted.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "base/check.h"
#include "sink/files/files_sink.h"
#include "support/batches.h"
#include "support/temporary_folder.h"

namespace freshet::sink::files {
namespace {

constexpr int64_t kRowsPerTransaction = 1'000;
constexpr int64_t kBatches = 16;

using Batch = std::shared_ptr<const change::ChangeBatch>;

/// Batches of `rows` each, all rows different.
std::vector<Batch> MakeBatches(int64_t rows) {
  const auto schema = test::MakeSchema(
      {"public", "entries"},
      {test::MakeColumn("id", change::LogicalKind::kInt64, /*key=*/true),
       test::MakeColumn("account", change::LogicalKind::kInt32),
       test::MakeColumn("amount",
                        {.kind = change::LogicalKind::kDecimal, .precision = 12, .scale = 2}),
       test::MakeColumn("note", change::LogicalKind::kText),
       test::MakeColumn("created_at", change::LogicalKind::kTimestampTz)});
  std::vector<Batch> batches;
  int64_t id = 0;
  for (int64_t b = 0; b < kBatches; ++b) {
    test::BatchBuilder builder;
    for (int64_t i = 0; i < rows; ++i, ++id) {
      if (i % kRowsPerTransaction == 0) builder.Begin(static_cast<uint64_t>(id) * 150 + 100);
      const uint64_t random = static_cast<uint64_t>(id + 1) * 0x9e3779b97f4a7c15u;
      builder.Insert(schema, {std::to_string(id), std::to_string(random % 100'000),
                              fmt::format("{}.{:02}", random % 10'000, random % 100),
                              fmt::format("{:016x}{:016x}", random, random * random),
                              fmt::format("2026-01-01 00:{:02}:{:02}.{:06}Z", id / 60'000 % 60,
                                          id / 1'000 % 60, id % 1'000'000)});
    }
    batches.push_back(builder.Build());
  }
  return batches;
}

/// Arguments: format, compression, rows a batch.
void BM_WriteFiles(benchmark::State& state) {
  const test::TemporaryFolder folder;
  Options options;
  options.url = folder.path().string();
  options.format = static_cast<Format>(state.range(0));
  options.compression = static_cast<Compression>(state.range(1));
  const std::vector<Batch> batches = MakeBatches(state.range(2));
  FilesSink sink({.name = "bench", .mode = WriteMode::kAppend}, options, SystemClock());
  CHECK(sink.Open({}).has_value());
  CHECK(sink.Prepare(*batches.front()->tables.front().schema).has_value());
  int64_t rows = 0;

  for (auto _ : state) {
    for (const Batch& batch : batches) {
      CHECK(sink.Write(batch, {.source = "s", .log_id = "l", .log_offset = 0, .position = {}})
                .has_value());
      rows += batch->num_rows();
    }
    CHECK(sink.Flush().has_value());
  }

  int64_t bytes = 0;
  for (const Counter& counter : sink.Describe().counters) {
    if (counter.name == "bytes_total") bytes = counter.value;
  }
  state.SetItemsProcessed(rows);
  state.SetBytesProcessed(bytes);
  state.counters["bytes_per_row"] =
      benchmark::Counter(static_cast<double>(bytes) / static_cast<double>(rows));
}

constexpr auto kParquet = static_cast<int64_t>(Format::kParquet);
constexpr auto kJsonLines = static_cast<int64_t>(Format::kJsonLines);
constexpr auto kZstd = static_cast<int64_t>(Compression::kZstd);
constexpr auto kSnappy = static_cast<int64_t>(Compression::kSnappy);
constexpr auto kNone = static_cast<int64_t>(Compression::kNone);

BENCHMARK(BM_WriteFiles)
    ->ArgNames({"format", "compression", "batch_rows"})
    ->Args({kParquet, kZstd, 16'000})
    ->Args({kParquet, kZstd, 1'000})
    ->Args({kParquet, kSnappy, 16'000})
    ->Args({kParquet, kNone, 16'000})
    ->Args({kJsonLines, kZstd, 16'000})
    ->Args({kJsonLines, kNone, 16'000})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace freshet::sink::files
