#include "cli/demo/view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/figures.h"

namespace freshet::cli::demo {
namespace {

/// A bar of `width` cells, `part` of it full.
std::string Bar(double part, int width) {
  const int full = static_cast<int>(std::clamp(part, 0.0, 1.0) * width + 0.5);
  std::string out;
  for (int i = 0; i < width; ++i) out += i < full ? "█" : "░";
  return out;
}

std::string Milliseconds(double ms) {
  if (ms <= 0) return "-";
  return ms < 1'000 ? fmt::format("{:.0f} ms", ms) : fmt::format("{:.1f} s", ms / 1'000);
}

std::string Rate(double per_second) { return fmt::format("{:.0f}/s", per_second); }

}  // namespace

std::vector<std::string> Picture(const View& view, const Style& style) {
  constexpr int kBarCells = 30;
  std::vector<std::string> lines;
  lines.push_back(fmt::format(
      "  {}  {:.0f} of {:.0f} s", Bar(view.elapsed_seconds / view.total_seconds, kBarCells),
      std::min(view.elapsed_seconds, view.total_seconds), view.total_seconds));
  lines.push_back("");
  lines.push_back(fmt::format("  {} {:<8} {:>10} rows by the application {:>8}",
                              style.Bold("PostgreSQL"), view.postgres_version,
                              Grouped(view.written_rows), Rate(view.written_per_second)));
  lines.push_back("    │");
  const std::string state = view.running ? style.Green(fmt::format("{:<9}", view.pipeline_state))
                                         : style.Red(fmt::format("{:<9}", "killed"));
  std::string freshet =
      fmt::format("  {}    {} {}", style.Bold("freshet"), state,
                  view.running ? "behind by " + HumanBytes(view.lag_bytes) : std::string());
  if (view.restarts > 0) {
    freshet += "   " + (view.recovered ? style.Green("kill -9 survived")
                                       : style.Yellow("kill -9, catching up"));
  }
  lines.push_back(freshet);
  // Narrower than 80 columns: what stands beyond the right edge is not seen.
  lines.push_back("    │" + style.Dim(fmt::format("{:>32} {:>9} {:>8} {:>8} {:>8}", "rows", "",
                                                  "p50", "p95", "p99")));
  for (size_t i = 0; i < view.sinks.size(); ++i) {
    const SinkView& sink = view.sinks[i];
    lines.push_back(fmt::format("    {} {:<10} {:<7} {:>10} {:>9} {:>8} {:>8} {:>8}",
                                i + 1 == view.sinks.size() ? "└──" : "├──", sink.name, sink.kind,
                                Grouped(sink.rows), Rate(sink.rows_per_second),
                                Milliseconds(sink.p50_ms), Milliseconds(sink.p95_ms),
                                Milliseconds(sink.p99_ms)));
  }
  lines.push_back(style.Dim("    p50, p95, p99: from the commit to visible in the target"));
  return lines;
}

std::string OneLine(const View& view) {
  std::string line =
      fmt::format("{:>5.0f} s  written {} rows ({})  pipeline {}", view.elapsed_seconds,
                  Grouped(view.written_rows), Rate(view.written_per_second),
                  view.running ? view.pipeline_state : std::string("killed"));
  for (const SinkView& sink : view.sinks) {
    line += fmt::format("  {} {} rows, lag {:.1f} s, p99 {}", sink.name, Grouped(sink.rows),
                        sink.lag_seconds, Milliseconds(sink.p99_ms));
  }
  return line;
}

Screen::Screen(std::ostream& out, bool terminal, Style style)
    : out_(out), terminal_(terminal), style_(style) {
  if (terminal_) out_ << "\033[?25l";  // no cursor
}

Screen::~Screen() {
  if (!terminal_) return;
  Clear();
  out_ << "\033[?25h" << std::flush;
}

void Screen::Text(std::string_view text) {
  Clear();
  out_ << text << std::endl;
}

void Screen::Doing(std::string_view text) {
  if (terminal_) Draw({fmt::format("  {} {} ...", style_.Dim("·"), text)});
}

void Screen::Show(const View& view) {
  if (terminal_) return Draw(Picture(view, style_));
  if (view.elapsed_seconds - last_line_at_ < kSecondsBetweenLines) return;
  last_line_at_ = view.elapsed_seconds;
  out_ << OneLine(view) << std::endl;
}

void Screen::Clear() {
  if (drawn_lines_ == 0) return;
  out_ << fmt::format("\033[{}A\r\033[J", drawn_lines_) << std::flush;
  drawn_lines_ = 0;
}

void Screen::Draw(const std::vector<std::string>& lines) {
  // Lines are cut at the right edge (?7l): a wrapped one would be two to go up.
  std::string text = "\033[?7l";
  if (drawn_lines_ > 0) text += fmt::format("\033[{}A\r", drawn_lines_);
  for (const std::string& line : lines) text += line + "\033[K\n";
  text += "\033[J\033[?7h";
  out_ << text << std::flush;
  drawn_lines_ = lines.size();
}

}  // namespace freshet::cli::demo
