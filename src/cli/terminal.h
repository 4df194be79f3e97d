#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace freshet::cli {

/// Whether a stream is a terminal, and so whether to colour and redraw.
bool IsTerminal(int descriptor);

/// Colours, where they are wanted: on a terminal, unless NO_COLOR is set or TERM is "dumb".
class Style {
 public:
  /// No colours.
  Style() = default;

  static Style For(int descriptor);

  std::string Bold(std::string_view text) const { return Wrap("1", text); }
  std::string Dim(std::string_view text) const { return Wrap("2", text); }
  std::string Red(std::string_view text) const { return Wrap("31", text); }
  std::string Green(std::string_view text) const { return Wrap("32", text); }
  std::string Yellow(std::string_view text) const { return Wrap("33", text); }

 private:
  std::string Wrap(std::string_view code, std::string_view text) const;

  bool colored_ = false;
};

/// Columns that `text` takes on a terminal: code points, colours not counted, East Asian wide ones
/// counted twice.
size_t DisplayWidth(std::string_view text);

/// Columns of the terminal, 80 where it does not say.
size_t TerminalWidth(int descriptor);

}  // namespace freshet::cli
