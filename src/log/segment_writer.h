#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "log/checkpoint.h"
#include "log/gather.h"
#include "log/record.h"

namespace freshet::log {

/// Appends records to one segment file and makes them durable.
///
/// Bytes: docs/log_format.md. Threads: the log thread. Errors: kNoSpace (nothing was appended, the
/// call may be repeated), kIo. After any other error than kNoSpace of Append() every call repeats
/// it, because the end of the file is then unknown; recovery finds the end and begins a new
/// segment.
class SegmentWriter {
 public:
  /// Makes a segment that begins with `checkpoint` and, behind it, the schema records `schemas`
  /// (checkpoint.schema_count of them). It appears under its name at once whole and durable, and
  /// replaces a segment of the same name.
  static Result<std::unique_ptr<SegmentWriter>> Create(
      FileSystem& fs, const std::string& folder, const LogId& id, const Checkpoint& checkpoint,
      std::span<const std::vector<std::byte>> schemas);

  /// Appends one record. Returns the byte where it begins. Not durable before Sync().
  Result<int64_t> Append(RecordKind kind, Gather& payload);

  /// Makes every appended record durable.
  Status Sync();

  /// Makes everything durable and gives reserved room back. Nothing is appended afterwards.
  Status Seal();

  int64_t size_bytes() const { return size_bytes_; }

  /// Where the schema records given to Create() begin.
  const std::vector<int64_t>& schema_places() const { return schema_places_; }

 private:
  explicit SegmentWriter(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  Status Remember(Error error);

  std::unique_ptr<WritableFile> file_;
  std::vector<int64_t> schema_places_;
  int64_t size_bytes_ = 0;
  int64_t synced_bytes_ = 0;
  int64_t reserved_bytes_ = 0;
  std::optional<Error> failed_;
};

}  // namespace freshet::log
