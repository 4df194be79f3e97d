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

/// `expression` itself, or a cast of it: what yields values of `type` from a column of DuckDB type
/// `existing`. Null where a value does not fit exactly: 1.25 is no numeric(4,1), though DuckDB
/// would round it to one.
std::string AsType(const std::string& expression, const std::string& existing,
                   const change::LogicalType& type);

}  // namespace freshet::sink::duckdb
