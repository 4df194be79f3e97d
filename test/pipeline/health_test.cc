#include "pipeline/health.h"

#include <gtest/gtest.h>

namespace freshet::pipeline {
namespace {

constexpr UnixMicros kSecond = 1'000'000;

/// A pipeline with one running sink that has everything.
PipelineStatus CaughtUp(UnixMicros now) {
  PipelineStatus status;
  status.now = now;
  status.capture.state = postgres::CaptureState::kStreaming;
  status.log.appended = {log::LogOffset{10}, {change::Lsn{100}, 0}};
  SinkStatus sink;
  sink.name = "warehouse";
  sink.state = SinkState::kRunning;
  sink.durable.position = {change::Lsn{100}, 0};
  sink.read = log::LogOffset{10};
  status.sinks.push_back(sink);
  return status;
}

TEST(HealthMonitorTest, IdlePipelineStaysHealthy) {
  HealthMonitor monitor;
  for (UnixMicros t = 1; t < 600 * kSecond; t += 30 * kSecond) {
    PipelineStatus status = CaughtUp(t);
    monitor.Observe(status, {}, "");
    ASSERT_EQ(status.health.health, Health::kOk) << t;
  }
}

TEST(HealthMonitorTest, SinkThatDoesNotMoveThoughBehindIsStalled) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.log.appended.position.commit_end = change::Lsn{200};
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.health, Health::kOk);

  status.now += 61 * kSecond;
  monitor.Observe(status, {}, "");

  EXPECT_EQ(status.sinks[0].health.code, "sink_stalled");
  EXPECT_FALSE(Healthy(status));
}

TEST(HealthMonitorTest, SlowSinkThatMovesIsNotStalled) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.log.appended.position.commit_end = change::Lsn{2000};
  for (uint64_t i = 1; i <= 10; ++i) {
    status.now += 50 * kSecond;
    status.sinks[0].durable.position.commit_end = change::Lsn{100 + i};
    monitor.Observe(status, {}, "");
    ASSERT_EQ(status.health.health, Health::kOk);
  }
}

TEST(HealthMonitorTest, LongFlushIntervalIsNoStall) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.log.appended.position.commit_end = change::Lsn{200};
  const std::map<std::string, std::chrono::microseconds> intervals = {
      {"warehouse", std::chrono::minutes(30)}};
  monitor.Observe(status, intervals, "");

  status.now += 20 * 60 * kSecond;
  monitor.Observe(status, intervals, "");

  EXPECT_EQ(status.health.health, Health::kOk);
}

TEST(HealthMonitorTest, RetryingIsDegradedAndSinceTheFirstTime) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.sinks[0].state = SinkState::kRetrying;
  status.sinks[0].last_error = Error{ErrorKind::kUnavailable, "bucket away"};
  monitor.Observe(status, {}, "");
  status.now += 5 * kSecond;
  monitor.Observe(status, {}, "");

  EXPECT_EQ(status.sinks[0].health.health, Health::kDegraded);
  EXPECT_EQ(status.sinks[0].health.since, kSecond);
  EXPECT_TRUE(Healthy(status));
}

TEST(HealthMonitorTest, LostSlotAndBlockedLogAreFailing) {
  HealthMonitor monitor;
  PipelineStatus lost = CaughtUp(kSecond);
  lost.capture.slot_wal_status = "lost";
  monitor.Observe(lost, {}, "");
  EXPECT_EQ(lost.health.code, "slot_lost");

  PipelineStatus blocked = CaughtUp(2 * kSecond);
  monitor.Observe(blocked, {}, "the log is full");
  EXPECT_EQ(blocked.health.code, "log_blocked");
}

TEST(HealthMonitorTest, SourceAwayTurnsFromDegradedToFailing) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(100 * kSecond);
  status.capture.state = postgres::CaptureState::kConnecting;
  status.capture.since = 90 * kSecond;
  status.source_last_error = Error{ErrorKind::kUnavailable, "refused"};
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.health, Health::kDegraded);

  status.now = 200 * kSecond;
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.health, Health::kFailing);
}

}  // namespace
}  // namespace freshet::pipeline
