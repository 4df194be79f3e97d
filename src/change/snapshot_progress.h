#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "change/ids.h"

namespace freshet::change {

/// Blocks `first` to below `end` of a relation's main file.
struct BlockRange {
  int64_t first = 0;
  int64_t end = 0;
  auto operator<=>(const BlockRange&) const = default;
};

/// What a SnapshotProgress says of its table.
enum class SnapshotStep : uint8_t {
  kWanted = 1,    ///< its rows are still to be read
  kBegun = 2,     ///< reading begins, from the start
  kAdvanced = 3,  ///< a relation of it was read further
  kFinished = 4,  ///< every row is in the log before this place
  kFresh = 5,     ///< says nothing of progress: no row of the table's in this batch, each read for
                  ///< the first time, is in a target that was empty of it where kBegun stands
  kSeen = 6,      ///< where its rows lie, by which a rewrite is noticed that nothing is sent of
  kLooked = 7,    ///< of no table: all that were seen were looked at again, and lie as before
  kLeftOut = 8,   ///< its changes are not in the log from here on
};

/// The most ranges one step may list. Ranges are read in order by a handful of workers, so that few
/// gaps stand between them.
inline constexpr size_t kMostBlockRanges = 1024;

/// The most columns of a key: PostgreSQL's limit of columns in a table.
inline constexpr size_t kMostKeyColumns = 1600;

/// The most relations of a table that are remembered as seen. Of a larger tree nothing is.
inline constexpr size_t kMostSeenParts = 100'000;

/// A relation with rows of a table, and the file they lie in.
struct SeenPart {
  TableId part;
  uint32_t filenode = 0;
  auto operator<=>(const SeenPart&) const = default;
};

/// How a table was when it was looked at. What it is compared with: docs/adr/0112.
struct SeenTable {
  uint64_t horizon = 0;              ///< every transaction below this 64-bit id had ended
  uint64_t row_type = 0;             ///< another one: columns, or types of columns, are others
  uint64_t key_type = 0;             ///< the same of the key's columns
  uint64_t sent = 0;                 ///< hash of the publication's column list and row filter
  uint32_t membership = 0;           ///< oid by which the publication lists it; 0: it takes in all
  std::vector<SeenPart> parts = {};  ///< ascending

  bool operator==(const SeenTable&) const = default;
};

/// A step in the snapshot of one table, recorded in the same batch as the rows it speaks of. What
/// is not said to be of a step has its default value there.
///
/// A step holds from its batch on, so a snapshot goes on after a crash where its rows in the log
/// end. Rows of a range that was not recorded as read may be in the log too; they are read again,
/// which changes nothing in a target that goes by key.
///
/// Where a kBegun stands a target may empty the table. So whatever was streamed before that place
/// must be visible to every snapshot the table's rows are read under, or it would be lost. And it
/// stands behind all that the server had written when the stream was connected: a target may be
/// ahead of a log that lost its undurable end, and skips what comes behind less than it has.
struct SnapshotProgress {
  SnapshotStep step = SnapshotStep::kWanted;

  /// The table as its changes arrive: the root of a partition tree that is published as a whole.
  TableId table = {};

  // kWanted:
  bool keeps = false;  ///< targets keep the rows they have when reading begins

  // kBegun:
  bool replaces = false;   ///< rows that a target has from before are void: it empties the table.
                           ///< False only when rows are read again that may stay until then
  uint64_t begun_xid = 0;  ///< 64-bit; what was written later has this id or a higher one

  // kAdvanced, the whole state of one relation:
  TableId part = {};                    ///< the relation read: `table` itself or a leaf of its tree
  uint32_t filenode = 0;                ///< of the part when it was read; `blocks` are of this file
  std::vector<BlockRange> blocks = {};  ///< read so far; ascending, with gaps between them
  std::vector<std::string> last_key = {};  ///< of reading by key: the last one's text, by column
  bool part_done = false;
  int64_t part_rows = 0;  ///< read so far

  // kSeen; of kLooked the horizon only:
  SeenTable seen = {};

  bool operator==(const SnapshotProgress&) const = default;
};

/// Within the limits above, ranges ascend without touching, nothing is negative, and what is not of
/// the step has its default value.
bool IsValid(const SnapshotProgress& step);

/// Whether a step may stand behind a transaction of the source. Others, which rows belong to or a
/// target acts on, stand in a batch of their own.
bool MayFollowCommit(SnapshotStep step);

/// A table whose rows are not all in the log.
struct UnfinishedSnapshot {
  bool keeps = false;  ///< of one that is not begun
  bool begun = false;
  bool replaces = false;
  uint64_t begun_xid = 0;
  std::map<TableId, SnapshotProgress> parts = {};  ///< newest kAdvanced step of each

  bool operator==(const UnfinishedSnapshot&) const = default;
};

/// What the steps so far come to. Threads: one.
class SnapshotLedger {
 public:
  /// Takes the next step, a valid one. A kWanted or kBegun forgets what was read before it, and
  /// that the table was left out; a kFinished that it is read; a kLeftOut all else.
  void Apply(const SnapshotProgress& step);

  const std::map<TableId, UnfinishedSnapshot>& unfinished() const { return unfinished_; }

  const std::map<TableId, SeenTable>& seen() const { return seen_; }

  /// Tables whose changes the log lacks from some place on.
  const std::set<TableId>& left_out() const { return left_out_; }

  /// Steps that lead from nothing to this state: for a checkpoint.
  std::vector<SnapshotProgress> Steps() const;

  bool operator==(const SnapshotLedger&) const = default;

 private:
  std::map<TableId, UnfinishedSnapshot> unfinished_;
  std::map<TableId, SeenTable> seen_;
  std::set<TableId> left_out_;
};

}  // namespace freshet::change
