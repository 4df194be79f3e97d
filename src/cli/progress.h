#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "cli/context.h"

namespace freshet::cli {

/// Shows how far long work is, on standard error: one line redrawn on a terminal, and a plain line
/// now and then where it is a pipe or a file, none for what is over before. Nothing under
/// `--output json`.
///
///   snapshot  [############--------]  61 %  1.2 M of 2 M rows  210 k rows/s
///
/// Lines of logging, which go to the same terminal, are written above it. One at a time in a
/// process. Threads: any.
class Progress {
 public:
  /// A terminal is redrawn at most this often; a pipe gets a line at most that often.
  static constexpr std::chrono::milliseconds kRedrawInterval{100};
  static constexpr std::chrono::milliseconds kLineInterval{5'000};

  /// `clock` outlives it.
  Progress(const Context& context, const Clock& clock);

  /// Leaves no half line behind.
  ~Progress();

  /// `done` of `total`, in whatever unit; a total of 0 or less is unknown and shows no bar.
  /// `detail` stands behind it. Cheap to call often: most calls draw nothing.
  void Update(const std::string& what, int64_t done, int64_t total, const std::string& detail);

  /// Removes the line (terminal) and prints `message`, if any.
  void Finish(const std::string& message = {});

 private:
  void Draw() REQUIRES(mutex_);
  void Clear() REQUIRES(mutex_);

  const Context& context_;
  const Clock& clock_;
  const bool draws_;
  Mutex mutex_;
  std::string line_ GUARDED_BY(mutex_);  ///< as drawn last, uncut
  std::optional<std::chrono::nanoseconds> last_ GUARDED_BY(mutex_);
  std::string last_what_ GUARDED_BY(mutex_);
  bool line_is_open_ GUARDED_BY(mutex_) = false;
};

}  // namespace freshet::cli
