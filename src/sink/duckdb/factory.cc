#include <filesystem>

#include "base/file_system.h"
#include "sink/duckdb/database.h"
#include "sink/duckdb/duckdb_sink.h"
#include "sink/duckdb/read_back.h"
#include "sink/duckdb/target_table.h"

namespace freshet::sink::duckdb {
namespace {

class DuckDbFactory final : public Factory {
 public:
  explicit DuckDbFactory(Options options) : options_(std::move(options)) {}

  void Bind(config::Binder& binder) override { duckdb::Bind(binder, options_); }

  std::string Reject(const SinkOptions&) const override { return {}; }

  /// Two of DuckDB's row groups: full ones go to the file at once, what is less goes through its
  /// write-ahead log first.
  FlushPolicy DefaultFlush() const override {
    FlushPolicy flush;
    flush.rows = 250'000;
    flush.snapshot_times = 4;  // whole row groups go to the file at once, not through the WAL
    return flush;
  }

  std::unique_ptr<Sink> MakeSink(const SinkOptions& options, const Clock& clock) const override {
    return std::make_unique<DuckDbSink>(options_, options, clock);
  }

  Result<std::unique_ptr<ReadBack>> MakeReadBack(const SinkOptions& options) const override {
    return std::unique_ptr<ReadBack>(std::make_unique<DuckDbReadBack>(options_.path, options.mode));
  }

  /// For writing, as the sink opens it: a file that others read cannot be written.
  Status CheckTarget() const override {
    const std::string folder = FolderOf(options_.path);
    FRESHET_RETURN_IF_ERROR(LocalFileSystem().MakeFolder(folder));
    FRESHET_RETURN_IF_ERROR(TryWriting(LocalFileSystem(), folder));
    if (!std::filesystem::exists(options_.path)) return {};  // made when the sink opens
    FRESHET_TRY([[maybe_unused]] const auto database,
                Database::Open(options_.path, Access::kReadWrite));
    return {};
  }

  Result<std::vector<std::string>> Foresee(const SinkOptions& options,
                                           const TableVersions& versions) const override {
    return ForeseeEvolution(std::filesystem::path(options_.path).stem().string(), versions,
                            options);
  }

  std::string WarehousePath() const override { return options_.path; }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<Factory> MakeFactory() { return std::make_unique<DuckDbFactory>(Options()); }

std::unique_ptr<Factory> MakeFactory(Options options) {
  return std::make_unique<DuckDbFactory>(std::move(options));
}

}  // namespace freshet::sink::duckdb
