#include "cli/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/check.h"
#include "cli/exit_code.h"

namespace freshet::cli {
namespace {

std::atomic<int> signals_seen{0};
int wake_pipe[2] = {-1, -1};

/// Only what is allowed in a signal handler: an atomic, write(), _exit().
void OnSignal(int) {
  if (signals_seen.fetch_add(1) > 0) _exit(static_cast<int>(ExitCode::kCancelled));
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(wake_pipe[1], &byte, 1);
}

/// Turns the handler's byte into a stop request; a stop callback may do what a handler must not.
class Waiter {
 public:
  Waiter() {
    CHECK(pipe2(wake_pipe, O_CLOEXEC) == 0);
    thread_ = std::jthread([this] {
      std::array<char, 1> byte{};
      while (read(wake_pipe[0], byte.data(), byte.size()) < 0) {
      }
      source_.request_stop();
    });
    struct sigaction action {};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGINT, &action, nullptr) == 0);
    CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
  }

  /// Closing the pipe's other end is what ends the thread.
  ~Waiter() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    close(wake_pipe[1]);
    thread_.join();
    close(wake_pipe[0]);
  }

  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread thread_;
};

}  // namespace

std::stop_token StopOnSignals() {
  static const Waiter waiter;
  return waiter.token();
}

}  // namespace freshet::cli
