#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "log/log.h"
#include "log/segment_info.h"

namespace freshet::log {

/// A batch kept in memory for readers that keep up.
struct TailEntry {
  LogEntry entry;
  Place behind;            ///< where the next record begins
  int64_t size_bytes = 0;  ///< in memory
};

/// What a log shares with its readers; `changed` wakes them after an append. Shared, because a
/// reader may outlive its log.
struct State {
  Mutex mutex;
  std::condition_variable_any changed;

  std::vector<SegmentInfo> segments
      GUARDED_BY(mutex);                         ///< ascending; the last one is being written
  std::deque<TailEntry> tail GUARDED_BY(mutex);  ///< the newest batches, without holes, to the end
  LogStats stats GUARDED_BY(mutex);              ///< but for `start`, which follows from `segments`
  bool transaction_open GUARDED_BY(mutex) = false;
  std::optional<change::SourceIdentity> source GUARDED_BY(mutex);
  std::vector<std::shared_ptr<const change::TableSchema>> schemas GUARDED_BY(mutex);
  change::SnapshotLedger snapshots GUARDED_BY(mutex);

  /// The offset of the first batch in `tail`; the end when it is empty.
  LogOffset tail_begin() const REQUIRES(mutex) {
    return {stats.appended.offset.value - static_cast<int64_t>(tail.size())};
  }
};

}  // namespace freshet::log
