#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"

namespace arrow {
class RecordBatch;
}

namespace freshet::sink {

/// Reads a target's tables back, so that `freshet verify` can compare them with the source.
///
/// Reads what is committed at the time of each call, beside a running sink where the target allows
/// it. Threads: one.
class ReadBack {
 public:
  /// Gets rows; returns an error to end the scan. `rows` has the columns of the schema asked for,
  /// in its order and Arrow types, then `_cdc_exceptions` (utf8, JSON object of column to exact
  /// text, null where there are none).
  using Visit = std::function<Status(const arrow::RecordBatch& rows)>;

  virtual ~ReadBack() = default;

  /// Calls `visit` with the table's present rows: for mode upsert the target table, for mode append
  /// what its changelog adds up to. `keys`, when not empty, limits the scan to rows with one of
  /// these keys, given as a batch of the key columns. Errors: kNotFound when the target has no such
  /// table.
  virtual Status Scan(const change::TableSchema& schema,
                      const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) = 0;
};

}  // namespace freshet::sink
