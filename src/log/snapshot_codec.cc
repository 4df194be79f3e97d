#include "log/snapshot_codec.h"

namespace freshet::log {
namespace {

using change::SnapshotProgress;
using change::SnapshotStep;

void WriteSeen(LittleEndianWriter& out, const change::SeenTable& seen) {
  out.U64(seen.horizon);
  out.U64(seen.row_type);
  out.U64(seen.key_type);
  out.U64(seen.sent);
  out.U32(seen.membership);
  out.U32(static_cast<uint32_t>(seen.parts.size()));
  for (const change::SeenPart& part : seen.parts) {
    out.U32(part.part.value);
    out.U32(part.filenode);
  }
}

change::SeenTable ReadSeen(LittleEndianReader& in) {
  change::SeenTable seen;
  seen.horizon = in.U64();
  seen.row_type = in.U64();
  seen.key_type = in.U64();
  seen.sent = in.U64();
  seen.membership = in.U32();
  const uint32_t parts = in.U32();
  if (parts > change::kMostSeenParts) in.MarkFailed();
  for (uint32_t i = 0; i < parts && in.ok(); ++i) {
    const change::TableId part{in.U32()};
    seen.parts.push_back({part, in.U32()});
  }
  return seen;
}

void WriteStep(LittleEndianWriter& out, const SnapshotProgress& step) {
  out.U8(static_cast<uint8_t>(step.step));
  out.U32(step.table.value);
  if (step.step == SnapshotStep::kWanted) out.U8(step.keeps ? 1 : 0);
  if (step.step == SnapshotStep::kSeen) WriteSeen(out, step.seen);
  if (step.step == SnapshotStep::kLooked) out.U64(step.seen.horizon);
  if (step.step == SnapshotStep::kBegun) {
    out.U8(step.replaces ? 1 : 0);
    out.U64(step.begun_xid);
  }
  if (step.step != SnapshotStep::kAdvanced) return;
  out.U32(step.part.value);
  out.U32(step.filenode);
  out.U8(step.part_done ? 1 : 0);
  out.I64(step.part_rows);
  out.U32(static_cast<uint32_t>(step.blocks.size()));
  for (const change::BlockRange& range : step.blocks) {
    out.I64(range.first);
    out.I64(range.end);
  }
  out.U32(static_cast<uint32_t>(step.last_key.size()));
  for (const std::string& value : step.last_key) out.String(value);
}

SnapshotProgress ReadStep(LittleEndianReader& in) {
  SnapshotProgress step;
  step.step = static_cast<SnapshotStep>(in.U8());
  step.table = change::TableId{in.U32()};
  if (step.step == SnapshotStep::kWanted) step.keeps = in.U8() != 0;
  if (step.step == SnapshotStep::kSeen) step.seen = ReadSeen(in);
  if (step.step == SnapshotStep::kLooked) step.seen.horizon = in.U64();
  if (step.step == SnapshotStep::kBegun) {
    step.replaces = in.U8() != 0;
    step.begun_xid = in.U64();
  }
  if (step.step != SnapshotStep::kAdvanced) return step;
  step.part = change::TableId{in.U32()};
  step.filenode = in.U32();
  step.part_done = in.U8() != 0;
  step.part_rows = in.I64();
  const uint32_t ranges = in.U32();
  if (ranges > change::kMostBlockRanges) in.MarkFailed();
  for (uint32_t i = 0; i < ranges && in.ok(); ++i) {
    const int64_t first = in.I64();
    step.blocks.push_back({first, in.I64()});
  }
  const uint32_t columns = in.U32();
  if (columns > change::kMostKeyColumns) in.MarkFailed();
  for (uint32_t i = 0; i < columns && in.ok(); ++i) step.last_key.push_back(in.String());
  return step;
}

}  // namespace

void WriteSnapshotSteps(LittleEndianWriter& out, const std::vector<SnapshotProgress>& steps) {
  for (const SnapshotProgress& step : steps) WriteStep(out, step);
}

std::vector<SnapshotProgress> ReadSnapshotSteps(LittleEndianReader& in, uint32_t count) {
  std::vector<SnapshotProgress> steps;
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    steps.push_back(ReadStep(in));
    if (!change::IsValid(steps.back())) in.MarkFailed();
  }
  return steps;
}

}  // namespace freshet::log
