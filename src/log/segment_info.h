#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "log/checkpoint.h"
#include "log/log.h"

namespace freshet::log {

/// What a running log knows of one of its segments without reading it.
struct SegmentInfo {
  LogEnd start;                  ///< the end of everything before it
  bool starts_open = false;      ///< it begins inside a transaction
  UnixMicros newest_commit = 0;  ///< highest commit time before it
  UnixMicros created_at = 0;     ///< wall time
  int64_t size_bytes = 0;        ///< whole records; grows while it is the last

  LogOffset first() const { return start.offset; }
};

inline SegmentInfo MakeSegmentInfo(const Checkpoint& checkpoint, int64_t size_bytes) {
  return {.start = checkpoint.end,
          .starts_open = checkpoint.transaction_open,
          .newest_commit = checkpoint.newest_commit,
          .created_at = checkpoint.written_at,
          .size_bytes = size_bytes};
}

/// A byte of the log: where a record begins.
struct Place {
  LogOffset segment;  ///< its first offset
  int64_t byte = 0;
};

}  // namespace freshet::log
