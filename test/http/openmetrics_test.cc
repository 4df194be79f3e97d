#include "http/openmetrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "support/openmetrics.h"
#include "support/pipeline_status.h"
#include "support/temporary_folder.h"

namespace freshet::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(OpenMetricsTest, PageFollowsTheFormat) {
  test::CheckOpenMetrics(MetricsText(test::MakePipelineStatus()));
  test::CheckOpenMetrics(MetricsText(pipeline::PipelineStatus()));
}

/// Families that every pipeline has stand in docs/http.md, in the words of the page.
TEST(OpenMetricsTest, EveryFamilyIsDocumented) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  for (pipeline::SinkStatus& sink : status.sinks) sink.description.counters.clear();
  const std::string page = test::ReadText("docs/http.md");
  const std::map<std::string, std::string> suffixes = {{"counter", "_total"}, {"info", "_info"}};

  std::string type;
  for (const std::string& line : Lines(MetricsText(status))) {
    std::istringstream words(line);
    std::string hash, keyword, family;
    words >> hash >> keyword >> family;
    if (keyword == "TYPE") words >> type;
    if (keyword != "HELP") continue;
    const std::string help = line.substr(line.find(family) + family.size() + 1);
    const std::string suffix = suffixes.contains(type) ? suffixes.at(type) : "";
    EXPECT_THAT(page, HasSubstr("| `" + family + suffix + "` | " + type + " | " + help + " |"));
  }
}

TEST(OpenMetricsTest, TwoSinksOfAKindShareAFamily) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.sinks[1].description.kind = "duckdb";

  const std::string text = MetricsText(status);

  test::CheckOpenMetrics(text);
  EXPECT_THAT(text, HasSubstr("freshet_sink_duckdb_rows_total{sink=\"warehouse\"} 7\n"
                              "freshet_sink_duckdb_rows_total{sink=\"lake\"} 7\n"));
}

TEST(OpenMetricsTest, HistogramIsCumulativeAndEndsInItsCount) {
  const std::string text = MetricsText(test::MakePipelineStatus());

  EXPECT_THAT(text, HasSubstr("freshet_log_latency_seconds_bucket{le=\"0.001\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("freshet_log_latency_seconds_bucket{le=\"1.0\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("freshet_log_latency_seconds_bucket{le=\"+Inf\"} 3\n"
                              "freshet_log_latency_seconds_count 3\n"
                              "freshet_log_latency_seconds_sum 0.0416\n"));
}

TEST(OpenMetricsTest, FiguresHaveTheirLabels) {
  const std::string text = MetricsText(test::MakePipelineStatus());

  EXPECT_THAT(text, HasSubstr("freshet_build_info{version=\"0.1.0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("freshet_health{part=\"sink lake\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("freshet_snapshot_tables{state=\"reading\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("freshet_snapshot_waiting_tables 1\n"));
  EXPECT_THAT(text, HasSubstr("freshet_snapshot_read_bytes 1048576\n"));
  EXPECT_THAT(text, HasSubstr("freshet_source_errors_total{kind=\"unavailable\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("freshet_sink_errors_total{sink=\"lake\",kind=\"unavailable\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("freshet_sink_lag_seconds{sink=\"lake\"} 5"));
  EXPECT_THAT(text, HasSubstr("freshet_slot_retained_bytes 4096\n"));
  EXPECT_THAT(text, HasSubstr("freshet_slot_safe_wal_bytes 8192\n"));
  EXPECT_THAT(text, HasSubstr("freshet_slot_catalog_age 1234\n"));
  EXPECT_THAT(text, HasSubstr("freshet_source_running_transactions 2\n"));
  EXPECT_THAT(text, HasSubstr("freshet_source_running_oldest_seconds 60"));
  EXPECT_THAT(text, HasSubstr("freshet_source_spool_bytes 400000000\n"));
}

TEST(OpenMetricsTest, UnknownRetainedWalIsLeftOut) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.capture.slot_retained_bytes = -1;

  EXPECT_THAT(MetricsText(status), Not(HasSubstr("slot_retained_bytes")));
}

TEST(OpenMetricsTest, LabelValuesAreEscaped) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  status.version = "a\"b\\c\nd";

  EXPECT_THAT(MetricsText(status), HasSubstr("version=\"a\\\"b\\\\c\\nd\""));
}

}  // namespace
}  // namespace freshet::http
