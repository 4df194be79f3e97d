#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "change/ids.h"
#include "change/snapshot_progress.h"
#include "change/table_schema.h"

namespace arrow {
class RecordBatch;
}

namespace freshet::change {

/// What a row image says. An update that came with an old tuple is two images, pre then post.
enum class ChangeKind : uint8_t {
  kInsert = 1,
  kUpdatePreimage = 2,  ///< the old row: whole under replica identity FULL, else the key only
  kUpdatePostimage = 3,
  kDelete = 4,    ///< the old row: whole under FULL, else the key only
  kSnapshot = 5,  ///< a row that was there before the stream began
  kTruncate = 6,  ///< no row: all values null; empties the table
};

/// "insert", "update_preimage", ... as in a changelog's `_cdc_operation`.
std::string_view ChangeKindName(ChangeKind kind);

/// Where a transaction comes from.
enum class TransactionKind : uint8_t {
  kStream = 1,    ///< a commit in the source
  kSnapshot = 2,  ///< rows that were there already, placed in the stream behind a commit; end_lsn =
                  ///< commit_lsn = the end of that commit; no xid. With an ordinal: a piece of a
                  ///< table's rows, which a target may have, or changes that waited for them
  kMessage = 3,  ///< a non-transactional logical message; commit_lsn = end_lsn = the message's lsn,
                 ///< which is the end of its WAL record; no xid, no commit_time (0)
};

/// One transaction, or the part of one that a batch carries.
struct Transaction {
  TransactionKind kind = TransactionKind::kStream;
  Xid xid;
  Lsn commit_lsn;  ///< start of the commit record; known from Begin on
  Lsn end_lsn;     ///< one past the commit record; 0 while ends == false

  /// Of kSnapshot: counts those behind the same commit, from 1, or 0 for the one at the slot's
  /// consistent point. (end_lsn, ordinal) is the Position behind the transaction. Else 0.
  int64_t ordinal = 0;

  UnixMicros commit_time = 0;
  std::string origin;  ///< replication origin's name; empty for local work
  bool begins = true;  ///< its first change is in this batch
  bool ends = true;    ///< its last change is in this batch

  bool operator==(const Transaction&) const = default;
};

/// The position behind a transaction that ends.
Position PositionBehind(const Transaction& transaction);

/// The exact text of a value that its column's Arrow type cannot hold (NaN numeric, infinite date,
/// two-dimensional array, 24:00:00, year 294276). The Arrow value there is null.
struct ValueException {
  int64_t row = 0;  ///< row in TableChanges::rows
  int32_t column = 0;
  std::string text;  ///< as the server wrote it

  bool operator==(const ValueException&) const = default;
};

/// Marks, of one column, the rows whose value the server did not send because it is TOASTed and
/// unchanged. Such a value is neither null nor known; the Arrow value there is null.
struct UnchangedRows {
  int32_t column = 0;
  std::vector<int64_t> rows;  ///< ascending

  bool operator==(const UnchangedRows&) const = default;
};

/// The changes of one table version inside a batch: columns of values and, beside them, what each
/// row is. Order of rows = order in the stream. All vectors below have rows->num_rows() entries.
struct TableChanges {
  std::shared_ptr<const TableSchema> schema;
  std::shared_ptr<arrow::RecordBatch> rows;  ///< of schema->arrow_schema()
  std::vector<ChangeKind> kinds;
  std::vector<int32_t> transactions;       ///< index into ChangeBatch::transactions
  std::vector<int64_t> ordinals;           ///< place in the transaction, from 0, over all tables;
                                           ///< images of one statement's row have one each; tables
                                           ///< truncated together share one
  std::vector<UnchangedRows> unchanged;    ///< by column; columns without any are left out
  std::vector<ValueException> exceptions;  ///< by row, then column; empty for ordinary data

  int64_t num_rows() const { return static_cast<int64_t>(kinds.size()); }
};

/// A logical message (pg_logical_emit_message).
struct LogicalMessage {
  int32_t transaction = 0;  ///< index into ChangeBatch::transactions
  int64_t ordinal = 0;
  bool transactional = true;
  Lsn lsn;
  std::string prefix;
  std::string content;

  bool operator==(const LogicalMessage&) const = default;
};

/// A run of changes in commit order: whole transactions, or one part of a giant one alone.
///
/// Immutable once built and shared between log and sinks (std::shared_ptr<const ChangeBatch>).
/// A table whose schema changes inside a batch has several entries in `tables`, in order.
/// Invariants, kept by CheckInvariants(): only the last transaction may have ends == false, only
/// the first begins == false; a part of a giant transaction stands alone in its batch; positions
/// ascend strictly; a table whose snapshot begins here is in `tables`, if only without rows.
struct ChangeBatch {
  std::vector<Transaction> transactions;
  std::vector<TableChanges> tables;
  std::vector<LogicalMessage> messages;

  /// Steps of snapshots, in force behind this batch. Only in a batch whose one transaction ends and
  /// is of kind kSnapshot; those that MayFollowCommit() also where it is of another kind.
  std::vector<SnapshotProgress> snapshots = {};

  /// The batch leaves no transaction open behind it.
  bool ends_transaction() const { return !transactions.empty() && transactions.back().ends; }

  /// Rows of all tables.
  int64_t num_rows() const;

  /// Memory held by rows and side columns, in bytes.
  int64_t size_bytes() const;
};

/// Aborts when `batch` breaks what its comment promises. Called where batches are made.
void CheckInvariants(const ChangeBatch& batch);

/// `batch` without the transactions that end at or before `position`, for a target that has them.
///
/// Returns the same pointer when nothing is to drop, null when nothing is left. A part of a
/// transaction counts as the whole one does: it is dropped when its commit record stands before the
/// position; of a snapshot, which has none, parts without the end are kept.
std::shared_ptr<const ChangeBatch> DropApplied(std::shared_ptr<const ChangeBatch> batch,
                                               const Position& position);

}  // namespace freshet::change
