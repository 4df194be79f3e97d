#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace freshet {

/// Reads big-endian (network order) fields off a span of bytes, front to back.
///
/// A read past the end yields zero or an empty view and marks the reader failed; a parser reads all
/// its fields first and asks ok() or Finished() once. Views point into the span given.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  uint8_t ReadU8() { return ReadInteger<uint8_t>(); }
  uint16_t ReadU16() { return ReadInteger<uint16_t>(); }
  uint32_t ReadU32() { return ReadInteger<uint32_t>(); }
  uint64_t ReadU64() { return ReadInteger<uint64_t>(); }
  int16_t ReadI16() { return static_cast<int16_t>(ReadU16()); }
  int32_t ReadI32() { return static_cast<int32_t>(ReadU32()); }
  int64_t ReadI64() { return static_cast<int64_t>(ReadU64()); }

  /// The next `size` bytes.
  std::span<const std::byte> ReadBytes(size_t size) {
    if (size > remaining()) {
      Fail();
      return {};
    }
    const std::span<const std::byte> out(at_, size);
    at_ += size;
    return out;
  }

  /// Text up to a zero byte, which is consumed and not part of the result.
  std::string_view ReadCString() {
    const void* zero = at_ == end_ ? nullptr : std::memchr(at_, 0, remaining());
    if (zero == nullptr) {
      Fail();
      return {};
    }
    const auto* stop = static_cast<const std::byte*>(zero);
    const std::string_view out(reinterpret_cast<const char*>(at_), static_cast<size_t>(stop - at_));
    at_ = stop + 1;
    return out;
  }

  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  const std::byte* position() const { return at_; }

  /// No read went past the end so far.
  bool ok() const { return !failed_; }

  /// Everything was read, and nothing past the end.
  bool Finished() const { return !failed_ && at_ == end_; }

 private:
  template <typename T>
  T ReadInteger() {
    if (sizeof(T) > remaining()) {
      Fail();
      return 0;
    }
    T value;
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    if constexpr (sizeof(T) == 2) {
      value = __builtin_bswap16(value);
    } else if constexpr (sizeof(T) == 4) {
      value = __builtin_bswap32(value);
    } else if constexpr (sizeof(T) == 8) {
      value = __builtin_bswap64(value);
    }
    return value;
  }

  void Fail() {
    failed_ = true;
    at_ = end_;
  }

  const std::byte* at_;
  const std::byte* end_;
  bool failed_ = false;
};

}  // namespace freshet
