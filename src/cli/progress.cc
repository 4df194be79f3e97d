#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace freshet::cli {
namespace {

constexpr int64_t kBarCells = 24;

std::string Bar(int64_t done, int64_t total) {
  const int64_t part = std::clamp<int64_t>(done, 0, total);
  const auto share = static_cast<double>(part) / static_cast<double>(total);
  const auto full = static_cast<size_t>(share * static_cast<double>(kBarCells));
  return fmt::format("[{}{}] {:3.0f} %", std::string(full, '#'),
                     std::string(static_cast<size_t>(kBarCells) - full, '-'), share * 100);
}

/// `line` cut to what one line of the terminal holds, so that redrawing does not scroll.
std::string Fit(std::string line) {
  const size_t width = TerminalWidth(STDERR_FILENO) - 1;
  while (DisplayWidth(line) > width) line.pop_back();
  return line;
}

}  // namespace

Progress::Progress(const Context& context, const Clock& clock) : context_(context), clock_(clock) {}

Progress::~Progress() { Finish(); }

void Progress::Update(const std::string& what, int64_t done, int64_t total,
                      const std::string& detail) {
  if (context_.output == Output::kJson) return;
  const MutexLock lock(mutex_);
  const auto now = clock_.Monotonic();
  const auto interval = context_.redraws_progress ? kRedrawInterval : kLineInterval;
  if (last_.has_value() && what == last_what_ && now - *last_ < interval) return;
  last_ = now;
  last_what_ = what;

  std::string line = what;
  if (total > 0) line += "  " + Bar(done, total);
  if (!detail.empty()) line += "  " + detail;
  if (context_.redraws_progress) {
    context_.err << "\r\x1b[K" << Fit(std::move(line)) << std::flush;
    line_is_open_ = true;
  } else {
    context_.err << line << std::endl;
  }
}

void Progress::Finish(const std::string& message) {
  const MutexLock lock(mutex_);
  Clear();
  if (!message.empty() && context_.output != Output::kJson) context_.err << message << std::endl;
}

void Progress::Clear() {
  if (line_is_open_) context_.err << "\r\x1b[K" << std::flush;
  line_is_open_ = false;
}

}  // namespace freshet::cli
