#include "verify/row.h"

#include <cstring>

#include "base/check.h"

namespace freshet::verify {
namespace {

constexpr uint64_t kNullLength = UINT64_MAX;
constexpr size_t kLengthBytes = sizeof(uint64_t);

}  // namespace

void Row::AddNull() {
  bytes_.append(reinterpret_cast<const char*>(&kNullLength), kLengthBytes);
  values_.push_back({.begin = bytes_.size(), .size = 0, .is_null = true});
}

void Row::AddText(std::string_view text) {
  BeginText().append(text);
  EndText();
}

std::string& Row::BeginText() {
  bytes_.append(kLengthBytes, '\0');
  values_.push_back({.begin = bytes_.size(), .size = 0, .is_null = false});
  return bytes_;
}

void Row::EndText() {
  CHECK(!values_.empty());
  Value& value = values_.back();
  value.size = bytes_.size() - value.begin;
  const uint64_t length = value.size;
  std::memcpy(bytes_.data() + value.begin - kLengthBytes, &length, kLengthBytes);
}

}  // namespace freshet::verify
