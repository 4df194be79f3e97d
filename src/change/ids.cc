#include "change/ids.h"

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

}  // namespace freshet::change
