#include "http/status_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace freshet::http {
namespace {

using nlohmann::ordered_json;
using pipeline::HealthReport;
using pipeline::LatencySummary;
using pipeline::PipelineStatus;
using pipeline::SinkStatus;

ordered_json Int(int64_t value) { return std::to_string(value); }

ordered_json Time(UnixMicros time) {
  return time == 0 ? ordered_json(nullptr) : ordered_json(IsoTime(time));
}

ordered_json Health(const HealthReport& report) {
  return {{"health", pipeline::HealthName(report.health)},
          {"since", Time(report.since)},
          {"code", report.code},
          {"reason", report.reason}};
}

ordered_json Latency(const LatencySummary& summary) {
  return {{"count", Int(summary.count)},
          {"p50_micros", Int(summary.p50_micros)},
          {"p95_micros", Int(summary.p95_micros)},
          {"p99_micros", Int(summary.p99_micros)},
          {"max_micros", Int(summary.max_micros)}};
}

ordered_json LastError(const std::optional<Error>& error, UnixMicros at) {
  if (!error.has_value()) return nullptr;
  ordered_json out{{"kind", ErrorKindName(error->kind)}, {"message", error->message}};
  if (at != 0) out["at"] = Time(at);
  return out;
}

ordered_json Counts(const std::map<std::string, int64_t>& counts) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, count] : counts) out[name] = Int(count);
  return out;
}

ordered_json Source(const PipelineStatus& status) {
  const postgres::CaptureStatus& capture = status.capture;
  ordered_json out{{"kind", "postgres"},
                   {"state", postgres::CaptureStateName(capture.state)},
                   {"since", Time(capture.since)},
                   {"state_reason", capture.reason},
                   {"health", Health(status.capture_health)}};
  if (status.source.has_value()) {
    out["identity"] = {{"system_id", std::to_string(status.source->system_id)},
                       {"timeline", Int(status.source->timeline)},
                       {"database", status.source->database},
                       {"publication", status.source->publication},
                       {"consistent_point", ToString(status.source->consistent_point)},
                       {"created_at", Time(status.source->created_at)}};
  }
  out["warnings"] = capture.warnings;
  out["received_lsn"] = ToString(capture.received);
  out["server_end_lsn"] = ToString(capture.server_end);
  out["acknowledged_lsn"] = ToString(capture.acknowledged);
  out["last_commit_time"] = Time(capture.last_commit_time);
  out["rows_total"] = Int(capture.rows_total);
  out["bytes_total"] = Int(capture.bytes_total);
  out["transactions_total"] = Int(capture.transactions_total);
  out["reconnects_total"] = Int(capture.reconnects_total);
  out["read_again_total"] = Int(capture.read_again_total);
  out["running_transactions"] = {{"count", Int(capture.running.transactions)},
                                 {"largest_bytes", Int(capture.running.largest_bytes)},
                                 {"oldest_since", Time(capture.running.oldest_since)},
                                 {"spool_bytes", Int(capture.running.bytes)}};
  out["errors_by_kind"] = Counts(status.source_errors_by_kind);
  out["last_error"] = LastError(status.source_last_error, 0);
  return out;
}

/// The slot's health is the part of the source's that speaks of the slot.
ordered_json Slot(const PipelineStatus& status) {
  HealthReport health = status.capture_health;
  if (!health.code.starts_with("slot_")) {
    health = {.health = pipeline::Health::kOk, .since = health.since, .code = "ok", .reason = {}};
  }
  const std::string& state = status.capture.slot_wal_status;
  return {
      {"name", status.source.has_value() ? status.source->slot : ""},
      {"state", state.empty() ? "unknown" : state},
      {"health", Health(health)},
      {"retained_bytes", status.capture.slot_retained_bytes < 0
                             ? ordered_json(nullptr)
                             : Int(status.capture.slot_retained_bytes)},
      {"safe_wal_bytes", status.capture.slot_safe_wal_bytes < 0
                             ? ordered_json(nullptr)
                             : Int(status.capture.slot_safe_wal_bytes)},
      {"catalog_age", status.capture.slot_catalog_age < 0 ? ordered_json(nullptr)
                                                          : Int(status.capture.slot_catalog_age)}};
}

/// How far one table's rows are read.
ordered_json Figures(const postgres::SnapshotTable& table) {
  const auto known = [](int64_t value) { return value < 0 ? ordered_json(nullptr) : Int(value); };
  return {{"state", postgres::SnapshotStateName(table.state)},
          {"waits_for", table.waits_for},
          {"why", table.why},
          {"rows_copied", Int(table.rows_copied)},
          {"rows_estimated", known(table.rows_estimated)},
          {"rows_per_second", Int(table.rows_per_second)},
          {"bytes_copied", Int(table.bytes_copied)},
          {"bytes_read", Int(table.bytes_read)},
          {"bytes_estimated", Int(table.bytes_estimated)},
          {"seconds_left", known(table.seconds_left)}};
}

ordered_json Snapshot(const postgres::CaptureStatus& capture) {
  ordered_json tables = ordered_json::array();
  for (const postgres::SnapshotTable& table : capture.snapshot) {
    ordered_json one{{"table", ToString(table.name)}};
    one.update(Figures(table));
    tables.push_back(std::move(one));
  }
  return tables;
}

