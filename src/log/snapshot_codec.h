#pragma once

#include <vector>

#include "change/snapshot_progress.h"
#include "log/little_endian.h"

namespace freshet::log {

/// Writes the steps of snapshots that stand in a batch or a checkpoint, without their number.
/// Bytes: docs/log_format.md, "Snapshot steps".
void WriteSnapshotSteps(LittleEndianWriter& out,
                        const std::vector<change::SnapshotProgress>& steps);

/// Reads `count` of them. Marks `in` failed when one is not valid (change::IsValid).
std::vector<change::SnapshotProgress> ReadSnapshotSteps(LittleEndianReader& in, uint32_t count);

}  // namespace freshet::log
