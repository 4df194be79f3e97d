#pragma once

#include <string>
#include <vector>

#include "change/table_schema.h"
#include "sink/duckdb/database.h"
#include "sink/read_back.h"

namespace freshet::sink::duckdb {

/// Runs `sql` and calls `visit` with its rows, some thousands at a time; they are not held
/// together.
///
/// Columns of the SQL: those of `schema`, in its order and DuckDB types, then `_cdc_exceptions` as
/// text. Errors: those of ErrorFrom(), and what `visit` returns.
Status ScanSql(Connection& connection, const std::string& sql, const change::TableSchema& schema,
               const ReadBack::Visit& visit);

/// Puts the keys a scan is limited to into a temporary table of columns k0, k1, ..., in the order
/// of schema.key_columns(). Returns its SQL name.
Result<std::string> StageKeys(Connection& connection, const change::TableSchema& schema,
                              const arrow::RecordBatch& keys);

/// "CAST(NULL AS type)", `expression` itself, or a cast of it that gives null where a value does
/// not fit: whatever yields values of `type` from a column of DuckDB type `existing`.
std::string AsType(const std::string& expression, const std::string& existing,
                   const change::LogicalType& type);

}  // namespace freshet::sink::duckdb
