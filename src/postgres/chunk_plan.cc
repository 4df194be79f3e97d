#include "postgres/chunk_plan.h"

#include <algorithm>

#include "base/check.h"

namespace freshet::postgres {

using change::BlockRange;

namespace {

void Insert(std::vector<BlockRange>& ranges, const BlockRange& range) {
  ranges.insert(std::lower_bound(ranges.begin(), ranges.end(), range), range);
}

/// Adds a range to a list whose ranges have gaps between them.
void Merge(std::vector<BlockRange>& ranges, const BlockRange& range) {
  Insert(ranges, range);
  std::vector<BlockRange> out;
  for (const BlockRange& next : ranges) {
    if (!out.empty() && next.first <= out.back().end) {
      out.back().end = std::max(out.back().end, next.end);
    } else {
      out.push_back(next);
    }
  }
  ranges = std::move(out);
}

}  // namespace

PartPlan::PartPlan(change::TableId table, change::TableId part, bool by_key)
    : table_(table), part_(part), by_key_(by_key) {}

void PartPlan::Resume(const change::SnapshotProgress& step) {
  CHECK(taken_.empty() && !key_taken_);
  filenode_ = step.filenode;
  rows_ = step.part_rows;
  done_ = step.part_done;
  // Another server version may read in the other way now: then from the start.
  if (by_key_) {
    last_key_ = step.last_key;
  } else {
    read_ = step.blocks;
  }
}

void PartPlan::LeaveOut() {
  CHECK(taken_.empty() && !key_taken_);
  read_ = {{0, ChunkRange::kOpenEnd}};
  done_ = true;
}

bool PartPlan::Found(uint32_t filenode, int64_t blocks) {
  blocks_ = blocks;
  const bool same = !filenode_.has_value() || *filenode_ == filenode;
  filenode_ = filenode;
  if (same) return true;
  read_.clear();
  taken_.clear();
  last_key_.clear();
  key_taken_ = false;
  done_ = false;
  rows_ = 0;
  return false;
}

std::optional<ChunkRange> PartPlan::Next(int64_t size) {
  CHECK(size > 0);
  if (done_) return std::nullopt;
  if (by_key_) {
    if (key_taken_) return std::nullopt;
    key_taken_ = true;
    return ChunkRange{.by_key = true, .after_key = last_key_, .most_rows = size};
  }
  std::vector<BlockRange> gone = read_;
  for (const BlockRange& range : taken_) Merge(gone, range);
  const bool from_start = gone.empty() || gone.front().first > 0;
  BlockRange gap{from_start ? 0 : gone.front().end, ChunkRange::kOpenEnd};
  if (gap.first >= ChunkRange::kOpenEnd) return std::nullopt;
  const size_t behind = from_start ? 0 : 1;
  if (behind < gone.size()) {
    gap.end = std::min(gone[behind].first, gap.first + size);
  } else if (gap.first + size + size / 2 < blocks_) {
    gap.end = gap.first + size;
  }
  Insert(taken_, gap);
  return ChunkRange{.blocks = gap};
}

void PartPlan::Return(const ChunkRange& range) {
  if (range.by_key) {
    key_taken_ = false;
  } else {
    std::erase(taken_, range.blocks);
  }
}

void PartPlan::Read(const ChunkRange& range, int64_t rows, std::vector<std::string> last_key) {
  Return(range);
  rows_ += rows;
  if (range.by_key) {
    done_ = last_key.empty();
    last_key_ = std::move(last_key);
  } else {
    Merge(read_, range.blocks);
    done_ = read_.front() == BlockRange{0, ChunkRange::kOpenEnd};
  }
}

change::SnapshotProgress PartPlan::Step() const {
  return {.step = change::SnapshotStep::kAdvanced,
          .table = table_,
          .part = part_,
          .filenode = filenode_.value_or(0),
          .blocks = read_,
          .last_key = last_key_,
          .part_done = done_,
          .part_rows = rows_};
}

int64_t PartPlan::blocks_read() const {
  if (done_) return blocks_;
  int64_t blocks = 0;
  for (const BlockRange& range : read_) blocks += std::min(range.end, blocks_) - range.first;
  return std::clamp<int64_t>(blocks, 0, blocks_);
}

void ChunkSizer::Took(int64_t size, std::chrono::nanoseconds took) {
  const auto limited = std::max(took, std::chrono::nanoseconds(std::chrono::milliseconds(1)));
  const double factor = std::clamp(
      static_cast<double>(target_.count()) / static_cast<double>(limited.count()), 0.25, 4.0);
  size_ = std::clamp<int64_t>(static_cast<int64_t>(static_cast<double>(size) * factor), 1, most_);
}

}  // namespace freshet::postgres
