#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/result.h"
#include "log/batch_codec.h"
#include "log/segment_info.h"
#include "log/segment_reader.h"

namespace freshet::log {

/// Walks the heads of the batches on disk, segment after segment, without their payloads.
///
/// This is the log's only index within a segment (docs/adr/0032-index-by-checkpoints.md): the
/// checkpoints say which segment, and its heads, a few bytes a record, say where in it.
/// Threads: one. Errors: kCorrupt, kGap (a segment was deleted meanwhile), kIo.
class HeadWalker {
 public:
  struct Step {
    BatchHead head;
    RecordHeader record;
    Place at;
    Place behind;
  };

  /// Starts at the beginning of `segments[first]`. `segments` is a copy of the running log's.
  HeadWalker(FileSystem& fs, std::string folder, std::vector<SegmentInfo> segments, size_t first);

  /// The next batch; empty at the end.
  Result<std::optional<Step>> Next();

  /// The segment of the last step, for reading its payload.
  SegmentReader& segment() { return *reader_; }

 private:
  FileSystem& fs_;
  std::string folder_;
  std::vector<SegmentInfo> segments_;
  size_t index_;
  std::unique_ptr<SegmentReader> reader_;
  int64_t at_ = 0;
};

/// Where a reader goes on.
struct SeekResult {
  LogOffset offset;
  Place place;
};

/// The first batch of the first transaction that ends after `position`. Errors: kGap when it was
/// deleted, and HeadWalker's.
Result<SeekResult> SeekPosition(FileSystem& fs, const std::string& folder,
                                const std::vector<SegmentInfo>& segments,
                                const change::Position& position);

/// The position right before the first transaction committed at or after `time`; `end` when there
/// is none. Errors: kGap when such transactions were deleted, and HeadWalker's.
Result<change::Position> SeekTime(FileSystem& fs, const std::string& folder,
                                  const std::vector<SegmentInfo>& segments, UnixMicros time,
                                  const change::Position& end);

/// Opens a segment of a running log. Errors: as SegmentReader::Open, but kGap when it was deleted.
Result<std::unique_ptr<SegmentReader>> OpenLiveSegment(FileSystem& fs, const std::string& folder,
                                                       LogOffset first);

}  // namespace freshet::log
