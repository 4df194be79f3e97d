#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/mutex.h"

namespace freshet::pipeline {

/// A reading of a LatencyHistogram.
struct LatencySummary {
  int64_t count = 0;
  int64_t sum_micros = 0;
  int64_t p50_micros = 0;
  int64_t p95_micros = 0;
  int64_t p99_micros = 0;
  int64_t max_micros = 0;

  /// Cumulative counts for metrics: values at or below each of kMetricBoundsMicros.
  std::vector<int64_t> cumulative;
};

/// Upper bounds of the buckets that metrics show, in microseconds.
inline constexpr std::array<int64_t, 14> kMetricBoundsMicros = {
    1'000,   2'500,   5'000,     10'000,    25'000,     50'000,     100'000,
    250'000, 500'000, 1'000'000, 2'500'000, 10'000'000, 60'000'000, 600'000'000};

/// Counts durations in buckets 1/16 of a power of two wide, so a quantile is off by 6 % at most.
///
/// Memory is fixed. Threads: any.
class LatencyHistogram {
 public:
  /// Adds `count` observations of `micros`; below zero (clocks differ) counts as zero.
  void Add(int64_t micros, int64_t count = 1);

  LatencySummary Summary() const;

 private:
  static constexpr int kSubBits = 4;
  static constexpr size_t kBuckets = size_t{64 - kSubBits} << kSubBits;

  static size_t BucketOf(uint64_t micros);
  static int64_t UpperBound(size_t bucket);
  int64_t Quantile(double q) const REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::array<int64_t, kBuckets> buckets_ GUARDED_BY(mutex_){};
  int64_t count_ GUARDED_BY(mutex_) = 0;
  int64_t sum_ GUARDED_BY(mutex_) = 0;
  int64_t max_ GUARDED_BY(mutex_) = 0;
};

}  // namespace freshet::pipeline
