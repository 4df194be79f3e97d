#pragma once

#include <memory>
#include <vector>

#include "change/table_schema.h"
#include "sink/read_back.h"
#include "verify/side.h"

namespace freshet::verify {

/// A table in a target, its values rendered as PostgreSQL would write them (render.h).
///
/// A value that the target keeps in `_cdc_exceptions` is taken by that text. A table that the
/// target has not made yet is an empty one. `read_back` and `schema` outlive this object.
/// Errors: those of the target; kMalformed when it returns other columns than asked for.
class TargetSide final : public Side {
 public:
  TargetSide(sink::ReadBack& read_back, const change::TableSchema& schema);

  Status ReadAll(const Visit& visit) override;
  Status ReadKeys(const std::vector<Key>& keys, const Visit& visit) override;

 private:
  Status Scan(const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit);

  sink::ReadBack& read_back_;
  const change::TableSchema& schema_;
};

/// Calls `visit` for each row of `batch`, which has the columns of `schema` and `_cdc_exceptions`.
Status VisitRows(const change::TableSchema& schema, const arrow::RecordBatch& batch,
                 const Side::Visit& visit);

/// `keys` as a batch of the key columns of `schema`. Errors: kMalformed for text that is no value
/// of its column.
Result<std::shared_ptr<arrow::RecordBatch>> KeysAsBatch(const change::TableSchema& schema,
                                                        const std::vector<Key>& keys);

}  // namespace freshet::verify
