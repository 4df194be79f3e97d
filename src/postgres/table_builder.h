#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/column_builder.h"

namespace freshet::postgres {

/// Builds the TableChanges of one table version in two passes: rows are noted as they arrive, each
/// value by where its text lies; later each column is built in one loop (docs/adr/0010).
///
/// Threads: one. Errors: those of ColumnBuilder, with table and column named.
class TableBuilder {
 public:
  explicit TableBuilder(std::shared_ptr<const change::TableSchema> schema,
                        const TextRules& text = {});

  /// Notes a row and returns its cells, one a column, all null, for the caller to fill. They are
  /// valid until the next call of anything.
  Cell* AddRow(change::ChangeKind kind, int32_t transaction, int64_t ordinal) {
    cells_.resize(cells_.size() + columns_.size());
    kinds_.push_back(kind);
    transactions_.push_back(transaction);
    ordinals_.push_back(ordinal);
    return cells_.data() + (cells_.size() - columns_.size());
  }

  /// Reads all values noted; `base` is what their cells' offsets count from, and may go afterwards.
  Status Decode(const char* base) { return DecodeUpTo(rows(), base); }

  /// Takes the rows of transactions before `transaction`. Those left, which must be noted only and
  /// of one transaction, then belong to transaction 0.
  Result<change::TableChanges> TakeBefore(int32_t transaction, const char* base);

  /// Takes all rows.
  Result<change::TableChanges> TakeAll(const char* base) { return Take(rows(), base); }

  const std::shared_ptr<const change::TableSchema>& schema() const { return schema_; }
  int64_t rows() const { return static_cast<int64_t>(kinds_.size()); }

  /// Memory a row takes when all its values are null, in bytes.
  int64_t empty_row_bytes() const { return empty_row_bytes_; }

 private:
  Status DecodeUpTo(int64_t rows, const char* base);
  Result<change::TableChanges> Take(int64_t rows, const char* base);

  std::shared_ptr<const change::TableSchema> schema_;
  int64_t empty_row_bytes_ = 0;
  std::vector<std::unique_ptr<ColumnBuilder>> columns_;
  std::vector<Cell> cells_;  ///< of the rows noted and not yet decoded, row by row
  int64_t decoded_ = 0;      ///< rows in columns_
  std::vector<change::ChangeKind> kinds_;
  std::vector<int32_t> transactions_;
  std::vector<int64_t> ordinals_;
  std::vector<change::ValueException> exceptions_;
};

}  // namespace freshet::postgres
