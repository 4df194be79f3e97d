#include "log/checkpoint.h"

#include "log/little_endian.h"
#include "log/snapshot_codec.h"

namespace freshet::log {
namespace {

constexpr uint8_t kTransactionOpen = 1;
constexpr uint8_t kHasSource = 2;

void WriteSource(LittleEndianWriter& out, const change::SourceIdentity& source) {
  out.U64(source.system_id);
  out.U32(source.timeline);
  out.String(source.database);
  out.U32(source.database_oid);
  out.String(source.slot);
  out.String(source.publication);
  out.U64(source.consistent_point.value);
  out.I64(source.created_at);
}

change::SourceIdentity ReadSource(LittleEndianReader& in) {
  change::SourceIdentity source;
  source.system_id = in.U64();
  source.timeline = in.U32();
  source.database = in.String();
  source.database_oid = in.U32();
  source.slot = in.String();
  source.publication = in.String();
  source.consistent_point = change::Lsn{in.U64()};
  source.created_at = in.I64();
  return source;
}

}  // namespace

std::vector<std::byte> EncodeCheckpoint(const Checkpoint& checkpoint) {
  std::vector<std::byte> bytes;
  LittleEndianWriter out(bytes);
  out.I64(checkpoint.end.offset.value);
  out.U64(checkpoint.end.position.commit_end.value);
  out.I64(checkpoint.end.position.ordinal);
  out.I64(checkpoint.open_since.value);
  out.I64(checkpoint.newest_commit);
  out.I64(checkpoint.written_at);
  out.I64(checkpoint.previous.value);
  out.I64(checkpoint.previous_bytes);
  out.U32(checkpoint.schema_count);
  out.U8(static_cast<uint8_t>((checkpoint.transaction_open ? kTransactionOpen : 0) |
                              (checkpoint.source.has_value() ? kHasSource : 0)));
  if (checkpoint.source.has_value()) WriteSource(out, *checkpoint.source);
  out.U32(static_cast<uint32_t>(checkpoint.snapshots.size()));
  WriteSnapshotSteps(out, checkpoint.snapshots);
  return bytes;
}

Result<Checkpoint> DecodeCheckpoint(std::span<const std::byte> payload) {
  LittleEndianReader in(payload);
  Checkpoint checkpoint;
  checkpoint.end.offset = LogOffset{in.I64()};
  checkpoint.end.position.commit_end = change::Lsn{in.U64()};
  checkpoint.end.position.ordinal = in.I64();
  checkpoint.open_since = LogOffset{in.I64()};
  checkpoint.newest_commit = in.I64();
  checkpoint.written_at = in.I64();
  checkpoint.previous = LogOffset{in.I64()};
  checkpoint.previous_bytes = in.I64();
  checkpoint.schema_count = in.U32();
  const uint8_t flags = in.U8();
  checkpoint.transaction_open = (flags & kTransactionOpen) != 0;
  if ((flags & kHasSource) != 0) checkpoint.source = ReadSource(in);
  const uint32_t steps = in.U32();
  checkpoint.snapshots = ReadSnapshotSteps(in, steps);
  if (!in.Finished()) {
    return Fail(ErrorKind::kMalformed, "checkpoint record of {} bytes does not end with its fields",
                payload.size());
  }
  return checkpoint;
}

std::vector<std::byte> EncodeSource(const change::SourceIdentity& source) {
  std::vector<std::byte> bytes;
  LittleEndianWriter out(bytes);
  WriteSource(out, source);
  return bytes;
}

Result<change::SourceIdentity> DecodeSource(std::span<const std::byte> payload) {
  LittleEndianReader in(payload);
  change::SourceIdentity source = ReadSource(in);
  if (!in.Finished()) {
    return Fail(ErrorKind::kMalformed, "source record of {} bytes does not end with its fields",
                payload.size());
  }
  return source;
}

}  // namespace freshet::log
