#include "pipeline/latency.h"

#include <gtest/gtest.h>

#include <cmath>

namespace freshet::pipeline {
namespace {

TEST(LatencyHistogramTest, QuantilesAreWithinOneSixteenth) {
  LatencyHistogram histogram;
  for (int64_t micros = 1; micros <= 100'000; ++micros) histogram.Add(micros);

  const LatencySummary summary = histogram.Summary();

  EXPECT_EQ(summary.count, 100'000);
  EXPECT_NEAR(static_cast<double>(summary.p50_micros), 50'000, 50'000 / 16.0);
  EXPECT_NEAR(static_cast<double>(summary.p95_micros), 95'000, 95'000 / 16.0);
  EXPECT_NEAR(static_cast<double>(summary.p99_micros), 99'000, 99'000 / 16.0);
  EXPECT_EQ(summary.max_micros, 100'000);
}

TEST(LatencyHistogramTest, CumulativeCountsGrowToTheLast) {
  LatencyHistogram histogram;
  histogram.Add(0);
  histogram.Add(900, 3);
  histogram.Add(3'000'000);

  const LatencySummary summary = histogram.Summary();

  EXPECT_EQ(summary.cumulative.front(), 4);
  EXPECT_EQ(summary.cumulative.back(), 5);
}

TEST(LatencyHistogramTest, ClockSkewAndHugeValuesAreCounted) {
  LatencyHistogram histogram;
  histogram.Add(-5);
  histogram.Add(INT64_MAX / 4);

  EXPECT_EQ(histogram.Summary().count, 2);
  EXPECT_EQ(histogram.Summary().p50_micros, 0);
}

TEST(LatencyHistogramTest, EmptyHistogramIsAllZero) {
  EXPECT_EQ(LatencyHistogram().Summary().p99_micros, 0);
}

}  // namespace
}  // namespace freshet::pipeline
