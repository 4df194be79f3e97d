#include "support/keyed_target.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <algorithm>

#include "base/check.h"
#include "support/batches.h"

namespace freshet::test {

using change::ChangeKind;
using change::TableChanges;

namespace {

KeyedTarget::Row ReadRow(const TableChanges& changes, int64_t r) {
  KeyedTarget::Row row;
  for (const auto& column : changes.rows->columns()) row.emplace_back(ValueText(*column, r));
  for (const change::ValueException& e : changes.exceptions) {
    if (e.row == r) row[static_cast<size_t>(e.column)] = e.text;
  }
  return row;
}

/// The columns that came without a value.
std::vector<size_t> UnchangedOf(const TableChanges& changes, int64_t r) {
  std::vector<size_t> columns;
  for (const change::UnchangedRows& marks : changes.unchanged) {
    if (std::binary_search(marks.rows.begin(), marks.rows.end(), r)) {
      columns.push_back(static_cast<size_t>(marks.column));
    }
  }
  return columns;
}

KeyedTarget::Key KeyOf(const change::TableSchema& schema, const KeyedTarget::Row& row) {
  KeyedTarget::Key key;
  for (const int c : schema.key_columns()) key.push_back(*row[static_cast<size_t>(c)]);
  return key;
}

bool IsFresh(const change::ChangeBatch& batch, const TableChanges& changes) {
  return std::any_of(batch.snapshots.begin(), batch.snapshots.end(), [&](const auto& step) {
    return step.step == change::SnapshotStep::kFresh && step.table == changes.schema->id();
  });
}

}  // namespace

void KeyedTarget::Apply(const change::ChangeBatch& batch, int32_t index, std::set<RowId>& touched) {
  for (const TableChanges& changes : batch.tables) {
    names_[changes.schema->id()] = change::ToString(changes.schema->name());
  }
  for (const change::SnapshotProgress& step : batch.snapshots) {
    if (step.step == change::SnapshotStep::kBegun && step.replaces) {
      Clear(names_[step.table], touched);
    }
  }
  for (const TableChanges& changes : batch.tables) {
    const Rows& rows = tables_[names_[changes.schema->id()]];
    for (int64_t r = 0; IsFresh(batch, changes) && r < changes.num_rows(); ++r) {
      CHECK(!rows.contains(KeyOf(*changes.schema, ReadRow(changes, r))));
    }
    Apply(changes, index, touched);
  }
}

void KeyedTarget::Apply(const TableChanges& changes, int32_t index, std::set<RowId>& touched) {
  const std::string& name = names_[changes.schema->id()];
  Rows& rows = tables_[name];
  const auto first =
      std::lower_bound(changes.transactions.begin(), changes.transactions.end(), index) -
      changes.transactions.begin();
  Row old_row;
  for (int64_t r = first; r < changes.num_rows(); ++r) {
    if (changes.transactions[static_cast<size_t>(r)] != index) return;
    const ChangeKind kind = changes.kinds[static_cast<size_t>(r)];
    if (kind == ChangeKind::kTruncate) {
      Clear(name, touched);
      continue;
    }
    Row row = ReadRow(changes, r);
    const std::vector<size_t> unchanged = UnchangedOf(changes, r);
    if (kind == ChangeKind::kUpdatePreimage || kind == ChangeKind::kDelete) {
      const Key key = KeyOf(*changes.schema, row);
      touched.emplace(name, key);
      const auto found = rows.find(key);
      // Of a row that is not there the key is known, which the new one may need.
      old_row = found == rows.end() ? Row(row.size()) : found->second;
      for (const int c : changes.schema->key_columns()) {
        old_row[static_cast<size_t>(c)] = row[static_cast<size_t>(c)];
      }
      if (found != rows.end()) rows.erase(found);
      if (kind == ChangeKind::kDelete) old_row.clear();
      continue;
    }
    if (old_row.empty()) {
      const auto found = rows.find(KeyOf(*changes.schema, row));
      if (found != rows.end()) old_row = found->second;
    }
    for (const size_t c : unchanged) {
      row[c] = c < old_row.size() ? old_row[c] : std::nullopt;
    }
    old_row.clear();
    Key key = KeyOf(*changes.schema, row);
    touched.emplace(name, key);
    rows[std::move(key)] = std::move(row);
  }
}

void KeyedTarget::Clear(const std::string& table, std::set<RowId>& touched) {
  for (const auto& [key, row] : tables_[table]) touched.emplace(table, key);
  tables_[table].clear();
}

const KeyedTarget::Row* KeyedTarget::Find(const RowId& id) const {
  const auto table = tables_.find(id.first);
  if (table == tables_.end()) return nullptr;
  const auto row = table->second.find(id.second);
  return row == table->second.end() ? nullptr : &row->second;
}

std::set<KeyedTarget::RowId> KeyedTarget::AllRows() const {
  std::set<RowId> all;
  for (const auto& [table, rows] : tables_) {
    for (const auto& [key, row] : rows) all.emplace(table, key);
  }
  return all;
}

}  // namespace freshet::test
