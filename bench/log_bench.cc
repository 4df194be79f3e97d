// Cost of the durable log on the machine's own disk: appending, syncing, reading back.
// Items are rows of a five-column table, bytes are bytes in the log.

#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "base/file_system.h"
#include "log/crc32c.h"
#include "log/log.h"
#include "support/batches.h"

namespace freshet::log {
namespace {

using change::ChangeBatch;
using change::LogicalKind;

/// A log in a temporary folder, removed with it.
class TemporaryLog {
 public:
  explicit TemporaryLog(Compression compression = Compression::kNone) {
    folder_ = std::filesystem::temp_directory_path() / "freshet-log-bench.XXXXXX";
    CHECK(mkdtemp(folder_.data()) != nullptr);
    Options options;
    options.path = folder_ + "/log";
    options.budget.bytes = int64_t{2} << 30;
    options.memory_tail.bytes = int64_t{8} << 20;
    options.compression = compression;
    auto opened = Log::Open(LocalFileSystem(), SystemClock(), options);
    CHECK(opened.has_value());
    log_ = *std::move(opened);
  }
  ~TemporaryLog() {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }
  TemporaryLog(const TemporaryLog&) = delete;
  TemporaryLog& operator=(const TemporaryLog&) = delete;

  Log& operator*() { return *log_; }
  Log* operator->() { return log_.get(); }

  /// Appends a copy of `batch` that ends behind the last. Deletes old segments now and then.
  void Append(const ChangeBatch& batch) {
    auto copy = std::make_shared<ChangeBatch>(batch);
    lsn_ += 100;
    copy->transactions[0].commit_lsn = {lsn_ - 8};
    copy->transactions[0].end_lsn = {lsn_};
    const auto end = log_->Append(std::move(copy));
    CHECK(end.has_value());
    if (end->offset.value % 1024 == 0) CHECK(log_->Retain(end->offset).has_value());
  }

 private:
  std::string folder_;
  std::unique_ptr<Log> log_;
  uint64_t lsn_ = 0;
};

std::shared_ptr<const ChangeBatch> MakeBatch(int64_t rows) {
  const auto schema = test::MakeSchema({"public", "orders"},
                                       {test::MakeColumn("id", LogicalKind::kInt64, true),
                                        test::MakeColumn("customer", LogicalKind::kInt32),
                                        test::MakeColumn("note", LogicalKind::kText),
                                        test::MakeColumn("amount", LogicalKind::kFloat64),
                                        test::MakeColumn("placed_at", LogicalKind::kTimestampTz)});
  test::BatchBuilder builder;
  builder.Begin(100);
  for (int64_t i = 0; i < rows; ++i) {
    builder.Insert(schema, {std::to_string(i), std::to_string(i % 1000),
                            "a note of some thirty characters", "19.99", "2024-02-29 12:00:00Z"});
  }
  return builder.Build();
}

void BM_Append(benchmark::State& state) {
  const auto batch = MakeBatch(state.range(0));
  TemporaryLog log;
  for (auto _ : state) log.Append(*batch);
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(log->stats().appended_bytes_total);
}
BENCHMARK(BM_Append)->ArgName("rows")->Arg(1)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000);

void BM_AppendCompressed(benchmark::State& state) {
  const auto batch = MakeBatch(1000);
  TemporaryLog log(static_cast<Compression>(state.range(0)));
  for (auto _ : state) log.Append(*batch);
  state.SetItemsProcessed(state.iterations() * 1000);
  state.SetBytesProcessed(log->stats().appended_bytes_total);
}
BENCHMARK(BM_AppendCompressed)->ArgName("codec")->DenseRange(0, 2);

/// Batches of 1,000 rows, `batches` of them between two syncs. Wall time, since syncs wait.
void BM_AppendAndSync(benchmark::State& state) {
  const auto batch = MakeBatch(1000);
  TemporaryLog log;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) log.Append(*batch);
    CHECK(log->Sync().has_value());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * 1000);
  state.SetBytesProcessed(log->stats().appended_bytes_total);
}
BENCHMARK(BM_AppendAndSync)->ArgName("batches")->Arg(1)->Arg(16)->Arg(256)->UseRealTime();

void BM_ReadFromDisk(benchmark::State& state) {
  const auto batch = MakeBatch(state.range(0));
  const int64_t batches = std::max<int64_t>(200, 100'000 / state.range(0));
  TemporaryLog log;
  for (int64_t i = 0; i < batches; ++i) log.Append(*batch);
  for (auto _ : state) {
    const auto reader = log->NewReader({});
    CHECK(reader.has_value());
    for (int64_t i = 0; i < batches; ++i) {
      const auto entry = (*reader)->Next(std::chrono::nanoseconds(0), {});
      CHECK(entry.has_value() && entry->has_value());
      benchmark::DoNotOptimize((*entry)->batch->tables[0].rows->num_rows());
    }
  }
  state.SetItemsProcessed(state.iterations() * batches * state.range(0));
}
BENCHMARK(BM_ReadFromDisk)->ArgName("rows")->Arg(1)->Arg(1000)->Unit(benchmark::kMillisecond);

void BM_Crc32c(benchmark::State& state) {
  const std::vector<std::byte> bytes(size_t{1} << 16, std::byte{7});
  for (auto _ : state) {
    benchmark::DoNotOptimize(state.range(0) != 0 ? Crc32c(bytes) : Crc32cPortable(bytes));
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(bytes));
}
BENCHMARK(BM_Crc32c)->ArgName("hardware")->Arg(1)->Arg(0);

}  // namespace
}  // namespace freshet::log
