#include "change/change_batch.h"

#include <arrow/record_batch.h>
#include <arrow/util/byte_size.h>

#include <algorithm>

#include "base/check.h"

namespace freshet::change {

std::string_view ChangeKindName(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kInsert:
      return "insert";
    case ChangeKind::kUpdatePreimage:
      return "update_preimage";
    case ChangeKind::kUpdatePostimage:
      return "update_postimage";
    case ChangeKind::kDelete:
      return "delete";
    case ChangeKind::kSnapshot:
      return "snapshot";
    case ChangeKind::kTruncate:
      return "truncate";
  }
  return "unknown";
}

int64_t ChangeBatch::num_rows() const {
  int64_t rows = 0;
  for (const TableChanges& table : tables) rows += table.num_rows();
  return rows;
}

int64_t ChangeBatch::size_bytes() const {
  constexpr int64_t kSideBytesPerRow = sizeof(ChangeKind) + sizeof(int32_t) + sizeof(int64_t);
  // What Arrow needs around the values of a column: more than they do, in a table of few rows.
  constexpr int64_t kBytesAroundColumn = 512;
  int64_t bytes = static_cast<int64_t>(sizeof(Transaction) * transactions.size());
  for (const TableChanges& table : tables) {
    bytes += static_cast<int64_t>(sizeof(TableChanges)) +
             kBytesAroundColumn * static_cast<int64_t>(table.schema->columns().size());
    bytes += arrow::util::TotalBufferSize(*table.rows) + kSideBytesPerRow * table.num_rows();
    for (const ValueException& e : table.exceptions) {
      bytes += static_cast<int64_t>(sizeof(e) + e.text.size());
    }
    for (const UnchangedRows& u : table.unchanged) {
      bytes += static_cast<int64_t>(sizeof(int64_t) * u.rows.size());
    }
  }
  for (const LogicalMessage& m : messages) {
    bytes += static_cast<int64_t>(sizeof(m) + m.prefix.size() + m.content.size());
  }
  for (const SnapshotProgress& step : snapshots) {
    bytes += static_cast<int64_t>(sizeof(step) + sizeof(BlockRange) * step.blocks.size() +
                                  sizeof(SeenPart) * step.seen.parts.size());
  }
  return bytes;
}

Position PositionBehind(const Transaction& transaction) {
  CHECK(transaction.ends);
  return {transaction.end_lsn, transaction.ordinal};
}

namespace {

void CheckSnapshotSteps(const ChangeBatch& batch) {
  if (batch.snapshots.empty()) return;
  CHECK(batch.transactions.size() == 1);
  const Transaction& t = batch.transactions.front();
  CHECK(t.ends);
  for (const SnapshotProgress& step : batch.snapshots) {
    CHECK(IsValid(step));
    CHECK(t.kind == TransactionKind::kSnapshot || MayFollowCommit(step.step));
    const bool here = std::any_of(batch.tables.begin(), batch.tables.end(), [&](const auto& table) {
      return table.schema->id() == step.table;
    });
    CHECK(step.step != SnapshotStep::kBegun || here);
  }
}

}  // namespace

void CheckInvariants(const ChangeBatch& batch) {
  const size_t count = batch.transactions.size();
  for (size_t i = 0; i < count; ++i) {
    const Transaction& t = batch.transactions[i];
    CHECK(t.ends == (t.end_lsn != Lsn{}));
    CHECK((t.begins && t.ends) || count == 1);
    CHECK(t.ordinal == 0 || (t.ordinal > 0 && t.kind == TransactionKind::kSnapshot && t.ends));
    if (i > 0) CHECK(PositionBehind(batch.transactions[i - 1]) < PositionBehind(t));
  }
  CheckSnapshotSteps(batch);
  for (const TableChanges& table : batch.tables) {
    CHECK(table.schema != nullptr && table.rows != nullptr);
    const auto rows = static_cast<size_t>(table.rows->num_rows());
    CHECK(table.kinds.size() == rows && table.transactions.size() == rows &&
          table.ordinals.size() == rows);
    CHECK(rows == 0 || static_cast<size_t>(table.transactions.back()) < count);
    CHECK(std::is_sorted(table.transactions.begin(), table.transactions.end()));
  }
  for (const LogicalMessage& m : batch.messages) {
    CHECK(static_cast<size_t>(m.transaction) < count);
  }
}

namespace {

/// The rows of `table` from `first_row` on, of transactions renumbered from `first_transaction`.
TableChanges Tail(const TableChanges& table, int64_t first_row, int32_t first_transaction) {
  TableChanges out;
  out.schema = table.schema;
  out.rows = table.rows->Slice(first_row);
  out.kinds.assign(table.kinds.begin() + first_row, table.kinds.end());
  out.ordinals.assign(table.ordinals.begin() + first_row, table.ordinals.end());
  out.transactions.assign(table.transactions.begin() + first_row, table.transactions.end());
  for (int32_t& t : out.transactions) t -= first_transaction;
  for (const UnchangedRows& column : table.unchanged) {
    UnchangedRows kept{.column = column.column, .rows = {}};
    for (const int64_t row : column.rows) {
      if (row >= first_row) kept.rows.push_back(row - first_row);
    }
    if (!kept.rows.empty()) out.unchanged.push_back(std::move(kept));
  }
  for (const ValueException& e : table.exceptions) {
    if (e.row >= first_row) out.exceptions.push_back({e.row - first_row, e.column, e.text});
  }
  return out;
}

}  // namespace

std::shared_ptr<const ChangeBatch> DropApplied(std::shared_ptr<const ChangeBatch> batch,
                                               const Position& position) {
  const auto& all = batch->transactions;
  const auto first_new = std::find_if(all.begin(), all.end(), [&](const Transaction& t) {
    if (t.ends) return PositionBehind(t) > position;
    // A commit record that begins before the position's end is the position's own or an earlier
    // one. A snapshot has no commit record.
    return t.kind != TransactionKind::kStream || t.commit_lsn >= position.commit_end;
  });
  if (first_new == all.begin()) return batch;
  if (first_new == all.end()) return nullptr;

  const auto dropped = static_cast<int32_t>(first_new - all.begin());
  auto out = std::make_shared<ChangeBatch>();
  out->transactions.assign(first_new, all.end());
  for (const TableChanges& table : batch->tables) {
    const auto row =
        std::lower_bound(table.transactions.begin(), table.transactions.end(), dropped) -
        table.transactions.begin();
    if (row < table.num_rows()) out->tables.push_back(Tail(table, row, dropped));
  }
  for (const LogicalMessage& m : batch->messages) {
    if (m.transaction < dropped) continue;
    out->messages.push_back(m);
    out->messages.back().transaction -= dropped;
  }
  CHECK(batch->snapshots.empty());  // they stand beside one transaction, which is all or nothing
  return out;
}

}  // namespace freshet::change
