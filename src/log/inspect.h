#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/result.h"
#include "change/source_identity.h"
#include "log/log.h"

namespace freshet::log {

enum class SegmentCondition : uint8_t {
  kSealed,   ///< whole; nothing is written to it any more
  kActive,   ///< the last one, whole to its end
  kTorn,     ///< the last one; its end is being written, or was cut short by a crash
  kDamaged,  ///< something in it was durable and is no longer what it was
};

std::string_view SegmentConditionName(SegmentCondition condition);

/// What one segment holds.
struct SegmentReport {
  std::string file;  ///< name in the log's folder
  LogEnd start;      ///< before its first batch
  LogEnd end;        ///< behind its last whole batch
  UnixMicros created_at = 0;
  UnixMicros oldest_commit = 0;  ///< of its batches' newest commits; 0: no batches
  UnixMicros newest_commit = 0;
  int64_t size_bytes = 0;
  int64_t whole_bytes = 0;  ///< below size_bytes when torn or damaged
  int64_t batches = 0;
  int64_t transactions = 0;  ///< ended in it
  int64_t rows = 0;          ///< row images
  bool ends_open = false;    ///< it ends inside a transaction
  SegmentCondition condition = SegmentCondition::kSealed;
  std::string damage;  ///< what is wrong, and the repair
};

/// What a log's folder holds.
struct InspectReport {
  LogId id;
  std::optional<change::SourceIdentity> source;
  change::SnapshotLedger snapshots;  ///< tables whose rows are not all there, as of the end
  std::vector<SegmentReport> segments;
  LogEnd start;
  LogEnd end;
  int64_t size_bytes = 0;
  int64_t batches = 0;
  int64_t transactions = 0;
  int64_t rows = 0;
  bool damaged = false;
};

struct InspectOptions {
  /// Check every byte, not only what stands in front of each record.
  bool check_everything = true;

  /// Told after each segment how many bytes have been looked at. May be empty.
  std::function<void(int64_t done_bytes)> progress = {};
};

/// Looks through a log's folder, changing nothing; a pipeline may be writing to it. Damage is no
/// error but part of the report, and what is behind it in other segments is looked at all the same.
/// Errors: kNotFound (no log there), kUnsupported (newer format), kIo.
Result<InspectReport> Inspect(FileSystem& fs, const std::string& folder,
                              const InspectOptions& options);

}  // namespace freshet::log
