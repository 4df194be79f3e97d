#pragma once

#include <functional>

#include "base/result.h"
#include "sink/duckdb/database.h"
#include "sink/duckdb/target_table.h"
#include "sink/duckdb/upsert_run.h"

namespace freshet::sink::duckdb {

/// The mapping of one of a run's schemas to the target's columns.
using MappingOf = std::function<const ColumnMapping&(const change::TableSchema&)>;

/// Applies a collapsed run to its target table, within the connection's transaction.
///
/// Order: values that were not sent are read from the target, rows are deleted, rows are added. The
/// target has no index: DELETE with a join and plain appends are the fastest pair measured
/// (docs/adr/0042). Returns whether rows were deleted, which a later ALTER in the same transaction
/// does not stand. Errors: those of ErrorFrom(); kUnsupported when a key cannot be told apart
/// because its exact text is not kept.
Result<bool> ApplyRun(Connection& connection, const TargetTable& table, const UpsertRun& run,
                      const MappingOf& mapping_of);

}  // namespace freshet::sink::duckdb
