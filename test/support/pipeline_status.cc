#include "support/pipeline_status.h"

namespace freshet::test {
namespace {

constexpr UnixMicros kNow = 1'700'000'000'123'456;  // 2023-11-14T22:13:20.123456Z

pipeline::LatencySummary Latency() {
  pipeline::LatencyHistogram histogram;
  histogram.Add(800, 2);
  histogram.Add(40'000);
  return histogram.Summary();
}

pipeline::HealthReport Ok() { return {.since = kNow - 60'000'000, .code = "ok", .reason = {}}; }

pipeline::SinkStatus MakeSink(const std::string& name, const std::string& kind) {
  pipeline::SinkStatus sink;
  sink.name = name;
  sink.description = {.kind = kind,
                      .target = "/data/" + name,
                      .guarantee = "exactly once",
                      .limits = {},
                      .counters = {{"rows_total", "Rows written.", 7}, {"files", "Open.", 1}}};
  sink.state = pipeline::SinkState::kRunning;
  sink.state_since = kNow - 60'000'000;
  sink.health = Ok();
  sink.durable.log_id = "ab";
  sink.durable.log_offset = 9'007'199'254'740'993;
  sink.durable.position.commit_end = {0x16B374D848};
  sink.rows_total = 1'234'567;
  sink.transactions_total = 1'234;
  sink.latency = Latency();
  sink.flush_time = Latency();
  sink.tables = {{{"public", "orders"}, 1'234'567}};
  return sink;
}

}  // namespace

pipeline::PipelineStatus MakePipelineStatus() {
  pipeline::PipelineStatus status;
  status.version = "0.1.0";
  status.now = kNow;
  status.started = kNow - 3'600'000'000;
  status.source = change::SourceIdentity{.system_id = 7'000'000'000'000'000'001,
                                         .timeline = 1,
                                         .database = "shop",
                                         .database_oid = 5,
                                         .slot = "freshet",
                                         .publication = "freshet",
                                         .consistent_point = {0x100},
                                         .created_at = kNow - 3'600'000'000};
  status.capture.state = postgres::CaptureState::kStreaming;
  status.capture.since = kNow - 3'500'000'000;
  status.capture.received = {0x16B374D900};
  status.capture.server_end = {0x16B374DA00};
  status.capture.acknowledged = {0x16B374D848};
  status.capture.slot_retained_bytes = 4'096;
  status.capture.slot_wal_status = "reserved";
  status.capture.slot_safe_wal_bytes = 8'192;
  status.capture.slot_catalog_age = 1'234;
  status.capture.rows_total = 1'234'567;
  status.capture.transactions_total = 1'234;
  status.capture.last_commit_time = kNow - 2'000'000;
  status.capture.snapshot = {
      {.name = {"public", "orders"},
       .state = postgres::SnapshotState::kReading,
       .rows_copied = 1'200,
       .bytes_copied = 90'000,
       .bytes_read = 1 << 20,
       .bytes_estimated = 4 << 20,
       .rows_per_second = 600,
       .seconds_left = 95},
      {.name = {"public", "later<b>"},
       .rows_estimated = 10,
       .bytes_estimated = 8'192,
       .waits_for = "transactions that ran when it joined: pid 17 (UPDATE)"},
      {.name = {"public", "items"}, .state = postgres::SnapshotState::kFinished, .done = true}};
  status.capture.running.transactions = 2;
  status.capture.running.largest_bytes = 300'000'000;
  status.capture.running.oldest_since = kNow - 60'000'000;
  status.capture.running.bytes = 400'000'000;
  status.capture_health = Ok();
  status.source_errors_by_kind = {{"unavailable", 2}};
  status.source_last_error = Error{ErrorKind::kUnavailable, "the server closed the connection"};
  status.log_id = {"0123456789abcdef"};
  status.log.size_bytes = 12 << 20;
  status.log.budget_bytes = int64_t{10} << 30;
  status.log.segments = 1;
  status.log_health = Ok();
  status.log_latency = Latency();
  status.sinks = {MakeSink("warehouse", "duckdb"), MakeSink("lake", "files")};
  pipeline::SinkStatus& lake = status.sinks[1];
  lake.state = pipeline::SinkState::kRetrying;
  lake.health = {.health = pipeline::Health::kDegraded,
                 .since = kNow - 1'000'000,
                 .code = "sink_retrying",
                 .reason = "bucket <lake> is \"away\""};
  lake.last_error = Error{ErrorKind::kUnavailable, "bucket <lake> is \"away\""};
  lake.errors_by_kind = {{"unavailable", 3}};
  lake.lag_micros = 5'000'000;
  status.health = lake.health;
  status.resident_bytes = 100 << 20;
  status.cpu_seconds = 1.5;
  return status;
}

}  // namespace freshet::test
