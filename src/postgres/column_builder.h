#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/change_batch.h"
#include "change/logical_type.h"
#include "postgres/text_encoding.h"

namespace arrow {
class ArrayData;
}

namespace freshet::postgres {

/// Where one value's text lies: `size` bytes from `offset` on, counted from a base the user of the
/// cell knows.
struct Cell {
  static constexpr int32_t kNull = -1;
  static constexpr int32_t kUnchanged = -2;  ///< TOASTed, and not sent

  uint32_t offset = 0;
  int32_t size = kNull;  ///< or one of the two above
};

/// The cells of one column in a block of rows that is stored row by row.
struct CellColumn {
  const char* base = nullptr;
  const Cell* first = nullptr;
  size_t stride = 1;  ///< cells from one row to the next
  int64_t count = 0;

  const Cell& operator[](int64_t row) const { return first[static_cast<size_t>(row) * stride]; }
};

/// A finished column. Null where a value is unchanged or an exception.
struct BuiltColumn {
  std::shared_ptr<arrow::ArrayData> values;
  std::vector<int64_t> unchanged;  ///< rows, ascending
};

/// Turns PostgreSQL's text of one column into an Arrow array, a block of rows at a time.
///
/// Threads: one. Errors, after which the builder is of no more use: kMalformed (no text the server
/// writes for the type), kUnsupported (invalid text under InvalidText::kFail, more than 2 GiB),
/// kFatal (out of memory). The messages name neither table nor column: the caller adds those.
class ColumnBuilder {
 public:
  /// `text`: how the values' text is read. `key`: the column is of a key.
  static std::unique_ptr<ColumnBuilder> Create(const change::LogicalType& type,
                                               const TextRules& text = {}, bool key = false);

  virtual ~ColumnBuilder() = default;

  /// Appends one value per cell. Values that the Arrow type cannot hold become null and are added
  /// to `exceptions`, rows counted from the builder's last Finish(), column 0.
  virtual Status Append(const CellColumn& cells,
                        std::vector<change::ValueException>& exceptions) = 0;

  /// Takes off all rows from `length` on.
  virtual void Truncate(int64_t length) = 0;

  /// The rows since the last Finish(); the builder is empty again.
  virtual Result<BuiltColumn> Finish() = 0;

  /// Rows since the last Finish().
  virtual int64_t length() const = 0;
};

}  // namespace freshet::postgres
