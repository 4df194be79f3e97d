#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "change/change_batch.h"
#include "change/ids.h"
#include "postgres/txid_snapshot.h"

namespace freshet::postgres {

/// A chunk that a ChunkJoin knows. Never used twice.
struct ChunkId {
  int64_t value = 0;
  auto operator<=>(const ChunkId&) const = default;
};

/// What has become of the rows of a chunk at the place where they are to stand in the stream.
struct Placement {
  enum class Outcome : uint8_t {
    kPlaced,    ///< `rows` are to be emitted here
    kNothing,   ///< the stream has said all there is to say of these rows
    kRejected,  ///< it cannot be told: read the whole chunk again, under a new snapshot
  };
  Outcome outcome = Outcome::kNothing;

  /// Of kPlaced: rows of kind kSnapshot of transaction 0. Those the stream has changed in part are
  /// patches: all but the key and the columns that it left alone are marked unchanged.
  change::TableChanges rows;
};

/// Decides what of the rows read from a table is still news where they are placed in its stream of
/// changes (docs/adr/0093).
///
/// It keeps which keys the stream touched. Of a chunk's rows, those that a transaction touched
/// which the chunk's snapshot does not see are left out, or reduced to the columns that the stream
/// did not send. The caller's side of it:
///
/// 1. Watch() a table before its rows are wanted, and Observe() every batch of the stream in order,
///    as it is emitted.
/// 2. Reserve() a chunk *before* its session takes its snapshot, Open() it with the snapshot,
///    Place() its rows piece by piece, Close() it. Several may be under way, in any order.
/// 3. Rows may be placed when no transaction is half observed and the stream has passed a WAL
///    position that was read *after* the snapshot was taken. The session locks the table (ACCESS
///    SHARE) before it takes its snapshot, so that no truncate or rewrite comes between.
/// 4. Rows of a chunk that is rejected, or given up, may have been placed already; that does no
///    harm when all of its rows are placed again later.
///
/// Compares transaction ids with snapshots, never WAL positions: a transaction may be in the stream
/// before it is visible to a new snapshot, long before under synchronous replication.
///
/// Threads: one.
class ChunkJoin {
 public:
  struct Counters {
    int64_t window_bytes = 0;  ///< remembered now
    int64_t dropped = 0;       ///< rows that were old news
    int64_t patched = 0;       ///< rows reduced to the columns that the stream left alone
    int64_t rejected = 0;      ///< chunks to be read again
  };

  /// Remembers up to `window_bytes` of keys. A transaction that goes beyond counts as if it had
  /// touched every row.
  explicit ChunkJoin(int64_t window_bytes);
  ~ChunkJoin();

  /// From here on the changes of `table` are remembered. What the stream carried before, or the
  /// slot left out, is not: `now` is a snapshot taken after the last batch that was not observed,
  /// after the slot was there, and after the publication had the table. A transaction that ran then
  /// may have been missed, so a chunk that does not see it is rejected; see WaitsFor().
  /// `next_xid`, 64-bit, is the first id that had not been given out by then: transactions from
  /// now.xmax() on may run, too, without standing in the snapshot.
  void Watch(change::TableId table, const TxidSnapshot& now, uint64_t next_xid = 0);

  void Unwatch(change::TableId table);

  /// The transactions that have to end before a chunk of `table` can be joined: those that ran when
  /// it was watched and are not known to have ended. 64-bit ids, ascending.
  std::vector<uint64_t> WaitsFor(change::TableId table) const;

  /// Takes note of a snapshot that was taken for whatever end, so that what it sees is forgotten.
  void Learn(const TxidSnapshot& snapshot);

  /// The stream goes on with `batch`. Snapshots in it are ignored.
  void Observe(const change::ChangeBatch& batch);

  /// Targets empty `table` at this place of the stream, and with it what they had from transactions
  /// before: a chunk that does not see all of these is rejected.
  void Emptied(change::TableId table);

  /// A chunk of `table`, which is watched, is going to be read.
  ChunkId Reserve(change::TableId table);

  /// It is read under `snapshot`. Once.
  void Open(ChunkId chunk, const TxidSnapshot& snapshot);

  /// Places rows of an open chunk, all of kind kSnapshot, at the end of what was observed. They are
  /// passed through as they are when the stream touched none of them. All pieces of a chunk get
  /// kRejected after the first that does. A chunk without rows has one piece, which has none: that
  /// there are none may be old news, too. CHECKs that no transaction is half observed.
  Placement Place(ChunkId chunk, change::TableChanges rows);

  /// The chunk is done with, or given up. Also for one that was reserved only.
  void Close(ChunkId chunk);

  /// Since Watch() a change of `table` came without the value of a column: rows may have moved past
  /// the chunks that way, so they are swept up at the end.
  bool saw_unchanged(change::TableId table) const;

  const Counters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::postgres
