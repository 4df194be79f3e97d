#include "change/snapshot_progress.h"

#include "base/check.h"

namespace freshet::change {

bool IsValid(const SnapshotProgress& step) {
  switch (step.step) {
    case SnapshotStep::kWanted:
    case SnapshotStep::kFinished:
    case SnapshotStep::kFresh:
      return step == SnapshotProgress{.step = step.step, .table = step.table};
    case SnapshotStep::kBegun:
      return step == SnapshotProgress{.step = step.step,
                                      .table = step.table,
                                      .replaces = step.replaces,
                                      .begun_xid = step.begun_xid};
    case SnapshotStep::kAdvanced:
      break;
  }
  if (step.step != SnapshotStep::kAdvanced || step.replaces || step.begun_xid != 0) return false;
  if (step.blocks.size() > kMostBlockRanges || step.last_key.size() > kMostKeyColumns) return false;
  int64_t behind = -1;
  for (const BlockRange& range : step.blocks) {
    if (range.first <= behind || range.end <= range.first) return false;
    behind = range.end;
  }
  return step.part_rows >= 0;
}

void SnapshotLedger::Apply(const SnapshotProgress& step) {
  switch (step.step) {
    case SnapshotStep::kWanted:
      unfinished_[step.table] = {};
      return;
    case SnapshotStep::kBegun:
      unfinished_[step.table] = {
          .begun = true, .replaces = step.replaces, .begun_xid = step.begun_xid};
      return;
    case SnapshotStep::kAdvanced: {
      // A step of a table that was given up, or whose kBegun a damaged log does not show: no rows
      // of it count.
      const auto found = unfinished_.find(step.table);
      if (found != unfinished_.end() && found->second.begun) found->second.parts[step.part] = step;
      return;
    }
    case SnapshotStep::kFinished:
      unfinished_.erase(step.table);
      return;
    case SnapshotStep::kFresh:
      return;
  }
}

std::vector<SnapshotProgress> SnapshotLedger::Steps() const {
  std::vector<SnapshotProgress> steps;
  for (const auto& [table, snapshot] : unfinished_) {
    steps.push_back({.step = snapshot.begun ? SnapshotStep::kBegun : SnapshotStep::kWanted,
                     .table = table,
                     .replaces = snapshot.replaces,
                     .begun_xid = snapshot.begun_xid});
    for (const auto& [part, step] : snapshot.parts) steps.push_back(step);
  }
  return steps;
}

}  // namespace freshet::change
