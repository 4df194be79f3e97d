#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/logging_guard.h"

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
  const auto is_inside_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
  };
  while (DisplayWidth(line) > width) {
    while (is_inside_character(line.back())) line.pop_back();
    line.pop_back();
  }
  return line;
}

}  // namespace

Progress::Progress(const Context& context, const Clock& clock)
    : context_(context),
      clock_(clock),
      draws_(context.redraws_progress && context.output != Output::kJson) {
  if (!draws_) return;
  logging::SetGuard([this](const std::function<void()>& write) {
    const MutexLock lock(mutex_);
    const bool was_open = line_is_open_;
    Clear();
    write();
    if (was_open) Draw();
  });
}

Progress::~Progress() {
  if (draws_) logging::SetGuard({});
  Finish();
}

void Progress::Update(const std::string& what, int64_t done, int64_t total,
                      const std::string& detail) {
  if (context_.output == Output::kJson) return;
  const MutexLock lock(mutex_);
  const auto now = clock_.Monotonic();
  if (!last_.has_value() && !draws_) last_ = now;  // what is over soon needs no line in a file
  const bool is_new = !last_.has_value() || (draws_ && what != last_what_);
  if (!is_new && now - *last_ < (draws_ ? kRedrawInterval : kLineInterval)) return;
  last_ = now;
  last_what_ = what;

  std::string line = what;
  if (total > 0) line += "  " + Bar(done, total);
  if (!detail.empty()) line += "  " + detail;
  if (draws_) {
    line_ = std::move(line);
    Draw();
  } else {
    context_.err << line << std::endl;
  }
}

void Progress::Finish(const std::string& message) {
  const MutexLock lock(mutex_);
  Clear();
  if (!message.empty() && context_.output != Output::kJson) context_.err << message << std::endl;
}

void Progress::Draw() {
  context_.err << "\r\x1b[K" << Fit(line_) << std::flush;
  line_is_open_ = true;
}

void Progress::Clear() {
  if (line_is_open_) context_.err << "\r\x1b[K" << std::flush;
  line_is_open_ = false;
}

}  // namespace freshet::cli
