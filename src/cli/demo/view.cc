#include "cli/demo/view.h"

#include <fmt/format.h>

#include <algorithm>

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
  return ms < 1'000 ? fmt::format("{:.0f} ms", ms) : fmt::format("{:.1f} s", ms / 1'000);
}

}  // namespace

std::vector<std::string> Picture(const View& view, const Style& style) {
  constexpr int kBarCells = 30;
  std::vector<std::string> lines;
  lines.push_back(fmt::format(
      "  {}  {:.0f} of {:.0f} s", Bar(view.elapsed_seconds / view.total_seconds, kBarCells),
      std::min(view.elapsed_seconds, view.total_seconds), view.total_seconds));
  lines.push_back("");
  lines.push_back(fmt::format("  {} {:<14} {:>12} rows by the application {:>6.0f}/s",
                              style.Bold("PostgreSQL"), view.postgres_version,
                              Grouped(view.written_rows), view.written_per_second));
  lines.push_back("    │");
  const std::string state = view.running ? style.Green(fmt::format("{:<16}", view.pipeline_state))
                                         : style.Red(fmt::format("{:<16}", "killed"));
  std::string freshet = fmt::format("  {}    {} behind by {}", style.Bold("freshet"), state,
                                    view.running ? HumanBytes(view.lag_bytes) : std::string("?"));
  if (view.restarts > 0) freshet += style.Yellow("   kill -9 survived");
  lines.push_back(freshet);
  for (size_t i = 0; i < view.sinks.size(); ++i) {
    const SinkView& sink = view.sinks[i];
    lines.push_back(fmt::format(
        "    {} {:<10} {:<8} {:>10} rows {:>8.0f}/s   visible after p50 {:>7} p95 {:>7} p99 {:>7}",
        i + 1 == view.sinks.size() ? "└──" : "├──", sink.name, sink.kind, Grouped(sink.rows),
        sink.rows_per_second, Milliseconds(sink.p50_ms), Milliseconds(sink.p95_ms),
        Milliseconds(sink.p99_ms)));
  }
  return lines;
}

std::string OneLine(const View& view) {
  std::string line = fmt::format("{:>5.0f} s  written {} rows ({:.0f}/s)  pipeline {}",
                                 view.elapsed_seconds, view.written_rows, view.written_per_second,
                                 view.running ? view.pipeline_state : std::string("killed"));
  for (const SinkView& sink : view.sinks) {
    line += fmt::format("  {} {} rows, lag {:.1f} s, p99 {}", sink.name, sink.rows,
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
