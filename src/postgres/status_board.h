#pragma once

#include <string>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "postgres/capture.h"

namespace freshet::postgres {

/// The figures of a capture: written by its thread, read by any.
class StatusBoard {
 public:
  explicit StatusBoard(const Clock& clock) : clock_(clock) {}

  CaptureStatus Read() const {
    const MutexLock lock(mutex_);
    return status_;
  }

  /// Calls `change(CaptureStatus&)`. Short: readers wait.
  template <typename Change>
  void Update(Change&& change) {
    const MutexLock lock(mutex_);
    change(status_);
  }

  /// Enters a state. `since` is kept when only the reason is new.
  void Enter(CaptureState state, std::string reason = "") {
    Update([&](CaptureStatus& status) {
      if (status.state != state) status.since = clock_.Now();
      status.state = state;
      status.reason = std::move(reason);
    });
  }

 private:
  const Clock& clock_;
  mutable Mutex mutex_;
  CaptureStatus status_ GUARDED_BY(mutex_);
};

}  // namespace freshet::postgres
