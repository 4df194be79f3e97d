#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace freshet::log {

/// What a record is. Numbers are the format's: docs/log_format.md, "Records".
enum class RecordKind : uint8_t {
  kCheckpoint = 1,  ///< state of the log at this place; the first record of every segment
  kSource = 2,      ///< the source's identity, from here on
  kSchema = 3,      ///< one version of one table
  kBatch = 4,       ///< one ChangeBatch
};

inline constexpr int64_t kRecordHeaderBytes = 24;

/// The most a record's payload may have.
inline constexpr int64_t kMaxPayloadBytes = 0xFFFF'FFF0;

/// The frame in front of each payload.
struct RecordHeader {
  RecordKind kind = RecordKind::kBatch;
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;

  /// Bytes of this segment that were durable when the record was written. A damaged byte before
  /// the mark of a later record was damaged after it was durable; one behind was merely torn.
  int64_t synced_bytes = 0;
};

/// `bytes` rounded up to the multiple of 8 at which the next record begins.
constexpr int64_t PadTo8(int64_t bytes) { return (bytes + 7) / 8 * 8; }

/// Bytes a record takes in its segment, padding included.
constexpr int64_t RecordBytes(const RecordHeader& header) {
  return kRecordHeaderBytes + PadTo8(header.payload_bytes);
}

using RecordHeaderBytes = std::array<std::byte, kRecordHeaderBytes>;

/// The header of a record at byte `at` of its segment. The place is part of the header's checksum,
/// so that a record copied to another place is none.
RecordHeaderBytes EncodeRecordHeader(const RecordHeader& header, int64_t at);

/// Reads a header found at byte `at`. Empty unless its checksum and fields are right; `bytes` has
/// kRecordHeaderBytes.
std::optional<RecordHeader> DecodeRecordHeader(std::span<const std::byte> bytes, int64_t at);

}  // namespace freshet::log
