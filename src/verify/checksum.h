#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "verify/row.h"

namespace freshet::verify {

/// A 128-bit number, counted modulo 2^128: the hash of one row, or the sum of many.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;

  Hash128& operator+=(const Hash128& other);
  Hash128& operator-=(const Hash128& other);
  auto operator<=>(const Hash128&) const = default;
};

/// 32 lower-case hexadecimal digits.
std::string ToString(const Hash128& hash);

struct HashOfHash128 {
  size_t operator()(const Hash128& hash) const { return static_cast<size_t>(hash.low); }
};

/// XXH3-128 of `bytes`.
Hash128 HashOf(std::string_view bytes);

/// XXH3-128 over every value of `row`, lengths and nulls included.
Hash128 HashOfRow(const Row& row);

/// XXH3-128 over the values of `columns` of `row`.
Hash128 HashOfKey(const Row& row, const std::vector<int>& columns);

/// What a set of rows adds up to. Equal sets have equal contents in whatever order they are read;
/// sets that differ in one bit of one row have different ones, but for a chance of 2^-128.
struct Content {
  int64_t rows = 0;
  Hash128 sum;

  void Add(const Hash128& row_hash) {
    ++rows;
    sum += row_hash;
  }
  Content& operator+=(const Content& other);
  Content& operator-=(const Content& other);
  bool operator==(const Content&) const = default;
};

/// Contents of a table by hash of the key, so that a difference leads to a small part of the rows.
/// Size: kCount contents, 2 MiB, whatever the table.
class Buckets {
 public:
  static constexpr size_t kCount = size_t{1} << 16;

  Buckets() : contents_(kCount) {}

  static size_t IndexOf(const Hash128& key_hash) { return key_hash.high >> 48; }

  void Add(const Hash128& key_hash, const Hash128& row_hash) {
    contents_[IndexOf(key_hash)].Add(row_hash);
  }

  const Content& operator[](size_t index) const { return contents_[index]; }
  Content& operator[](size_t index) { return contents_[index]; }

  Content Total() const;

 private:
  std::vector<Content> contents_;
};

}  // namespace freshet::verify
