// What the durable log costs the rows that pass through it: append alone, and append with an fsync
// behind every so many batches. Rows are (int8, int4, numeric(12,2), text, timestamptz). Set TMPDIR
// to the disk in question.

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "base/file_system.h"
#include "log/log.h"
#include "support/batches.h"

namespace freshet::log {
namespace {

constexpr int kBatchesPerTrim = 64;  // the log must not fill the disk

std::shared_ptr<const change::ChangeBatch> MakeBatch(int64_t rows) {
  const auto schema = test::MakeSchema(
      {"public", "entries"},
      {test::MakeColumn("id", change::LogicalKind::kInt64, /*key=*/true),
       test::MakeColumn("account", change::LogicalKind::kInt32),
       test::MakeColumn("amount",
                        {.kind = change::LogicalKind::kDecimal, .precision = 12, .scale = 2}),
       test::MakeColumn("note", change::LogicalKind::kText),
       test::MakeColumn("created_at", change::LogicalKind::kTimestampTz)});
  test::BatchBuilder builder;
  builder.Begin(100);
  for (int64_t i = 0; i < rows; ++i) {
    builder.Insert(schema, {std::to_string(i), std::to_string(i * 7919 % 100'000),
                            fmt::format("{}.{:02}", i, i % 100),
                            fmt::format("{:032x}", static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u),
                            fmt::format("2026-01-01 00:{:02}:{:02}Z", i / 60 % 60, i % 60)});
  }
  return builder.Build();
}

void BM_Append(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t batches_per_sync = state.range(1);
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("freshet-log-bench-{}", ::getpid());
  std::filesystem::remove_all(folder);
  Options options;
  options.path = folder.string();
  options.retention = std::chrono::microseconds(0);
  auto log = Log::Open(LocalFileSystem(), SystemClock(), options);
  CHECK(log.has_value());
  change::SourceIdentity source;
  source.system_id = 1;
  source.database = "bench";
  CHECK((*log)->SetSource(source).has_value());
  const auto batch = MakeBatch(rows);
  uint64_t end_lsn = 0;
  int64_t appended = 0;

  for (auto _ : state) {
    // Every batch is a later transaction over the same rows.
    auto next = std::make_shared<change::ChangeBatch>(*batch);
    end_lsn += 1'000;
    next->transactions.front().commit_lsn = {end_lsn - 8};
    next->transactions.front().end_lsn = {end_lsn};
    const auto end = (*log)->Append(std::move(next));
    CHECK(end.has_value());
    if (++appended % batches_per_sync == 0) CHECK((*log)->Sync().has_value());
    if (appended % kBatchesPerTrim == 0) CHECK((*log)->Retain(end->offset).has_value());
  }

  state.SetItemsProcessed(state.iterations() * rows);
  state.SetBytesProcessed((*log)->stats().appended_bytes_total);
  log->reset();
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_Append)
    ->ArgNames({"rows", "batches_per_sync"})
    ->Args({1, 1'000'000})
    ->Args({1'000, 1'000'000})
    ->Args({16'000, 1'000'000})
    ->Args({1, 1})
    ->Args({16'000, 1})
    ->Args({16'000, 8})
    ->UseRealTime();

}  // namespace
}  // namespace freshet::log
