#include "cli/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"
#include "cli/exit_code.h"

namespace freshet::cli {
namespace {

constexpr char kStop = 's';
constexpr char kHangup = 'h';

std::atomic<int> signals_seen{0};
int wake_pipe[2] = {-1, -1};

void Wake(char what) { [[maybe_unused]] const ssize_t written = write(wake_pipe[1], &what, 1); }

/// Only what is allowed in a signal handler: an atomic, write(), _exit().
void OnSignal(int) {
  if (signals_seen.fetch_add(1) > 0) _exit(static_cast<int>(ExitCode::kCancelled));
  Wake(kStop);
}

void OnHangupSignal(int) { Wake(kHangup); }

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  CHECK(sigaction(signal, &action, nullptr) == 0);
}

/// Turns the handlers' bytes into a stop request and calls of a function, which may do what a
/// handler must not.
class Waiter {
 public:
  Waiter() : had_terminal_(isatty(STDIN_FILENO) == 1) {
    CHECK(pipe2(wake_pipe, O_CLOEXEC) == 0);
    thread_ = std::jthread([this] { Serve(); });
    Handle(SIGINT, OnSignal);
    Handle(SIGTERM, OnSignal);
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

  /// The function for hangups; empty: none. Waits for a call under way.
  void SetReload(std::function<void()> reload) {
    const MutexLock lock(mutex_);
    reload_ = std::move(reload);
  }

 private:
  void Serve() {
    while (true) {
      char what = 0;
      const ssize_t got = read(wake_pipe[0], &what, 1);
      if (got == 0) return;
      if (got < 0) continue;  // interrupted
      const bool lost_terminal = had_terminal_ && isatty(STDIN_FILENO) == 0;
      if (what == kStop || lost_terminal) {
        source_.request_stop();
        continue;
      }
      const MutexLock lock(mutex_);
      if (reload_) reload_();
    }
  }

  const bool had_terminal_;
  std::stop_source source_;
  Mutex mutex_;
  std::function<void()> reload_ GUARDED_BY(mutex_);
  std::jthread thread_;
};

Waiter& TheWaiter() {
  static Waiter waiter;
  return waiter;
}

}  // namespace

std::stop_token StopOnSignals() { return TheWaiter().token(); }

OnHangup::OnHangup(std::function<void()> reload) {
  TheWaiter().SetReload(std::move(reload));
  Handle(SIGHUP, OnHangupSignal);
}

OnHangup::~OnHangup() {
  std::signal(SIGHUP, SIG_DFL);
  TheWaiter().SetReload({});
}

}  // namespace freshet::cli
