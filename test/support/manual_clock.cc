#include "support/manual_clock.h"

namespace freshet::test {

UnixMicros ManualClock::Now() const {
  const std::lock_guard lock(mutex_);
  return start_ + std::chrono::duration_cast<std::chrono::microseconds>(elapsed_).count();
}

std::chrono::nanoseconds ManualClock::Monotonic() const {
  const std::lock_guard lock(mutex_);
  return elapsed_;
}

bool ManualClock::WaitFor(std::chrono::nanoseconds duration, std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  const auto until = elapsed_ + duration;
  moved_.wait(lock, stop, [&] { return elapsed_ >= until; });
  return !stop.stop_requested();
}

void ManualClock::Advance(std::chrono::nanoseconds by) {
  {
    const std::lock_guard lock(mutex_);
    elapsed_ += by;
  }
  moved_.notify_all();
}

}  // namespace freshet::test
