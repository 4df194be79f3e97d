#include "change/ids.h"

#include <algorithm>
#include <charconv>

namespace freshet::change {
namespace {

bool ParseHexWord(std::string_view text, uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc() && end == text.data() + text.size() && text.size() <= 8;
}

}  // namespace

std::string ToString(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value >> 32, lsn.value & 0xFFFF'FFFFU);
}

Result<Lsn> ParseLsn(std::string_view text) {
  const size_t slash = text.find('/');
  uint32_t high = 0;
  uint32_t low = 0;
  if (slash == std::string_view::npos || !ParseHexWord(text.substr(0, slash), high) ||
      !ParseHexWord(text.substr(slash + 1), low)) {
    return Fail(ErrorKind::kMalformed, "'{}' is not an LSN of the form 16/B374D848", text);
  }
  return Lsn{uint64_t{high} << 32 | low};
}

std::string ToString(const Position& position) {
  if (position.ordinal == 0) return ToString(position.commit_end);
  return fmt::format("{}+{}", ToString(position.commit_end), position.ordinal);
}

Result<Position> ParsePosition(std::string_view text) {
  const size_t plus = std::min(text.find('+'), text.size());
  FRESHET_TRY(const Lsn commit_end, ParseLsn(text.substr(0, plus)));
  Position position{.commit_end = commit_end, .ordinal = 0};
  if (plus == text.size()) return position;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data() + plus + 1, last, position.ordinal);
  if (error != std::errc() || end != last || position.ordinal < 0) {
    return Fail(ErrorKind::kMalformed, "'{}' is not a position of the form 16/B374D848+17", text);
  }
  return position;
}

}  // namespace freshet::change
