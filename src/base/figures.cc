#include "base/figures.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace freshet {

std::string Grouped(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string HumanBytes(int64_t bytes) {
  static constexpr std::array<std::string_view, 6> kUnits = {"B",   "KiB", "MiB",
                                                             "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string HumanDuration(int64_t micros) {
  constexpr int64_t kSecond = 1'000'000;
  if (micros < 1'000) return fmt::format("{} us", micros);
  if (micros < kSecond / 10) return fmt::format("{:.1f} ms", static_cast<double>(micros) / 1e3);
  if (micros < kSecond) return fmt::format("{} ms", micros / 1'000);
  if (micros < 60 * kSecond) return fmt::format("{:.1f} s", static_cast<double>(micros) / 1e6);
  const int64_t seconds = micros / kSecond;
  if (seconds < 3'600) return fmt::format("{} m {:02} s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{} h {:02} m", seconds / 3'600, seconds / 60 % 60);
  return fmt::format("{} d {:02} h", seconds / 86'400, seconds / 3'600 % 24);
}

}  // namespace freshet
