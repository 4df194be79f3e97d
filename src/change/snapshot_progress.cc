#include "change/snapshot_progress.h"

#include <algorithm>

namespace freshet::change {

bool IsValid(const SnapshotProgress& step) {
  switch (step.step) {
    case SnapshotStep::kWanted:
      return step == SnapshotProgress{.step = step.step, .table = step.table, .keeps = step.keeps};
    case SnapshotStep::kFinished:
    case SnapshotStep::kFresh:
    case SnapshotStep::kLeftOut:
      return step == SnapshotProgress{.step = step.step, .table = step.table};
    case SnapshotStep::kSeen: {
      const auto& parts = step.seen.parts;
      const bool ascending =
          std::adjacent_find(parts.begin(), parts.end(), [](const SeenPart& a, const SeenPart& b) {
            return a.part >= b.part;
          }) == parts.end();
      return ascending && parts.size() <= kMostSeenParts &&
             step == SnapshotProgress{.step = step.step, .table = step.table, .seen = step.seen};
    }
    case SnapshotStep::kLooked:
      return step == SnapshotProgress{.step = step.step, .seen = {.horizon = step.seen.horizon}};
    case SnapshotStep::kBegun:
      return step == SnapshotProgress{.step = step.step,
                                      .table = step.table,
                                      .replaces = step.replaces,
                                      .begun_xid = step.begun_xid};
    case SnapshotStep::kAdvanced:
      break;
  }
  const SnapshotProgress others{.step = SnapshotStep::kAdvanced,
                                .table = step.table,
                                .part = step.part,
                                .filenode = step.filenode,
                                .blocks = step.blocks,
                                .last_key = step.last_key,
                                .part_done = step.part_done,
                                .part_rows = step.part_rows};
  if (step != others) return false;
  if (step.blocks.size() > kMostBlockRanges || step.last_key.size() > kMostKeyColumns) return false;
  int64_t behind = -1;
  for (const BlockRange& range : step.blocks) {
    if (range.first <= behind || range.end <= range.first) return false;
    behind = range.end;
  }
  return step.part_rows >= 0;
}

bool MayFollowCommit(SnapshotStep step) {
  return step == SnapshotStep::kWanted || step == SnapshotStep::kSeen ||
         step == SnapshotStep::kLooked || step == SnapshotStep::kLeftOut;
}

void SnapshotLedger::Apply(const SnapshotProgress& step) {
  switch (step.step) {
    case SnapshotStep::kWanted:
      left_out_.erase(step.table);
      unfinished_[step.table] = {.keeps = step.keeps};
      return;
    case SnapshotStep::kBegun:
      left_out_.erase(step.table);
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
    case SnapshotStep::kSeen:
      seen_[step.table] = step.seen;
      return;
    case SnapshotStep::kLooked:
      for (auto& [table, seen] : seen_) seen.horizon = std::max(seen.horizon, step.seen.horizon);
      return;
    case SnapshotStep::kLeftOut:
      unfinished_.erase(step.table);
      seen_.erase(step.table);
      left_out_.insert(step.table);
      return;
  }
}

std::vector<SnapshotProgress> SnapshotLedger::Steps() const {
  std::vector<SnapshotProgress> steps;
  for (const auto& [table, snapshot] : unfinished_) {
    steps.push_back({.step = snapshot.begun ? SnapshotStep::kBegun : SnapshotStep::kWanted,
                     .table = table,
                     .keeps = snapshot.keeps,
                     .replaces = snapshot.replaces,
                     .begun_xid = snapshot.begun_xid});
    for (const auto& [part, step] : snapshot.parts) steps.push_back(step);
  }
  for (const auto& [table, seen] : seen_) {
    steps.push_back({.step = SnapshotStep::kSeen, .table = table, .seen = seen});
  }
  for (const TableId table : left_out_) {
    steps.push_back({.step = SnapshotStep::kLeftOut, .table = table});
  }
  return steps;
}

}  // namespace freshet::change
