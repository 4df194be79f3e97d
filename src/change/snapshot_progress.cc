#include "change/snapshot_progress.h"

namespace freshet::change {

void SnapshotLedger::Apply(const SnapshotProgress& step) {
  switch (step.step) {
    case SnapshotStep::kWanted:
      unfinished_[step.table] = {};
      return;
    case SnapshotStep::kBegun:
      unfinished_[step.table] = {
          .begun = true, .replaces = step.replaces, .begun_xid = step.begun_xid, .parts = {}};
      return;
    case SnapshotStep::kAdvanced:
      unfinished_[step.table].parts[step.part] = step;
      return;
    case SnapshotStep::kFinished:
      unfinished_.erase(step.table);
      return;
  }
}

std::vector<SnapshotProgress> SnapshotLedger::Steps() const {
  std::vector<SnapshotProgress> steps;
  for (const auto& [table, snapshot] : unfinished_) {
    steps.push_back({.step = snapshot.begun ? SnapshotStep::kBegun : SnapshotStep::kWanted,
                     .table = table,
                     .replaces = snapshot.replaces,
                     .begun_xid = snapshot.begun_xid,
                     .part = {},
                     .blocks = {},
                     .last_key = {}});
    for (const auto& [part, step] : snapshot.parts) steps.push_back(step);
  }
  return steps;
}

}  // namespace freshet::change
