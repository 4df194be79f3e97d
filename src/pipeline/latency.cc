#include "pipeline/latency.h"

#include <algorithm>
#include <bit>

namespace freshet::pipeline {

size_t LatencyHistogram::BucketOf(uint64_t micros) {
  constexpr uint64_t kSub = uint64_t{1} << kSubBits;
  if (micros < kSub) return micros;
  const int shift = static_cast<int>(std::bit_width(micros)) - 1 - kSubBits;
  return (static_cast<size_t>(shift + 1) << kSubBits) + ((micros >> shift) & (kSub - 1));
}

int64_t LatencyHistogram::UpperBound(size_t bucket) {
  constexpr size_t kSub = size_t{1} << kSubBits;
  if (bucket < kSub) return static_cast<int64_t>(bucket);
  const auto shift = (bucket >> kSubBits) - 1;
  const uint64_t low = (kSub + (bucket & (kSub - 1))) << shift;
  return static_cast<int64_t>(low + (uint64_t{1} << shift) - 1);
}

void LatencyHistogram::Add(int64_t micros, int64_t count) {
  const int64_t value = std::max<int64_t>(micros, 0);
  const MutexLock lock(mutex_);
  buckets_[BucketOf(static_cast<uint64_t>(value))] += count;
  count_ += count;
  sum_ += value * count;
  max_ = std::max(max_, value);
}

int64_t LatencyHistogram::Quantile(double q) const {
  const auto wanted = static_cast<int64_t>(q * static_cast<double>(count_) + 0.999999);
  int64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted && seen > 0) return std::min(UpperBound(i), max_);
  }
  return max_;
}

LatencySummary LatencyHistogram::Summary() const {
  const MutexLock lock(mutex_);
  LatencySummary out{.count = count_,
                     .sum_micros = sum_,
                     .p50_micros = Quantile(0.50),
                     .p95_micros = Quantile(0.95),
                     .p99_micros = Quantile(0.99),
                     .max_micros = max_,
                     .cumulative = {}};
  size_t bucket = 0;
  int64_t seen = 0;
  for (const int64_t bound : kMetricBoundsMicros) {
    while (bucket < kBuckets && UpperBound(bucket) <= bound) seen += buckets_[bucket++];
    out.cumulative.push_back(seen);
  }
  return out;
}

}  // namespace freshet::pipeline
