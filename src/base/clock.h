#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace freshet {

/// Microseconds since 1970-01-01 00:00:00 UTC.
using UnixMicros = int64_t;

/// Time as freshet sees it, so that tests can turn it by hand (test/support/manual_clock.h).
class Clock {
 public:
  virtual ~Clock() = default;

  /// Wall time.
  virtual UnixMicros Now() const = 0;

  /// A clock that never goes back, for durations.
  virtual std::chrono::nanoseconds Monotonic() const = 0;

  /// Waits for `duration`. Returns false at once when `stop` is requested.
  virtual bool WaitFor(std::chrono::nanoseconds duration, std::stop_token stop) const = 0;
};

/// The machine's own clock. One instance serves the whole process; it has no state.
const Clock& SystemClock();

}  // namespace freshet
