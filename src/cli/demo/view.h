#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal.h"

namespace freshet::cli::demo {

/// One target as the live view shows it.
struct SinkView {
  std::string name;
  std::string kind;
  int64_t rows = 0;
  double rows_per_second = 0;
  double lag_seconds = 0;
  double p50_ms = 0;  ///< commit in PostgreSQL to visible in the target
  double p95_ms = 0;
  double p99_ms = 0;
};

/// What there is to see at one moment.
struct View {
  double elapsed_seconds = 0;
  double total_seconds = 0;
  std::string postgres_version;
  int64_t written_rows = 0;
  double written_per_second = 0;
  bool running = true;         ///< the pipeline's process lives
  std::string pipeline_state;  ///< of capture, "streaming"
  int64_t lag_bytes = 0;       ///< WAL received by no sink yet, the worst one's
  int restarts = 0;            ///< kills of the pipeline so far
  bool recovered = false;      ///< caught up since the last of them
  std::vector<SinkView> sinks;
};

/// The picture of `view`: a line each, without line feeds.
std::vector<std::string> Picture(const View& view, const Style& style);

/// `view` in one plain line.
std::string OneLine(const View& view);

/// Shows steps one below the other and, at the bottom, a picture that is drawn anew in its place.
///
/// On a terminal; elsewhere steps are plain lines, and the picture is one plain line now and then.
/// Threads: one.
class Screen {
 public:
  /// `terminal`: lines of `out` can be drawn anew. `out` outlives it.
  Screen(std::ostream& out, bool terminal, Style style);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// @name A line that stays
  /// @{
  void Step(std::string_view text) { Text("  " + style_.Green("✔") + " " + std::string(text)); }
  void Event(std::string_view text) { Text("  " + style_.Yellow("!") + " " + std::string(text)); }
  void Text(std::string_view text);
  /// @}

  /// What happens now, until the next step; on a terminal only.
  void Doing(std::string_view text);

  void Show(const View& view);

  /// Takes the picture away.
  void Clear();

  const Style& style() const { return style_; }

 private:
  void Draw(const std::vector<std::string>& lines);

  static constexpr double kSecondsBetweenLines = 2;

  std::ostream& out_;
  const bool terminal_;
  const Style style_;
  size_t drawn_lines_ = 0;
  double last_line_at_ = -kSecondsBetweenLines;
};

}  // namespace freshet::cli::demo
