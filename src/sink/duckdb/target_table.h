#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "change/table_schema.h"
#include "sink/duckdb/database.h"
#include "sink/duckdb/table_appender.h"
#include "sink/sink.h"

namespace arrow {
class Array;
}

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

/// What a sink remembers in the file of its tables' columns, so that it knows them again by the
/// source's numbers when names change. Written in the transaction that changes the table.
inline constexpr std::string_view kColumnsTable = "freshet.columns";
std::string CreateColumnsTableSql();

/// A table of the file: the catalog's idea of it, and what is remembered of its columns.
struct TargetTable {
  struct Column {
    std::string name;
    std::string type;         ///< as DuckDbType() spells it
    std::string source = {};  ///< the source's column it holds or held; empty: none, or not known
    int16_t attnum = 0;       ///< of that column; 0: not known
    bool key = false;         ///< that column identified a row
    bool remembered = false;

    bool operator==(const Column&) const = default;
  };

  QualifiedName name;
  std::vector<Column> columns;
  bool exists = false;

  change::TableName source = {};  ///< that it was filled under last; empty when not remembered
  bool recreated = false;         ///< the source has another table under that name now
  QualifiedName wanted = {};      ///< the name it should have; differs when the source renamed it

  /// Another source table's, which stands in the place of `wanted`: that table has another name by
  /// now, which is not known until it is written to.
  std::optional<QualifiedName> in_the_way = {};

  int IndexOf(std::string_view column_name) const;  ///< exact spelling; -1 when there is none
};

/// Which target column holds what: for every column of the target where its values come from.
struct ColumnMapping {
  std::vector<int> target_of;              ///< by source column; -1: not carried over
  std::vector<int> source_of;              ///< by target column; -1: none
  std::array<int, kExtraColumns> extra{};  ///< by ExtraColumn, the target column; -1: not kept

  /// A value that stands in every row of this version, which is from before the column was added.
  struct Fill {
    std::shared_ptr<arrow::Array> value = {};  ///< one; null: there is none
    change::LogicalType type = {};
  };
  std::vector<Fill> fill = {};  ///< by target column; may be shorter

  int source_at(size_t target) const { return target < source_of.size() ? source_of[target] : -1; }
  const Fill* fill_at(size_t target) const {
    return target < fill.size() && fill[target].value != nullptr ? &fill[target] : nullptr;
  }
};

/// Finds the table that holds the source's table `id`, by what is remembered; else by its name, or
/// where DuckDB cannot tell names apart that PostgreSQL can (it ignores case), by that name and a
/// suffix `_2`, `_3`, ...
Result<TargetTable> FindTarget(Connection& connection, const change::TableName& source,
                               change::TableId id);

/// What is to be run so that `table` can take rows of `schema`, and the mapping once it was.
struct Evolution {
  /// A column that is new to rows which are there already, and not null in them.
  struct Fill {
    size_t target = 0;
    size_t statement = 0;   ///< its ADD COLUMN, which a DEFAULT may be appended to
    change::Column column;  ///< with a missing_value
  };

  std::vector<std::string> statements;
  ColumnMapping mapping;
  TargetTable table;        ///< as it is after the statements
  std::vector<Fill> fills;  ///< columns that were added, to be filled
  bool adds_only = true;    ///< the statements add columns and do nothing else
  bool remembers = false;   ///< what is remembered of the table changes: run RememberSql()
  bool updates = false;     ///< and change rows, last of all
  bool empties = false;     ///< rows from before belong to a table that is no more
};

/// Plans what docs/schema_changes.md says. A column goes to the target column that is remembered by
/// its attnum, else to the one of its name; where that has a type its values do not fit, or belongs
/// to another column, to `name_2`, `name_3`, ... So the mapping follows from the file and the
/// schema alone, after a restart as well.
/// Errors: kUnsupported when a change meets the policy kFail, or would leave a key without a
/// column.
Result<Evolution> PlanEvolution(TargetTable table, const change::TableSchema& schema,
                                const SinkOptions& options);

/// What a file whose catalog is called `catalog`, and which has followed a table through
/// `versions`, is to run for the last of them. Errors: those of PlanEvolution().
Result<std::vector<std::string>> ForeseeEvolution(const std::string& catalog,
                                                  const TableVersions& versions,
                                                  const SinkOptions& options);

/// The statements by which the file remembers `table`, which holds the source table `id`.
std::vector<std::string> RememberSql(const TargetTable& table, change::TableId id);

/// The mapping of a table that is there already, for reading. Source columns that have no target
/// column map to -1.
ColumnMapping MapForReading(const TargetTable& table, const change::TableSchema& schema);

}  // namespace freshet::sink::duckdb
