#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "change/change_batch.h"

namespace arrow {
class Array;
class ArrayBuilder;
}  // namespace arrow

namespace freshet::postgres {

/// Reads the keys of rows as bytes: two rows have the same bytes exactly when the values of their
/// key columns are the same. Nulls and values that their Arrow type cannot hold are told apart too.
///
/// Lifetime: the rows stay as long as the reader. Threads: one.
class RowKeyReader {
 public:
  explicit RowKeyReader(const change::TableChanges& changes);
  ~RowKeyReader();

  /// Appends the key of `row` to `out`. A key column that the server did not send (unchanged TOAST)
  /// is taken from `old_row`, the image of the same row before. Returns false, with `out` as it
  /// was, when a value was not sent in either.
  bool Append(int64_t row, std::optional<int64_t> old_row, std::string& out) const;

 private:
  struct KeyColumn;

  const change::TableChanges& changes_;
  std::vector<KeyColumn> columns_;
};

/// One value of a key as RowKeyReader wrote it.
struct KeyValue {
  bool exception = false;
  std::string_view bytes;  ///< of an exception its text; else for AppendKeyValue()
};

/// Takes the next column's value off the front of `key`.
KeyValue TakeKeyValue(std::string_view& key);

/// Appends a value that is no exception to the builder of its column.
void AppendKeyValue(const KeyValue& value, arrow::ArrayBuilder& builder);

}  // namespace freshet::postgres
