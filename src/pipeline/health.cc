#include "pipeline/health.h"

#include <fmt/format.h>

#include <algorithm>

namespace freshet::pipeline {
namespace {

HealthReport Report(Health health, std::string code, std::string reason) {
  return {.health = health, .since = 0, .code = std::move(code), .reason = std::move(reason)};
}

constexpr std::string_view kSourceAway = "source_unavailable";

/// `away_since`: since when nothing was captured; 0 when that is new.
HealthReport JudgeCapture(const PipelineStatus& status, UnixMicros away_since) {
  using postgres::CaptureState;
  const auto& capture = status.capture;
  if (capture.slot_wal_status == "lost") {
    return Report(Health::kFailing, "slot_lost", "the server has removed WAL that the slot needs");
  }
  const postgres::SlotVerdict& slot = capture.slot_verdict;
  if (slot.alarm == postgres::SlotAlarm::kUrgent) {
    return Report(Health::kFailing, "slot_endangered", slot.reason + "; " + slot.repair);
  }
  if (capture.state == CaptureState::kWaitingForStandby) {
    return Report(Health::kDegraded, "waiting_for_standby", capture.reason);
  }
  if (capture.state == CaptureState::kWaitingForRoom) {
    return Report(Health::kDegraded, "source_paused",
                  "the log takes no more; the source is not read");
  }
  const bool works =
      capture.state == CaptureState::kStreaming || capture.state == CaptureState::kSnapshotting;
  if (!works && status.source_last_error.has_value()) {
    // Not since its state began: that changes with every try to connect.
    const auto away_for = std::chrono::microseconds(away_since == 0 ? 0 : status.now - away_since);
    return Report(away_for > HealthMonitor::kStallAfter ? Health::kFailing : Health::kDegraded,
                  std::string(kSourceAway), status.source_last_error->message);
  }
  if (slot.alarm == postgres::SlotAlarm::kNotice) {
    return Report(Health::kDegraded, "slot_retains_much", slot.reason + "; " + slot.repair);
  }
  if (!capture.warnings.empty()) {
    return Report(Health::kDegraded, "source_drift", capture.warnings.front());
  }
  return Report(Health::kOk, "ok", "");
}

}  // namespace

void HealthMonitor::Keep(const std::string& part, HealthReport& report, UnixMicros now) {
  HealthReport& kept = reports_[part];
  report.since = kept.since != 0 && kept.code == report.code ? kept.since : now;
  kept = report;
}

void HealthMonitor::Judge(SinkStatus& sink, const PipelineStatus& status,
                          std::chrono::microseconds flush_interval) {
  Progress& progress = progress_[sink.name];
  const bool behind = sink.durable.position < status.log.appended.position;
  const bool advanced = sink.durable.position != progress.durable;
  if (advanced) progress.retries_before = sink.retries_total;
  if (sink.retries_total != progress.retries) progress.retried_at = status.now;
  if (status.log.appended.offset < progress.farthest) progress.farthest = {};  // a log begun anew
  // Reading leads to a flush, unless it is done over and over.
  const bool settled = sink.retries_total == progress.retries_before ||
                       status.now - progress.retried_at > kSettledAfter.count();
  const bool reads = settled && sink.read > progress.farthest;
  if (progress.moved_at == 0 || advanced || reads || !behind) progress.moved_at = status.now;
  progress.durable = sink.durable.position;
  progress.farthest = std::max(progress.farthest, sink.read);
  progress.retries = sink.retries_total;

  const auto still = std::chrono::microseconds(status.now - progress.moved_at);
  const std::string error = sink.last_error.has_value() ? sink.last_error->message : "";
  if (sink.state == SinkState::kFailed) {
    sink.health = Report(Health::kFailing, "sink_failed", error);
  } else if (behind && still > kStallAfter + flush_interval) {
    sink.health =
        Report(Health::kFailing, "sink_stalled",
               fmt::format("there are changes to write and none was written for {} s{}{}",
                           std::chrono::duration_cast<std::chrono::seconds>(still).count(),
                           error.empty() ? "" : "; last error: ", error));
  } else if (sink.state == SinkState::kRetrying) {
    sink.health = Report(Health::kDegraded, "sink_retrying", error);
  } else {
    sink.health = Report(Health::kOk, "ok", "");
  }
  Keep("sink/" + sink.name, sink.health, status.now);
}

void HealthMonitor::Observe(PipelineStatus& status,
                            const std::map<std::string, std::chrono::microseconds>& flush_interval,
                            const std::string& blocked) {
  const HealthReport& before = reports_["source"];
  status.capture_health = JudgeCapture(status, before.code == kSourceAway ? before.since : 0);
  Keep("source", status.capture_health, status.now);
  status.log_health = blocked.empty() ? Report(Health::kOk, "ok", "")
                                      : Report(Health::kFailing, "log_blocked", blocked);
  Keep("log", status.log_health, status.now);

  status.health = status.capture_health;
  const auto take_worse = [&](const HealthReport& report) {
    if (report.health > status.health.health) status.health = report;
  };
  take_worse(status.log_health);
  for (SinkStatus& sink : status.sinks) {
    const auto interval = flush_interval.find(sink.name);
    Judge(sink, status,
          interval == flush_interval.end() ? std::chrono::microseconds(0) : interval->second);
    take_worse(sink.health);
  }
}

}  // namespace freshet::pipeline
