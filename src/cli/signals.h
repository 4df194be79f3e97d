#pragma once

#include <functional>
#include <stop_token>
#include <thread>

namespace freshet::cli {

/// From the first call on, SIGINT and SIGTERM request a stop; a second one ends the process at once
/// with exit code 130. Nothing acknowledged is lost by that: it is what a crash is.
///
/// A command that calls it not is ended by the first signal, as is usual. Handlers belong to the
/// process, hence the one function.
std::stop_token StopOnSignals();

/// Calls `reload` at each SIGHUP, from a thread of its own, until the object goes. When the SIGHUP
/// says that the process lost the terminal it was started from, it requests the stop of
/// StopOnSignals() instead. A stop does not wait for `reload`; the destructor does. One at a time.
class OnHangup {
 public:
  explicit OnHangup(std::function<void()> reload);
  ~OnHangup();
  OnHangup(const OnHangup&) = delete;
  OnHangup& operator=(const OnHangup&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace freshet::cli
