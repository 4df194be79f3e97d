#include "verify/checksum.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace freshet::verify {

Hash128& Hash128::operator+=(const Hash128& other) {
  const uint64_t old_low = low;
  low += other.low;
  high += other.high + (low < old_low ? 1 : 0);
  return *this;
}

Hash128& Hash128::operator-=(const Hash128& other) {
  const uint64_t borrow = low < other.low ? 1 : 0;
  low -= other.low;
  high -= other.high + borrow;
  return *this;
}

std::string ToString(const Hash128& hash) {
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

Hash128 HashOf(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = hash.high64, .low = hash.low64};
}

Hash128 HashOfRow(const Row& row) { return HashOf(row.bytes()); }

Hash128 HashOfKey(const Row& row, const std::vector<int>& columns) {
  Row key;
  for (const int column : columns) {
    const auto index = static_cast<size_t>(column);
    if (row.is_null(index)) {
      key.AddNull();
    } else {
      key.AddText(row.text(index));
    }
  }
  return HashOfRow(key);
}

Content& Content::operator+=(const Content& other) {
  rows += other.rows;
  sum += other.sum;
  return *this;
}

Content& Content::operator-=(const Content& other) {
  rows -= other.rows;
  sum -= other.sum;
  return *this;
}

Content Buckets::Total() const {
  Content total;
  for (const Content& content : contents_) total += content;
  return total;
}

}  // namespace freshet::verify
