#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "change/table_schema.h"
#include "sink/duckdb/database.h"
#include "sink/duckdb/table_appender.h"
#include "sink/sink.h"

namespace freshet::sink::duckdb {

/// The columns freshet adds behind the source's, as ChangelogFields() orders them.
enum class ExtraColumn : uint8_t {
  kOperation,
  kTimestamp,
  kIngestion,
  kLsn,
  kSeq,
  kXid,
  kExceptions,
  kUnchanged
};
inline constexpr size_t kExtraColumns = 8;

std::string_view ExtraName(ExtraColumn column);

/// The catalog's idea of a table.
struct TargetTable {
  struct Column {
    std::string name;
    std::string type;  ///< as DuckDbType() spells it
  };

  QualifiedName name;
  std::vector<Column> columns;
  bool exists = false;

  int IndexOf(std::string_view column_name) const;  ///< exact spelling; -1 when there is none
};

/// Which target column holds what: for every column of the target where its values come from.
struct ColumnMapping {
  std::vector<int> target_of;              ///< by source column
  std::vector<int> source_of;              ///< by target column; -1: none
  std::array<int, kExtraColumns> extra{};  ///< by ExtraColumn, the target column; -1: not kept
};

/// Finds the table that holds `source` in the file, under its own name or, where DuckDB cannot tell
/// names apart that PostgreSQL can (it ignores case), under that name and a suffix `_2`, `_3`, ...
Result<TargetTable> FindTarget(Connection& connection, const change::TableName& source);

/// What is to be run so that `table` can take rows of `schema`, and the mapping once it was.
///
/// Policies: sink.h. A column goes to the target column of its name; where that has a type its
/// values do not fit, or belongs to a name that differs by case only, to `name_2`, `name_3`, ...
/// So the mapping follows from catalog and schema alone, after a restart as well.
/// Errors: kUnsupported when the policy is kFail and the change is more than an added column.
struct Evolution {
  std::vector<std::string> statements;
  ColumnMapping mapping;
  TargetTable table;  ///< as it is after the statements
};
Result<Evolution> PlanEvolution(TargetTable table, const change::TableSchema& schema,
                                const SinkOptions& options);

/// The mapping of a table that is there already, for reading. Source columns that have no target
/// column map to -1.
ColumnMapping MapForReading(const TargetTable& table, const change::TableSchema& schema);

}  // namespace freshet::sink::duckdb
