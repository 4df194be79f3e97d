#include "log/gather.h"

#include "log/crc32c.h"
#include "log/record.h"

namespace freshet::log {

void Gather::Refer(std::span<const std::byte> bytes) {
  if (bytes.size() < kCopyBelowBytes) return Copy(bytes);
  pieces_.push_back({bytes.data(), bytes.size()});
  size_bytes_ += static_cast<int64_t>(bytes.size());
}

void Gather::Copy(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (pieces_.empty() || pieces_.back().elsewhere != nullptr) pieces_.push_back({nullptr, 0});
  copied_.insert(copied_.end(), bytes.begin(), bytes.end());
  pieces_.back().size += bytes.size();
  size_bytes_ += static_cast<int64_t>(bytes.size());
}

void Gather::PadTo8() {
  static constexpr std::byte kZeros[8] = {};
  const auto padding = static_cast<size_t>(log::PadTo8(size_bytes_) - size_bytes_);
  Copy(std::span(kZeros).first(padding));
}

uint32_t Gather::Crc() const {
  uint32_t crc = 0;
  size_t at = 0;
  for (const Piece& piece : pieces_) {
    const std::byte* data = piece.elsewhere;
    if (data == nullptr) {
      data = copied_.data() + at;
      at += piece.size;
    }
    crc = Crc32c({data, piece.size}, crc);
  }
  return crc;
}

std::span<const std::span<const std::byte>> Gather::Spans(std::span<const std::byte> first) {
  spans_.clear();
  spans_.push_back(first);
  size_t at = 0;
  for (const Piece& piece : pieces_) {
    if (piece.elsewhere != nullptr) {
      spans_.emplace_back(piece.elsewhere, piece.size);
    } else {
      spans_.emplace_back(copied_.data() + at, piece.size);
      at += piece.size;
    }
  }
  return spans_;
}

void Gather::Clear() {
  copied_.clear();
  pieces_.clear();
  spans_.clear();
  size_bytes_ = 0;
}

}  // namespace freshet::log
