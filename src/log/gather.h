#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace freshet::log {

/// Collects the bytes of one record: small pieces are copied together, large ones only pointed at,
/// so that they go to the file from where they lie.
///
/// Lifetime: what Refer() was given must live until the spans have been written.
class Gather {
 public:
  /// Pieces below this are cheaper to copy than to hand to the kernel one by one.
  static constexpr size_t kCopyBelowBytes = 1024;

  /// Adds bytes that live elsewhere.
  void Refer(std::span<const std::byte> bytes);

  /// Adds a copy of `bytes`.
  void Copy(std::span<const std::byte> bytes);

  /// Adds zeros up to the next multiple of 8.
  void PadTo8();

  int64_t size_bytes() const { return size_bytes_; }

  /// CRC32C of everything added so far.
  uint32_t Crc() const;

  /// Everything added, in order, with `first` in front. Valid until the next call of any kind.
  std::span<const std::span<const std::byte>> Spans(std::span<const std::byte> first);

  void Clear();

 private:
  struct Piece {
    const std::byte* elsewhere;  ///< null: in copied_, behind the piece before
    size_t size;
  };

  std::vector<std::byte> copied_;
  std::vector<Piece> pieces_;
  std::vector<std::span<const std::byte>> spans_;
  int64_t size_bytes_ = 0;
};

}  // namespace freshet::log
