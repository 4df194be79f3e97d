#pragma once

#include <map>
#include <string>

#include "pipeline/status.h"

namespace freshet::pipeline {

/// Judges a pipeline's status over time: tells stalled from idle by positions that moved.
///
/// Threads: guarded by its owner. Observe() is called about once a second, so that progress is seen
/// when it happens.
class HealthMonitor {
 public:
  /// A sink that has something to do and does not move for this long (besides its flush interval)
  /// is stalled.
  static constexpr std::chrono::seconds kStallAfter{60};

  /// A sink that had to try again is trusted to be on its way once it has not had to for this long:
  /// longer than the pauses between two tries.
  static constexpr std::chrono::microseconds kSettledAfter = std::chrono::seconds(45);

  /// Fills the health fields of `status`. `flush_interval` by sink name; `blocked` says why the log
  /// takes nothing.
  void Observe(PipelineStatus& status,
               const std::map<std::string, std::chrono::microseconds>& flush_interval,
               const std::string& blocked);

 private:
  struct Progress {
    change::Position durable;
    log::LogOffset farthest;     ///< read so far
    int64_t retries = 0;         ///< when looked at last
    int64_t retries_before = 0;  ///< when `durable` advanced last
    UnixMicros retried_at = 0;
    UnixMicros moved_at = 0;
  };

  void Judge(SinkStatus& sink, const PipelineStatus& status,
             std::chrono::microseconds flush_interval);
  void Keep(const std::string& part, HealthReport& report, UnixMicros now);

  std::map<std::string, Progress> progress_;     ///< by sink
  std::map<std::string, HealthReport> reports_;  ///< by part, to know since when
};

}  // namespace freshet::pipeline
