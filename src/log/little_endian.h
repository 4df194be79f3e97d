#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace freshet::log {

static_assert(std::endian::native == std::endian::little,
              "the log and the Arrow data inside it are little-endian; this machine is not");

/// Appends little-endian fields to a buffer. Field forms: docs/log_format.md, "Primitives".
class LittleEndianWriter {
 public:
  explicit LittleEndianWriter(std::vector<std::byte>& out) : out_(out) {}

  void U8(uint8_t value) { Integer(value); }
  void U32(uint32_t value) { Integer(value); }
  void U64(uint64_t value) { Integer(value); }
  void I16(int16_t value) { Integer(value); }
  void I32(int32_t value) { Integer(value); }
  void I64(int64_t value) { Integer(value); }

  /// u32 length, then the bytes.
  void String(std::string_view text) {
    U32(static_cast<uint32_t>(text.size()));
    Bytes(std::as_bytes(std::span(text)));
  }

  void Bytes(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }

  /// The values one after another, as they lie in memory.
  template <std::integral T>
  void Array(std::span<const T> values) {
    Bytes(std::as_bytes(values));
  }

  /// Zeros up to the next multiple of 8 from the buffer's start.
  void PadTo8() { out_.resize((out_.size() + 7) / 8 * 8); }

 private:
  template <std::integral T>
  void Integer(T value) {
    Bytes(std::as_bytes(std::span(&value, 1)));
  }

  std::vector<std::byte>& out_;
};

/// Reads what LittleEndianWriter wrote. A read past the end yields zero or nothing and marks the
/// reader failed; a parser asks ok() or Finished() once, after its last field.
class LittleEndianReader {
 public:
  explicit LittleEndianReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  uint8_t U8() { return Integer<uint8_t>(); }
  uint32_t U32() { return Integer<uint32_t>(); }
  uint64_t U64() { return Integer<uint64_t>(); }
  int16_t I16() { return Integer<int16_t>(); }
  int32_t I32() { return Integer<int32_t>(); }
  int64_t I64() { return Integer<int64_t>(); }

  std::string String() {
    const auto bytes = Bytes(U32());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::span<const std::byte> Bytes(size_t size) {
    if (size > rest_.size()) {
      failed_ = true;
      rest_ = {};
    }
    const auto out = rest_.first(failed_ ? 0 : size);
    rest_ = rest_.subspan(out.size());
    return out;
  }

  /// `count` values; none, and failed, when fewer are left.
  template <std::integral T>
  std::vector<T> Array(size_t count) {
    if (count > rest_.size() / sizeof(T)) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const auto bytes = Bytes(count * sizeof(T));
    std::vector<T> out(count);
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }

  size_t remaining() const { return rest_.size(); }
  bool ok() const { return !failed_; }
  bool Finished() const { return !failed_ && rest_.empty(); }
  void MarkFailed() { failed_ = true; }

 private:
  template <std::integral T>
  T Integer() {
    const auto bytes = Bytes(sizeof(T));
    T value = 0;
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> rest_;
  bool failed_ = false;
};

}  // namespace freshet::log
