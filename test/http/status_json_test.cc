#include "http/status_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/pipeline_status.h"

namespace freshet::http {
namespace {

using nlohmann::json;

TEST(StatusJsonTest, EveryPartHasAStateAndAHealthOfItsOwn) {
  const json status = json::parse(StatusJson(test::MakePipelineStatus()));

  for (const json& part :
       {status["source"], status["slot"], status["log"], status["sinks"][0], status["sinks"][1]}) {
    EXPECT_TRUE(part["state"].is_string()) << part;
    for (const char* member : {"health", "since", "code", "reason"}) {
      EXPECT_TRUE(part["health"].contains(member)) << part;
    }
  }
  EXPECT_EQ(status["sinks"][1]["state"], "retrying");
  EXPECT_EQ(status["sinks"][1]["health"]["health"], "degraded");
  EXPECT_EQ(status["sinks"][1]["health"]["code"], "sink_retrying");
}

/// A reader that takes JSON numbers for doubles must lose nothing.
TEST(StatusJsonTest, LargeNumbersTravelAsStrings) {
  const json status = json::parse(StatusJson(test::MakePipelineStatus()));

  EXPECT_EQ(status["sinks"][0]["durable_log_offset"], "9007199254740993");
  EXPECT_EQ(status["source"]["identity"]["system_id"], "7000000000000000001");
  EXPECT_EQ(status["source"]["received_lsn"], "16/B374D900");
}

TEST(StatusJsonTest, RunningTransactionsHaveSizeAndAge) {
  const json running =
      json::parse(StatusJson(test::MakePipelineStatus()))["source"]["running_transactions"];

  EXPECT_EQ(running["count"], "2");
  EXPECT_EQ(running["largest_bytes"], "300000000");
  EXPECT_TRUE(running["oldest_since"].is_string());
  EXPECT_EQ(running["spool_bytes"], "400000000");
}

TEST(StatusJsonTest, LatencyComesInParts) {
  const json status = json::parse(StatusJson(test::MakePipelineStatus()));

  EXPECT_EQ(status["latency"]["commit_to_log"]["count"], "3");
  const json& sink = status["sinks"][0]["latency"];
  EXPECT_TRUE(sink["commit_to_durable"].contains("p99_micros"));
  EXPECT_TRUE(sink["flush"].contains("p50_micros"));
}

TEST(StatusJsonTest, UnknownFiguresAreNullNotZero) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.capture.slot_retained_bytes = -1;
  status.capture.slot_safe_wal_bytes = -1;
  status.capture.last_commit_time = 0;
  status.source_last_error.reset();

  const json out = json::parse(StatusJson(status));

  EXPECT_TRUE(out["slot"]["retained_bytes"].is_null());
  EXPECT_TRUE(out["slot"]["safe_wal_bytes"].is_null());
  EXPECT_EQ(out["slot"]["catalog_age"], "1234");
  EXPECT_TRUE(out["source"]["last_commit_time"].is_null());
  EXPECT_TRUE(out["source"]["last_error"].is_null());
}

TEST(StatusJsonTest, SnapshotSaysHowFarEachTableIsAndWhatItWaitsFor) {
  const json tables = json::parse(StatusJson(test::MakePipelineStatus()))["snapshot"];

  ASSERT_EQ(tables.size(), 3U);
  EXPECT_EQ(tables[0]["state"], "reading");
  EXPECT_EQ(tables[0]["bytes_read"], "1048576");
  EXPECT_EQ(tables[0]["seconds_left"], "95");
  EXPECT_TRUE(tables[0]["rows_estimated"].is_null());
  EXPECT_EQ(tables[1]["state"], "wanted");
  EXPECT_TRUE(tables[1]["seconds_left"].is_null());
  EXPECT_EQ(tables[1]["waits_for"], "transactions that ran when it joined: pid 17 (UPDATE)");
  EXPECT_EQ(tables[2]["state"], "finished");
}

TEST(StatusJsonTest, ATableThatIsReadAgainSaysWhy) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.capture.snapshot[0].why = "its rows were rewritten";
  status.capture.read_again_total = 3;

  const json out = json::parse(StatusJson(status));

  EXPECT_EQ(out["snapshot"][0]["why"], "its rows were rewritten");
  EXPECT_EQ(out["source"]["read_again_total"], "3");
}

TEST(StatusJsonTest, BytesThatAreNoUtf8DoNotBreakIt) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.sinks[0].description.target = "/data/\xff\xfe";

  EXPECT_TRUE(json::accept(StatusJson(status)));
}

TEST(HealthJsonTest, ReasonsNameThePartsThatAreNotWell) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  const json degraded = json::parse(HealthJson(status));
  status.sinks[1].health.health = pipeline::Health::kFailing;
  status.health = status.sinks[1].health;
  const json failing = json::parse(HealthJson(status));

  EXPECT_TRUE(degraded["healthy"]);
  EXPECT_FALSE(failing["healthy"]);
  ASSERT_EQ(failing["reasons"].size(), 1U);
  EXPECT_EQ(failing["reasons"][0]["part"], "sink lake");
}

TEST(IsoTimeTest, HasMicrosecondsAndUtc) {
  EXPECT_EQ(IsoTime(1'700'000'000'123'456), "2023-11-14T22:13:20.123456Z");
  EXPECT_EQ(IsoTime(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(IsoTime(0), "");
}

}  // namespace
}  // namespace freshet::http
