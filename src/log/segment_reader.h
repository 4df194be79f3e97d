#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "log/batch_codec.h"
#include "log/checkpoint.h"
#include "log/log.h"
#include "log/record.h"

namespace arrow {
class Buffer;
}

namespace freshet::log {

/// Bytes in front of a segment's first record: magic, version, log id, first offset, checksum.
inline constexpr int64_t kSegmentHeaderBytes = 48;

/// Behind the name of a segment that is being made. Such a file holds nothing; recovery removes it.
inline constexpr std::string_view kUnfinishedSuffix = ".unfinished";

/// "00000000000000000042.segment": the offset of the first batch, so that names sort as offsets do.
std::string SegmentName(LogOffset first);

/// The offset in a segment's name; empty for other files.
std::optional<LogOffset> ParseSegmentName(std::string_view name);

/// The first offsets of the segments in a folder, ascending. Errors: of FileSystem::List.
Result<std::vector<LogOffset>> ListSegments(FileSystem& fs, const std::string& folder);

/// The same of a folder that must hold a log. Errors: kNotFound too, when there is none.
Result<std::vector<LogOffset>> ListLog(FileSystem& fs, const std::string& folder);

std::vector<std::byte> EncodeSegmentHeader(const LogId& id, LogOffset first);

/// Reads the records of one segment file, in order or at known places.
///
/// Bytes: docs/log_format.md. Keeps a small buffer for headers and the schemas met so far; a
/// payload is read when asked for. `limit`, where a call takes one, is the end of what was written:
/// bytes behind it are not looked at, so a segment may grow while it is read. Threads: one.
/// Errors: kCorrupt (names file and byte, and the repair), kNotFound, kIo.
class SegmentReader {
 public:
  /// Opens and checks header and checkpoint.
  static Result<std::unique_ptr<SegmentReader>> Open(FileSystem& fs, const std::string& folder,
                                                     LogOffset first);

  LogOffset first() const { return first_; }
  const std::string& path() const { return path_; }
  const LogId& log_id() const { return log_id_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }

  /// The byte behind the checkpoint.
  int64_t begin() const { return begin_; }

  Result<int64_t> SizeBytes() const { return file_->SizeBytes(); }

  /// The record at byte `at`; empty when there is no whole one with a right header.
  Result<std::optional<RecordHeader>> HeaderAt(int64_t at, int64_t limit);

  /// The head of the batch record `header` at `at`, its checksum not checked.
  Result<BatchHead> BatchHeadAt(int64_t at, const RecordHeader& header, int64_t limit);

  /// The payload of the record `header` at `at`, checked; null when its checksum is wrong.
  Result<std::shared_ptr<arrow::Buffer>> PayloadAt(int64_t at, const RecordHeader& header);

  /// The table version whose schema record stands at `at`.
  Result<std::shared_ptr<const change::TableSchema>> SchemaAt(int64_t at, int64_t limit);

  /// The batch of the record `header` at `at`.
  Result<std::shared_ptr<const change::ChangeBatch>> BatchAt(int64_t at,
                                                             const RecordHeader& header);

  /// kCorrupt: what is wrong at byte `at`, and what can be done.
  Error Damage(int64_t at, std::string_view what) const;

 private:
  SegmentReader(std::unique_ptr<ReadableFile> file, std::string path, LogOffset first);

  Status ReadStart();

  /// Up to `size` bytes from `at` on, not beyond `limit`; valid until the next call.
  Result<std::span<const std::byte>> Peek(int64_t at, size_t size, int64_t limit);

  std::unique_ptr<ReadableFile> file_;
  std::string path_;
  LogOffset first_;
  LogId log_id_;
  Checkpoint checkpoint_;
  int64_t begin_ = 0;
  std::vector<std::byte> buffer_;
  int64_t buffer_at_ = 0;
  std::map<int64_t, std::shared_ptr<const change::TableSchema>> schemas_;  // by place
};

}  // namespace freshet::log
