#include <fmt/format.h>

#include "sink/files/files_sink.h"
#include "sink/files/layout.h"
#include "sink/files/read_back.h"
#include "sink/files/storage.h"
#include "sink/files/table_record.h"

namespace freshet::sink::files {
namespace {

class FilesFactory final : public Factory {
 public:
  FilesFactory() = default;
  explicit FilesFactory(Options options) : options_(std::move(options)) {}

  void Bind(config::Binder& binder) override { files::Bind(binder, options_); }

  std::string Reject(const SinkOptions& options) const override {
    if (options.mode != WriteMode::kAppend) {
      return "a files sink cannot change rows in place; use mode append";
    }
    return options_.url.empty() ? "" : RejectUrl(options_.url);  // an empty one is reported already
  }

  FlushPolicy DefaultFlush() const override {
    return {.interval = options_.rotate.age,
            .rows = options_.rotate.rows,
            .bytes = {kFlushBytesPerFileByte * options_.rotate.bytes.bytes}};
  }

  std::unique_ptr<Sink> MakeSink(const SinkOptions& options, const Clock& clock) const override {
    return std::make_unique<FilesSink>(options, options_, clock);
  }

  Result<std::unique_ptr<ReadBack>> MakeReadBack(const SinkOptions&) const override {
    return std::make_unique<FilesReadBack>(options_);
  }

  /// Takes the folder, writes and deletes: what the sink needs, and no more than a list may do.
  Status CheckTarget() const override {
    FRESHET_TRY(const auto storage, OpenStorage(options_, StorageUse::kWrite));
    FRESHET_TRY([[maybe_unused]] const auto names, storage->List(""));
    FRESHET_RETURN_IF_ERROR(storage->Lock());
    const std::string probe = fmt::format("{}/check", kOwnFolder);
    FRESHET_RETURN_IF_ERROR(storage->Replace(probe, std::string(kProbeBytes, '0')));
    return storage->Delete(probe);
  }

  Result<std::vector<std::string>> Foresee(const SinkOptions& options,
                                           const TableVersions& versions) const override {
    return TableRecord::Foresee(versions, options.schema_changes);
  }

 private:
  /// Bytes of changes in memory that make about one byte of a compressed file.
  static constexpr int64_t kFlushBytesPerFileByte = 4;

  static constexpr size_t kProbeBytes = 64 << 10;

  Options options_;
};

}  // namespace

std::unique_ptr<Factory> MakeFactory() { return std::make_unique<FilesFactory>(); }

std::unique_ptr<Factory> MakeFactory(Options options) {
  return std::make_unique<FilesFactory>(std::move(options));
}

}  // namespace freshet::sink::files
