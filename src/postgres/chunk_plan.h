#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "change/snapshot_progress.h"

namespace freshet::postgres {

/// What one chunk reads of a relation: a run of its blocks, or of its keys.
struct ChunkRange {
  /// The end of a range that goes on to wherever the relation ends.
  static constexpr int64_t kOpenEnd = std::numeric_limits<uint32_t>::max();

  change::BlockRange blocks{0, kOpenEnd};

  bool by_key = false;
  std::vector<std::string> after_key = {};  ///< of by_key: rows behind it; empty: from the first on
  int64_t most_rows = 0;                    ///< of by_key

  bool operator==(const ChunkRange&) const = default;
};

/// Which ranges of one relation are still to be read. Pure: no connection, no clock.
///
/// Ranges of blocks are handed out in order, several at a time; those given back come first again,
/// so the list of what was read has as few gaps as there are readers. Ranges of keys follow one
/// another, since each begins where the last one turned out to end.
class PartPlan {
 public:
  PartPlan(change::TableId table, change::TableId part, bool by_key);

  /// Goes on where a log says that reading stopped.
  void Resume(const change::SnapshotProgress& step);

  /// Nothing of it is to be read.
  void LeaveOut();

  /// The relation's file as a session found it. False when it is another one than before: then
  /// nothing of it counts as read, and ranges handed out must not be reported any more.
  bool Found(uint32_t filenode, int64_t blocks);

  /// The next range, at most `size` blocks or rows (the last one half as many more). None: all is
  /// read or handed out.
  std::optional<ChunkRange> Next(int64_t size);

  /// A range of Next() was not read.
  void Return(const ChunkRange& range);

  /// A range of Next() was read. `last_key`: of by_key, where it ended; empty: at the last row.
  void Read(const ChunkRange& range, int64_t rows, std::vector<std::string> last_key);

  /// The state as a step of the table's snapshot.
  change::SnapshotProgress Step() const;

  bool done() const { return done_; }
  int64_t blocks() const { return blocks_; }  ///< as last found
  int64_t blocks_read() const;
  int64_t rows_read() const { return rows_; }
  change::TableId part() const { return part_; }

 private:
  change::TableId table_;
  change::TableId part_;
  bool by_key_;
  std::optional<uint32_t> filenode_;
  int64_t blocks_ = 0;
  std::vector<change::BlockRange> read_;   ///< ascending, with gaps between
  std::vector<change::BlockRange> taken_;  ///< ascending
  std::vector<std::string> last_key_;
  bool key_taken_ = false;
  bool done_ = false;
  int64_t rows_ = 0;
};

/// How large the next chunk should be, so that one takes about `target`.
class ChunkSizer {
 public:
  /// `first`, `most`: blocks or rows.
  ChunkSizer(std::chrono::nanoseconds target, int64_t first, int64_t most)
      : target_(target), most_(most), size_(first < most ? first : most) {}

  int64_t size() const { return size_; }

  /// A chunk of `size` took so long. A change by more than a factor of four is taken in steps.
  void Took(int64_t size, std::chrono::nanoseconds took);

  /// A chunk was cut off by a timeout.
  void Failed() { size_ = size_ > 1 ? size_ / 2 : 1; }

 private:
  std::chrono::nanoseconds target_;
  int64_t most_;
  int64_t size_;
};

}  // namespace freshet::postgres
