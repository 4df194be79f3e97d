#include "verify/canonical.h"

#include <charconv>
#include <cmath>
#include <system_error>

namespace freshet::verify {
namespace {

using change::LogicalKind;

template <typename Float>
void AppendFloat(std::string_view text, std::string& out) {
  Float value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || std::isnan(value)) {
    out.append(text);
    return;
  }
  char buffer[64];
  const auto printed = std::to_chars(buffer, buffer + sizeof(buffer), value);
  out.append(buffer, printed.ptr);
}

bool IsFloat(LogicalKind kind) {
  return kind == LogicalKind::kFloat32 || kind == LogicalKind::kFloat64;
}

void AppendFloatOf(LogicalKind kind, std::string_view text, std::string& out) {
  if (kind == LogicalKind::kFloat32) {
    AppendFloat<float>(text, out);
  } else {
    AppendFloat<double>(text, out);
  }
}

}  // namespace

void AppendCanonical(const change::LogicalType& type, std::string_view text, std::string& out) {
  if (IsFloat(type.kind)) {
    AppendFloatOf(type.kind, text, out);
    return;
  }
  if (type.kind != LogicalKind::kList || !IsFloat(type.element)) {
    out.append(text);
    return;
  }
  // Floats are never quoted in an array, so what lies between its marks is an element.
  constexpr std::string_view kMarks = "{},[]:=";
  while (!text.empty()) {
    const size_t size = std::min(text.find_first_of(kMarks), text.size());
    if (size == 0) {
      out.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    AppendFloatOf(type.element, text.substr(0, size), out);
    text.remove_prefix(size);
  }
}

}  // namespace freshet::verify
