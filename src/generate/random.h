#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace freshet::generate {

/// A row's key as drawn by the generator: a version 4 UUID in two words.
struct Uuid {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const Uuid&) const = default;
};

/// "00112233-4455-4677-8899-aabbccddeeff".
std::string ToString(const Uuid& uuid);

/// Reads the form ToString() writes; anything else gives a wrong uuid, never a crash.
Uuid ParseUuid(std::string_view text);

/// Random numbers that are the same on every machine for the same seed, which the standard
/// library's distributions do not promise.
/// Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (xoshiro256**).
class Random {
 public:
  /// `stream` tells independent sequences of one seed apart.
  Random(uint64_t seed, uint64_t stream);

  uint64_t Next();

  /// 0 to bound - 1. `bound` > 0.
  uint64_t Below(uint64_t bound);

  /// low to high, both included.
  int64_t Between(int64_t low, int64_t high);

  /// True with probability `p`.
  bool Chance(double p);

  Uuid NextUuid();

  /// `size` letters and digits that no compressor makes much of.
  std::string Noise(size_t size);

  template <typename T, size_t kSize>
  const T& Pick(const std::array<T, kSize>& from) {
    return from[Below(kSize)];
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace freshet::generate
