#include <gtest/gtest.h>

#include "cli/demo/layout.h"
#include "cli/demo/probe.h"
#include "cli/demo/process.h"
#include "config/yaml_reader.h"
#include "http/status_json.h"
#include "pipeline/options.h"

namespace freshet::cli::demo {
namespace {

/// The demo reads what the server writes, field for field.
TEST(ParseStatusTest, ReadsWhatStatusWrites) {
  pipeline::PipelineStatus status;
  status.capture.state = postgres::CaptureState::kStreaming;
  pipeline::SinkStatus sink;
  sink.name = "warehouse";
  sink.description.kind = "duckdb";
  sink.durable.position = {change::Lsn{0x16B374D848}, 3};
  status.log.appended.position = sink.durable.position;
  sink.rows_total = 42;
  sink.lag_bytes = 7;
  sink.lag_micros = 1'500'000;
  sink.latency.p50_micros = 2'000;
  sink.latency.p99_micros = 3'500;
  status.sinks.push_back(sink);

  const auto figures = ParseStatus(http::StatusJson(status));

  ASSERT_TRUE(figures.has_value()) << figures.error();
  EXPECT_EQ(figures->capture_state, postgres::CaptureStateName(status.capture.state));
  ASSERT_EQ(figures->sinks.size(), 1U);
  EXPECT_EQ(figures->sinks[0].name, "warehouse");
  EXPECT_EQ(figures->sinks[0].durable, sink.durable.position);
  EXPECT_TRUE(HasCaughtUp(*figures));
  EXPECT_EQ(figures->sinks[0].rows, 42);
  EXPECT_DOUBLE_EQ(figures->sinks[0].lag_seconds, 1.5);
  EXPECT_DOUBLE_EQ(figures->sinks[0].p50_ms, 2);
  EXPECT_DOUBLE_EQ(figures->sinks[0].p99_ms, 3.5);
}

TEST(ParseStatusTest, WhatIsNoStatusIsMalformed) {
  for (const char* text : {"", "[]", "{}", R"({"source": {"state": 3}, "sinks": []})"}) {
    EXPECT_FALSE(ParseStatus(text).has_value()) << text;
  }
}

TEST(ProbeTest, NobodyThereIsUnavailable) {
  const auto figures = Probe(FreePort().value());

  ASSERT_FALSE(figures.has_value());
  EXPECT_EQ(figures.error().kind, ErrorKind::kUnavailable);
}

TEST(ConfigTextTest, IsAConfigurationThatFreshetTakes) {
  Layout layout;
  layout.folder = "/tmp/somewhere";
  layout.source_url = "host=127.0.0.1 dbname=shop";
  layout.http_port = 12'345;
  layout.lake_url = "s3://bucket/prefix";
  layout.s3_endpoint = "http://127.0.0.1:9000";
  pipeline::Options options;

  const Status read = config::ReadYaml(
      ConfigText(layout), "demo", [&](config::Binder& binder) { pipeline::Bind(binder, options); });

  ASSERT_TRUE(read.has_value()) << read.error();
  ASSERT_EQ(options.sinks.size(), 2U);
  EXPECT_EQ(options.http.listen, "127.0.0.1:12345");
  EXPECT_EQ(options.sinks[0].factory->WarehousePath(), layout.warehouse_path());
}

}  // namespace
}  // namespace freshet::cli::demo
