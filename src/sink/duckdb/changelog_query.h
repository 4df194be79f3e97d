#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "change/table_schema.h"
#include "sink/duckdb/database.h"

namespace freshet::sink::duckdb {

/// A column's values as SQL over a table that goes by the name of `alias`.
using ColumnSql = std::function<std::string(std::string_view alias)>;

/// A changelog as SQL sees it.
struct ChangelogRelation {
  std::string table;               ///< quoted; a table, since rows are named by its rowid
  std::vector<ColumnSql> columns;  ///< by source column
  bool has_exceptions = false;     ///< there is a `_cdc_exceptions`

  /// The target columns' names, by source column; empty where there is none. For FillUnchanged().
  std::vector<std::string> names = {};
};

/// The SQL whose rows are what the changelog adds up to: the table's present rows, in the form
/// ScanSql() takes.
///
/// Rows are ordered by (`_cdc_lsn`, `_cdc_seq`). What stands before the last truncate is gone; of
/// each key the last image counts; a table without a key is the sum of its rows. Values that were
/// not sent come from the last image that had them, also under the row's former keys. A change that
/// stands there twice, which no changelog should have, is given once more, so that a comparison
/// finds it. Makes temporary tables, so the connection's transaction must stay open until the SQL
/// was run. Everything spills: memory does not grow with the changelog. `keys`: a table made by
/// StageKeys() the answer is limited to, or empty.
Result<std::string> FoldChangelog(Connection& connection, const ChangelogRelation& log,
                                  const change::TableSchema& schema, const std::string& keys);

/// Puts into rows with `_cdc_lsn` >= `from` the values that were not sent, from the row's last
/// change before, and takes the columns' names off `_cdc_unchanged`. A row that the changelog knows
/// nothing of before stays marked. Scans the key's columns once for each column and change of key.
Status FillUnchanged(Connection& connection, const ChangelogRelation& log,
                     const change::TableSchema& schema, uint64_t from);

}  // namespace freshet::sink::duckdb