ordered_json Log(const PipelineStatus& status) {
  const log::LogStats& log = status.log;
  return {{"id", status.log_id.value},
          {"state", log.over_budget ? "over_budget" : "open"},
          {"health", Health(status.log_health)},
          {"start_offset", Int(log.start.offset.value)},
          {"durable_offset", Int(log.durable.offset.value)},
          {"appended_offset", Int(log.appended.offset.value)},
          {"durable_position", ToString(log.durable.position)},
          {"appended_position", ToString(log.appended.position)},
          {"size_bytes", Int(log.size_bytes)},
          {"budget_bytes", Int(log.budget_bytes)},
          {"segments", Int(log.segments)},
          {"tail_bytes", Int(log.tail_bytes)},
          {"appended_bytes_total", Int(log.appended_bytes_total)},
          {"syncs_total", Int(log.syncs_total)},
          {"sync_micros_total", Int(log.sync_micros_total)}};
}

ordered_json Tables(const SinkStatus& sink) {
  ordered_json tables = ordered_json::array();
  for (const pipeline::SinkTable& table : sink.tables) {
    tables.push_back({{"table", ToString(table.name)}, {"rows_total", Int(table.rows)}});
  }
  return tables;
}

ordered_json Sink(const SinkStatus& sink) {
  ordered_json counters = ordered_json::object();
  for (const sink::Counter& counter : sink.description.counters) {
    counters[counter.name] = Int(counter.value);
  }
  return {{"name", sink.name},
          {"kind", sink.description.kind},
          {"target", sink.description.target},
          {"guarantee", sink.description.guarantee},
          {"mode", sink.mode == sink::WriteMode::kUpsert ? "upsert" : "append"},
          {"state", pipeline::SinkStateName(sink.state)},
          {"since", Time(sink.state_since)},
          {"health", Health(sink.health)},
          {"durable_position", ToString(sink.durable.position)},
          {"durable_log_offset", Int(sink.durable.log_offset)},
          {"read_log_offset", Int(sink.read.value)},
          {"lag_bytes", Int(sink.lag_bytes)},
          {"lag_micros", Int(sink.lag_micros)},
          {"rows_total", Int(sink.rows_total)},
          {"transactions_total", Int(sink.transactions_total)},
          {"pending_rows", Int(sink.pending_rows)},
          {"flushes_total", Int(sink.flushes_total)},
          {"retries_total", Int(sink.retries_total)},
          {"errors_by_kind", Counts(sink.errors_by_kind)},
          {"last_error", LastError(sink.last_error, sink.last_error_at)},
          {"latency",
           {{"commit_to_durable", Latency(sink.latency)}, {"flush", Latency(sink.flush_time)}}},
          {"counters", std::move(counters)},
          {"tables", Tables(sink)}};
}

std::string Dump(const ordered_json& json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string IsoTime(UnixMicros time) {
  if (time == 0) return {};
  constexpr int64_t kSecond = 1'000'000;
  const int64_t seconds = time >= 0 ? time / kSecond : (time - kSecond + 1) / kSecond;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(static_cast<time_t>(seconds)),
                     time - seconds * kSecond);
}

std::string StatusJson(const PipelineStatus& status) {
  ordered_json sinks = ordered_json::array();
  for (const SinkStatus& sink : status.sinks) sinks.push_back(Sink(sink));
  return Dump({{"version", status.version},
               {"now", Time(status.now)},
               {"started", Time(status.started)},
               {"health", Health(status.health)},
               {"source", Source(status)},
               {"slot", Slot(status)},
               {"snapshot", Snapshot(status.capture)},
               {"log", Log(status)},
               {"sinks", std::move(sinks)},
               {"latency", {{"commit_to_log", Latency(status.log_latency)}}},
               {"process",
                {{"resident_bytes", Int(status.resident_bytes)},
                 {"peak_resident_bytes", Int(status.peak_resident_bytes)},
                 {"cpu_seconds", status.cpu_seconds}}}});
}

std::string TablesJson(const std::vector<pipeline::CarriedTable>& tables) {
  ordered_json out = ordered_json::array();
  for (const pipeline::CarriedTable& table : tables) {
    ordered_json one{{"schema", table.name.schema}, {"table", table.name.table}};
    if (table.snapshot.has_value()) {
      one.update(Figures(*table.snapshot));
    } else {
      one["state"] = "streaming";
    }
    out.push_back(std::move(one));
  }
  return Dump({{"tables", std::move(out)}});
}

std::string HealthJson(const PipelineStatus& status) {
  ordered_json reasons = ordered_json::array();
  const auto add = [&](const std::string& part, const HealthReport& report) {
    if (report.health == pipeline::Health::kOk) return;
    ordered_json reason = Health(report);
    reason["part"] = part;
    reasons.push_back(std::move(reason));
  };
  add("source", status.capture_health);
  add("log", status.log_health);
  for (const SinkStatus& sink : status.sinks) add("sink " + sink.name, sink.health);
  return Dump({{"healthy", pipeline::Healthy(status)},
               {"health", pipeline::HealthName(status.health.health)},
               {"reasons", std::move(reasons)}});
}

}  // namespace freshet::http
