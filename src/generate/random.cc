#include "generate/random.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"

namespace freshet::generate {
namespace {

/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (SplitMix64).
uint64_t SplitMix(uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

uint64_t HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint64_t>(c - '0');
  return static_cast<uint64_t>((c | 0x20) - 'a' + 10) & 15;
}

}  // namespace

std::string ToString(const Uuid& uuid) {
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", uuid.high >> 32,
                     (uuid.high >> 16) & 0xFFFF, uuid.high & 0xFFFF, uuid.low >> 48,
                     uuid.low & 0xFFFF'FFFF'FFFF);
}

Uuid ParseUuid(std::string_view text) {
  Uuid uuid;
  for (const char c : text) {
    if (c == '-') continue;
    uuid.high = (uuid.high << 4) | (uuid.low >> 60);
    uuid.low = (uuid.low << 4) | HexDigit(c);
  }
  return uuid;
}

Random::Random(uint64_t seed, uint64_t stream) {
  uint64_t mixed_stream = stream;
  uint64_t state = seed ^ SplitMix(mixed_stream);
  for (uint64_t& word : state_) word = SplitMix(state);
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t bound) {
  CHECK(bound > 0);
  // The bias of the remainder is below 2^-40 for all bounds in use, and of no matter here.
  return Next() % bound;
}

int64_t Random::Between(int64_t low, int64_t high) {
  CHECK(low <= high);
  return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
}

bool Random::Chance(double p) {
  constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
  return static_cast<double>(Next() >> 11) * kUnit < p;
}

Uuid Random::NextUuid() {
  Uuid uuid{.high = Next(), .low = Next()};
  uuid.high = (uuid.high & ~uint64_t{0xF000}) | 0x4000;
  uuid.low = (uuid.low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  return uuid;
}

std::string Random::Noise(size_t size) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  static_assert(kLetters.size() == 64);
  std::string out;
  out.reserve(size);
  while (out.size() < size) {
    uint64_t bits = Next();
    for (int i = 0; i < 10 && out.size() < size; ++i, bits >>= 6)
      out.push_back(kLetters[bits & 63]);
  }
  return out;
}

}  // namespace freshet::generate
