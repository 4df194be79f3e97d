#pragma once

#include <condition_variable>
#include <mutex>

#include "base/clock.h"

namespace freshet::test {

/// A clock that moves only when told to. Waiters wake when it passes their time. Threads: any.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UnixMicros start = 1'700'000'000'000'000) : start_(start) {}

  UnixMicros Now() const override;
  std::chrono::nanoseconds Monotonic() const override;
  bool WaitFor(std::chrono::nanoseconds duration, std::stop_token stop) const override;

  /// Moves on, and wakes whoever waited for less.
  void Advance(std::chrono::nanoseconds by);

 private:
  const UnixMicros start_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any moved_;
  std::chrono::nanoseconds elapsed_{0};
};

}  // namespace freshet::test
