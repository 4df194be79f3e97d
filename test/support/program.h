#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/temporary_folder.h"

namespace freshet::test {

/// How a program is started.
struct ProgramOptions {
  std::vector<std::string> arguments;    ///< the first is the program's path
  std::vector<std::string> environment;  ///< "NAME=value", beside ours

  /// Where we are root: takes the child's right to pass over the modes of files, so that folders
  /// which it may not write are that for it too.
  bool obeys_file_modes = false;
};

/// A program run as a child, its two outputs in files. It dies with this object, and with the
/// thread that started it.
class Program {
 public:
  static std::unique_ptr<Program> Start(const ProgramOptions& options);

  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  bool Running() { return !WaitExit(std::chrono::milliseconds(0)).has_value(); }
  void Signal(int signal) const;

  /// The exit code, or 128 + the signal that ended it; none when it still runs after `timeout`.
  std::optional<int> WaitExit(std::chrono::milliseconds timeout = std::chrono::minutes(1));

  std::string out() const { return ReadText(outputs_ / "out"); }
  std::string err() const { return ReadText(outputs_ / "err"); }

  /// The lines of err() that are the program's last word: "freshet: ..." and what follows it.
  std::string message() const;

 private:
  Program() = default;

  TemporaryFolder outputs_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

/// Waits until `condition()` holds, looking every few milliseconds. False when `timeout` passed
/// first.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds timeout = std::chrono::minutes(1));

}  // namespace freshet::test
