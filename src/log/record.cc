#include "log/record.h"

#include <algorithm>
#include <vector>

#include "log/crc32c.h"
#include "log/little_endian.h"

namespace freshet::log {
namespace {

constexpr size_t kCheckedBytes = 20;  // all of the header but its own checksum

uint32_t HeaderCrc(std::span<const std::byte> header, int64_t at) {
  const uint32_t crc = Crc32c(header.first(kCheckedBytes));
  return Crc32c(std::as_bytes(std::span(&at, 1)), crc);
}

bool IsKnown(uint8_t kind) {
  return kind >= static_cast<uint8_t>(RecordKind::kCheckpoint) &&
         kind <= static_cast<uint8_t>(RecordKind::kBatch);
}

}  // namespace

RecordHeaderBytes EncodeRecordHeader(const RecordHeader& header, int64_t at) {
  std::vector<std::byte> bytes;
  bytes.reserve(kRecordHeaderBytes);
  LittleEndianWriter out(bytes);
  out.U32(header.payload_bytes);
  out.U32(static_cast<uint32_t>(header.kind));
  out.I64(header.synced_bytes);
  out.U32(header.payload_crc);
  out.U32(HeaderCrc(bytes, at));

  RecordHeaderBytes result;
  std::copy(bytes.begin(), bytes.end(), result.begin());
  return result;
}

std::optional<RecordHeader> DecodeRecordHeader(std::span<const std::byte> bytes, int64_t at) {
  LittleEndianReader in(bytes);
  const uint32_t payload_bytes = in.U32();
  const uint32_t kind = in.U32();
  const int64_t synced_bytes = in.I64();
  const uint32_t payload_crc = in.U32();
  const uint32_t header_crc = in.U32();
  if (!in.Finished() || kind > UINT8_MAX || !IsKnown(static_cast<uint8_t>(kind)) ||
      payload_bytes > kMaxPayloadBytes || header_crc != HeaderCrc(bytes, at)) {
    return std::nullopt;
  }
  return RecordHeader{.kind = static_cast<RecordKind>(kind),
                      .payload_bytes = payload_bytes,
                      .payload_crc = payload_crc,
                      .synced_bytes = synced_bytes};
}

}  // namespace freshet::log
