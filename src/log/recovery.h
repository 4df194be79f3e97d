#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/result.h"
#include "log/checkpoint.h"
#include "log/segment_info.h"
#include "log/segment_reader.h"

namespace freshet::log {

/// What a folder holds once its torn end was cut.
struct Recovered {
  LogId id;
  std::vector<SegmentInfo> sealed;  ///< ascending; all whole and durable

  /// The checkpoint of the segment to be made next. Its schema_count and written_at are unset.
  Checkpoint next;

  /// Schemas in force at the end, newest version of each table.
  std::vector<std::shared_ptr<const change::TableSchema>> schemas;

  change::SnapshotLedger snapshots;  ///< in force at the end; next.snapshots is unset

  int64_t cut_bytes = 0;  ///< taken off the end: torn records and an unfinished transaction
};

/// How far the records of one segment are whole.
struct SegmentScan {
  bool has_boundary = false;   ///< some place in it lies between transactions
  int64_t boundary_bytes = 0;  ///< the last such place
  LogEnd end;                  ///< at the boundary
  UnixMicros newest_commit = 0;
  std::optional<change::SourceIdentity> source;
  std::vector<std::shared_ptr<const change::TableSchema>> schemas;  ///< in order of their records
  change::SnapshotLedger snapshots;
  int64_t synced_bytes = 0;  ///< known to have been durable
};

/// Reads every record of a segment of `size_bytes` and checks it (WalkRecords() says how). In the
/// `last` segment a torn end is no error: there the scan stops. Errors: kCorrupt, kIo.
Result<SegmentScan> ScanSegment(SegmentReader& segment, int64_t size_bytes, bool last);

/// Reads a log's folder and cuts its end back to the last whole transaction. A folder without
/// segments is a new log with a new id. Whatever is left is durable on return.
///
/// Nothing is changed when an error is found. Errors: kCorrupt, kUnsupported, kIo, kNoSpace.
Result<Recovered> Recover(FileSystem& fs, const std::string& folder);

}  // namespace freshet::log
