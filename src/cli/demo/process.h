#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace freshet::cli::demo {

/// Who a program runs as.
struct User {
  uid_t user = 0;
  gid_t group = 0;
};

/// How a program is started.
struct ProcessOptions {
  std::vector<std::string> arguments;  ///< the first is the program's path
  std::string output;                  ///< file that takes its output, appended to
  std::optional<User> user;            ///< other than ours; needs root
  int death_signal = 0;  ///< what the system sends it when we die, in whatever way; 0: it lives on
};

/// A program we started.
///
/// Lifetime: with a death signal the program dies with the *thread* that started it, so start it
/// from the main one. The destructor leaves it running. Threads: one.
class Process {
 public:
  /// Errors: kIo.
  static Result<Process> Start(const ProcessOptions& options);

  pid_t pid() const { return pid_; }

  /// False once it has ended; the first call that sees the end reaps it.
  bool Running();

  /// Sends a signal, if it still runs.
  void Signal(int signal);

  /// Waits until it has ended. False when `timeout` passed first.
  bool WaitEnded(std::chrono::nanoseconds timeout);

  /// The exit code, or 128 + the signal that ended it. Call after the end.
  int exit_code() const { return exit_code_; }

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_;
  bool ended_ = false;
  int exit_code_ = 0;
};

/// A process of this machine as its command line shows it.
struct FoundProcess {
  pid_t pid = 0;
  pid_t parent = 0;
  std::vector<std::string> arguments;
};

/// Running processes with an argument that begins with `prefix`, such as a folder that nobody else
/// uses.
std::vector<FoundProcess> FindProcesses(std::string_view prefix);

/// The path of this program.
std::string OwnProgram();

/// What to type at a shell to call this program: its name where the PATH finds it, else its path.
std::string CommandName();

/// A TCP port that is free now on 127.0.0.1; another may take it before we do.
Result<int> FreePort();

/// The last `bytes` of a text file, whole lines; empty when there is none.
std::string Tail(const std::string& path, size_t bytes);

}  // namespace freshet::cli::demo
