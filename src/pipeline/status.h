#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/source_identity.h"
#include "log/log.h"
#include "pipeline/latency.h"
#include "postgres/capture.h"
#include "sink/sink.h"

namespace freshet::pipeline {

/// What a sink of a pipeline is doing.
enum class SinkState : uint8_t {
  kOpening,   ///< connecting to the target
  kRunning,   ///< reads the log, or waits for more of it
  kRetrying,  ///< an error; tries again after a pause
  kFailed,    ///< an error that trying again cannot cure; stays until an operator acts
  kStopped,
};

std::string_view SinkStateName(SinkState state);

/// How a part is, apart from what it does.
enum class Health : uint8_t {
  kOk,
  kDegraded,  ///< works, with a warning: retrying, log over budget, ...
  kFailing,   ///< makes no progress though there is something to do
};

std::string_view HealthName(Health health);

/// A health with the moment it began and why.
struct HealthReport {
  Health health = Health::kOk;
  UnixMicros since = 0;
  std::string code;    ///< lower_snake_case, stable, for alarms: "sink_stalled"
  std::string reason;  ///< one sentence
};

/// Row images a sink made durable of one table.
struct SinkTable {
  change::TableName name;
  int64_t rows = 0;
};

/// One sink of a pipeline.
struct SinkStatus {
  std::string name;
  sink::Description description;
  sink::WriteMode mode = sink::WriteMode::kUpsert;
  SinkState state = SinkState::kStopped;
  UnixMicros state_since = 0;
  HealthReport health;
  std::optional<Error> last_error;
  UnixMicros last_error_at = 0;
  std::map<std::string, int64_t> errors_by_kind;  ///< ErrorKindName -> count
  int64_t retries_total = 0;

  sink::StoredPosition durable;  ///< what the target holds
  log::LogOffset read;           ///< how far it has read the log
  int64_t lag_bytes = 0;         ///< WAL bytes between the newest received commit and `durable`
  int64_t lag_micros = 0;        ///< age of the oldest transaction not durable; 0 when caught up
  int64_t rows_total = 0;        ///< row images made durable since the start
  int64_t transactions_total = 0;
  int64_t pending_rows = 0;  ///< written, not yet durable
  int64_t flushes_total = 0;
  LatencySummary flush_time;      ///< duration of Flush
  LatencySummary latency;         ///< commit in the source -> visible in the target, by transaction
  std::vector<SinkTable> tables;  ///< at most kMaxTablesShown, those with most rows
};

inline constexpr size_t kMaxTablesShown = 100;

/// One table that a pipeline carries.
struct CarriedTable {
  change::TableName name;

  /// While its rows are read; afterwards, and when they came another way, it only streams.
  std::optional<postgres::SnapshotTable> snapshot;
};

/// Everything that /status and /metrics show of a pipeline. A snapshot in time.
struct PipelineStatus {
  std::string version;
  UnixMicros now = 0;
  UnixMicros started = 0;
  std::optional<change::SourceIdentity> source;
  postgres::CaptureStatus capture;
  HealthReport capture_health;
  std::map<std::string, int64_t> source_errors_by_kind;
  std::optional<Error> source_last_error;
  log::LogId log_id;
  log::LogStats log;
  HealthReport log_health;
  LatencySummary log_latency;  ///< commit in the source -> appended to the log, by transaction
  std::vector<SinkStatus> sinks;
  HealthReport health;  ///< the worst of all
  int64_t resident_bytes = 0;
  int64_t peak_resident_bytes = 0;
  double cpu_seconds = 0;
};

/// Whether somebody watching should be alarmed: the answer of /healthz.
inline bool Healthy(const PipelineStatus& status) {
  return status.health.health != Health::kFailing;
}

}  // namespace freshet::pipeline
