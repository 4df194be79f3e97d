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

TEST(HealthMonitorTest, WhatASlotHoldsBackIsToldBeforeItHarms) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.capture.slot_verdict = {postgres::SlotAlarm::kNotice, "holds 3 GiB", "look"};
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.code, "slot_retains_much");
  EXPECT_EQ(status.health.health, Health::kDegraded);
  EXPECT_EQ(status.health.reason, "holds 3 GiB; look");

  status.capture.slot_verdict.alarm = postgres::SlotAlarm::kUrgent;
  monitor.Observe(status, {}, "");

  EXPECT_EQ(status.health.code, "slot_endangered");
  EXPECT_FALSE(Healthy(status));
}

TEST(HealthMonitorTest, AStreamHeldUpByAStandbyIsNotTakenForIdle) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.capture.state = postgres::CaptureState::kWaitingForStandby;
  status.capture.reason = "the standby of slot 'a' is away";

  monitor.Observe(status, {}, "");

  EXPECT_EQ(status.health.code, "waiting_for_standby");
  EXPECT_EQ(status.health.reason, "the standby of slot 'a' is away");
}

/// Every try to connect begins a state anew: that must not make an outage look young.
TEST(HealthMonitorTest, SourceAwayTurnsFromDegradedToFailing) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(100 * kSecond);
  status.source_last_error = Error{ErrorKind::kUnavailable, "refused"};
  for (int i = 0; i <= 60; i += 20) {
    status.now = (100 + i) * kSecond;
    status.capture.since = status.now - kSecond;
    status.capture.state =
        i % 40 == 0 ? postgres::CaptureState::kConnecting : postgres::CaptureState::kStopped;
    monitor.Observe(status, {}, "");
    EXPECT_EQ(status.health.health, Health::kDegraded);
  }

  status.now = 161 * kSecond;
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.health, Health::kFailing);

  status.capture.state = postgres::CaptureState::kStreaming;
  monitor.Observe(status, {}, "");
  EXPECT_EQ(status.health.health, Health::kOk);
}

TEST(HealthMonitorTest, SinkThatReadsALongTransactionAfterAnErrorIsNotStalled) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  status.log.appended = {log::LogOffset{1000}, {change::Lsn{200}, 0}};
  status.sinks[0].retries_total = 1;
  for (int64_t i = 1; i <= 30; ++i) {
    status.now += 10 * kSecond;
    status.sinks[0].read = log::LogOffset{10 + i};
    monitor.Observe(status, {}, "");
    ASSERT_EQ(status.health.health, Health::kOk) << i;
    if (i == 3) ++status.sinks[0].retries_total;
  }
}

/// A sink that reads the same again and again and never gets it written makes no progress.
TEST(HealthMonitorTest, SinkThatRetriesInVainIsStalled) {
  HealthMonitor monitor;
  PipelineStatus status = CaughtUp(kSecond);
  SinkStatus& sink = status.sinks[0];
  status.log.appended.position.commit_end = change::Lsn{200};
  monitor.Observe(status, {}, "");
  for (int i = 1; i <= 7; ++i) {
    status.now += 10 * kSecond;
    sink.state = i % 2 == 0 ? SinkState::kRunning : SinkState::kRetrying;
    sink.read = log::LogOffset{10 + i % 2};
    sink.retries_total = i;
    monitor.Observe(status, {}, "");
  }
  EXPECT_EQ(sink.health.code, "sink_stalled");

  sink.durable.position.commit_end = change::Lsn{150};
  monitor.Observe(status, {}, "");
  EXPECT_NE(sink.health.code, "sink_stalled");
}

}  // namespace
}  // namespace freshet::pipeline
