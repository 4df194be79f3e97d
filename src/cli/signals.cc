#include "cli/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

#include "base/check.h"
#include "cli/exit_code.h"

namespace freshet::cli {
namespace {

std::atomic<int> signals_seen{0};
int stop_pipe[2] = {-1, -1};
int hangup_pipe[2] = {-1, -1};

void Wake(const int (&pipe)[2]) {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(pipe[1], &byte, 1);
}

/// Only what is allowed in a signal handler: an atomic, write(), _exit().
void OnStopSignal(int) {
  if (signals_seen.fetch_add(1) > 0) _exit(static_cast<int>(ExitCode::kCancelled));
  Wake(stop_pipe);
}

void OnHangupSignal(int) { Wake(hangup_pipe); }

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  CHECK(sigaction(signal, &action, nullptr) == 0);
}

/// Calls `act` for each byte, until the pipe's other end is closed.
void ForEachByte(const int (&pipe)[2], const std::function<void()>& act) {
  while (true) {
    char byte = 0;
    const ssize_t got = read(pipe[0], &byte, 1);
    if (got == 0) return;
    if (got > 0) act();  // else interrupted
  }
}

/// Turns the handler's bytes into a stop request; a stop callback may do what a handler must not.
class Waiter {
 public:
  Waiter() {
    CHECK(pipe2(stop_pipe, O_CLOEXEC) == 0);
    thread_ = std::jthread([this] { ForEachByte(stop_pipe, [this] { source_.request_stop(); }); });
    Handle(SIGINT, OnStopSignal);
    Handle(SIGTERM, OnStopSignal);
  }

  /// Closing the pipe's other end is what ends the thread.
  ~Waiter() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    close(stop_pipe[1]);
    thread_.join();
    close(stop_pipe[0]);
  }

  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  void RequestStop() { source_.request_stop(); }

 private:
  std::stop_source source_;
  std::jthread thread_;
};

Waiter& TheWaiter() {
  static Waiter waiter;
  return waiter;
}

}  // namespace

std::stop_token StopOnSignals() { return TheWaiter().token(); }

OnHangup::OnHangup(std::function<void()> reload) {
  Waiter& waiter = TheWaiter();
  const bool had_terminal = isatty(STDIN_FILENO) == 1;
  CHECK(pipe2(hangup_pipe, O_CLOEXEC) == 0);
  thread_ = std::jthread([&waiter, had_terminal, reload = std::move(reload)] {
    ForEachByte(hangup_pipe, [&] {
      const bool lost_terminal = had_terminal && isatty(STDIN_FILENO) == 0;
      if (lost_terminal) {
        waiter.RequestStop();
      } else {
        reload();
      }
    });
  });
  Handle(SIGHUP, OnHangupSignal);
}

OnHangup::~OnHangup() {
  std::signal(SIGHUP, SIG_DFL);
  close(hangup_pipe[1]);
  thread_.join();
  close(hangup_pipe[0]);
}

}  // namespace freshet::cli
