#include "sink/duckdb/target_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/duckdb/column_type.h"

namespace freshet::sink::duckdb {
namespace {

/// More columns or tables of one name than anybody has.
constexpr int kMostSuffixes = 1'000;

/// DuckDB compares names without regard to the case of ASCII letters.
bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string Suffixed(std::string_view name, int number) {
  return number == 1 ? std::string(name) : fmt::format("{}_{}", name, number);
}

/// The name `wanted` is, or would get, among `existing` names.
std::string ResolveName(std::string_view wanted, const std::vector<std::string>& existing) {
  for (int number = 1; number < kMostSuffixes; ++number) {
    const std::string candidate = Suffixed(wanted, number);
    const auto taken = std::find_if(existing.begin(), existing.end(), [&](const std::string& name) {
      return SameName(name, candidate);
    });
    if (taken == existing.end() || *taken == candidate) return candidate;
  }
  return Suffixed(wanted, kMostSuffixes);
}

Result<std::vector<std::string>> FirstColumn(Connection& connection, const std::string& sql) {
  FRESHET_TRY(const auto rows, connection.QueryText(sql));
  std::vector<std::string> out;
  for (const Connection::Row& row : rows) out.push_back(row.at(0).value_or(""));
  return out;
}

bool ContainsName(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Names that no source column gets: those of our own columns, and the one by which DuckDB tells
/// rows apart.
bool IsTaken(std::string_view name) {
  if (SameName(name, "rowid")) return true;
  for (size_t i = 0; i < kExtraColumns; ++i) {
    if (SameName(name, ExtraName(static_cast<ExtraColumn>(i)))) return true;
  }
  return false;
}

std::vector<ExtraColumn> ExtrasOf(const SinkOptions& options) {
  std::vector<ExtraColumn> out;
  if (options.mode == WriteMode::kAppend) {
    out = {ExtraColumn::kOperation, ExtraColumn::kTimestamp, ExtraColumn::kIngestion,
           ExtraColumn::kLsn,       ExtraColumn::kSeq,       ExtraColumn::kXid};
  }
  if (options.exceptions == ExceptionPolicy::kKeepText) out.push_back(ExtraColumn::kExceptions);
  if (options.mode == WriteMode::kAppend) out.push_back(ExtraColumn::kUnchanged);
  return out;
}

std::string_view ExtraSqlType(ExtraColumn column) {
  switch (column) {
    case ExtraColumn::kOperation:
      return "VARCHAR";
    case ExtraColumn::kTimestamp:
    case ExtraColumn::kIngestion:
      return "TIMESTAMP WITH TIME ZONE";
    case ExtraColumn::kLsn:
      return "UBIGINT";
    case ExtraColumn::kSeq:
    case ExtraColumn::kXid:
      return "BIGINT";
    case ExtraColumn::kExceptions:
    case ExtraColumn::kUnchanged:
      break;
  }
  return "JSON";
}

/// Where a source column's values go.
struct Place {
  int target = -1;     ///< an existing column
  bool widen = false;  ///< which needs the wider type first
  std::string name;    ///< else: a new column of this name
};

Place FindPlace(const TargetTable& table, const std::vector<bool>& claimed,
                const change::TableSchema& schema, const change::Column& column) {
  for (int number = 1; number < kMostSuffixes; ++number) {
    const std::string candidate = Suffixed(column.name, number);
    if (IsTaken(candidate)) continue;
    if (number > 1 && schema.IndexOf(candidate) >= 0) continue;  // another column's own name
    const auto same = std::find_if(table.columns.begin(), table.columns.end(),
                                   [&](const auto& c) { return SameName(c.name, candidate); });
    if (same == table.columns.end()) return {.name = candidate};
    const auto index = static_cast<size_t>(same - table.columns.begin());
    if (same->name != candidate || claimed[index]) continue;
    const TypeFit fit = FitType(same->type, column.type);
    if (fit == TypeFit::kNeither) continue;
    return {.target = static_cast<int>(index), .widen = fit == TypeFit::kWiden, .name = ""};
  }
  return {.name = Suffixed(column.name, kMostSuffixes)};
}

std::string CreateSql(const TargetTable& table) {
  std::string columns;
  for (const TargetTable::Column& column : table.columns) {
    if (!columns.empty()) columns += ", ";
    columns += QuoteName(column.name) + " " + column.type;
  }
  return fmt::format("CREATE TABLE {} ({})", table.name.Sql(), columns);
}

}  // namespace

std::string_view ExtraName(ExtraColumn column) {
  static constexpr std::string_view kNames[kExtraColumns] = {
      kOperationColumn, kTimestampColumn, kIngestionColumn,  kLsnColumn,
      kSeqColumn,       kXidColumn,       kExceptionsColumn, kUnchangedColumn};
  return kNames[static_cast<size_t>(column)];
}

int TargetTable::IndexOf(std::string_view column_name) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column_name) return static_cast<int>(i);
  }
  return -1;
}

Result<TargetTable> FindTarget(Connection& connection, const change::TableName& source) {
  TargetTable out;
  FRESHET_TRY(const auto catalog, FirstColumn(connection, "SELECT current_catalog()"));
  out.name.catalog = catalog.at(0);
  const std::string in_catalog = fmt::format("database_name = {}", QuoteText(out.name.catalog));
  FRESHET_TRY(
      const auto schemas,
      FirstColumn(connection, "SELECT schema_name FROM duckdb_schemas() WHERE " + in_catalog));
  out.name.schema = ResolveName(source.schema, schemas);
  out.name.table = source.table;
  if (!ContainsName(schemas, out.name.schema)) return out;

  const std::string in_schema =
      fmt::format("{} AND schema_name = {}", in_catalog, QuoteText(out.name.schema));
  FRESHET_TRY(auto tables,
              FirstColumn(connection, "SELECT table_name FROM duckdb_tables() WHERE " + in_schema));
  if (out.name.schema == "freshet") {
    // Our own table: the name is taken, whatever its spelling.
    std::replace(tables.begin(), tables.end(), std::string("positions"), std::string("POSITIONS"));
  }
  out.name.table = ResolveName(source.table, tables);
  out.exists = ContainsName(tables, out.name.table);
  if (!out.exists) return out;
  FRESHET_TRY(
      const auto columns,
      connection.QueryText(fmt::format(
          "SELECT column_name, data_type FROM duckdb_columns() WHERE {} AND table_name = {} "
          "ORDER BY column_index",
          in_schema, QuoteText(out.name.table))));
  for (const Connection::Row& row : columns) {
    out.columns.push_back({.name = row.at(0).value_or(""), .type = row.at(1).value_or("")});
  }
  return out;
}

Result<Evolution> PlanEvolution(TargetTable table, const change::TableSchema& schema,
                                const SinkOptions& options) {
  Evolution out;
  const bool created = !table.exists;
  const bool strict = options.schema_changes == SchemaChangePolicy::kFail && !created;
  const auto refuse = [&](std::string_view what, std::string_view column) {
    return Fail(ErrorKind::kUnsupported,
                "table {}: column {} was {} in the source, and schema_changes is 'fail': change "
                "the target by hand, or set schema_changes to 'evolve'",
                change::ToString(schema.name()), column, what);
  };
  std::vector<bool> claimed(table.columns.size(), false);
  const auto add = [&](const std::string& name, const std::string& type) {
    if (!created) {
      out.statements.push_back(
          fmt::format("ALTER TABLE {} ADD COLUMN {} {}", table.name.Sql(), QuoteName(name), type));
    }
    table.columns.push_back({.name = name, .type = type});
    claimed.push_back(true);
    return static_cast<int>(table.columns.size()) - 1;
  };
  for (const change::Column& column : schema.columns()) {
    const Place place = FindPlace(table, claimed, schema, column);
    if (place.target < 0) {
      if (strict && place.name != column.name) return refuse("changed in type", column.name);
      out.mapping.target_of.push_back(add(place.name, DuckDbType(column.type)));
      continue;
    }
    auto& target = table.columns[static_cast<size_t>(place.target)];
    claimed[static_cast<size_t>(place.target)] = true;
    out.mapping.target_of.push_back(place.target);
    if (strict && target.type != DuckDbType(column.type)) {
      return refuse("changed in type", column.name);
    }
    if (!place.widen) continue;
    target.type = DuckDbType(column.type);
    out.statements.push_back(fmt::format("ALTER TABLE {} ALTER COLUMN {} TYPE {}", table.name.Sql(),
                                         QuoteName(target.name), target.type));
  }
  out.mapping.extra.fill(-1);
  for (const ExtraColumn extra : ExtrasOf(options)) {
    const std::string name(ExtraName(extra));
    const int index = table.IndexOf(name);
    out.mapping.extra[static_cast<size_t>(extra)] =
        index >= 0 ? index : add(name, std::string(ExtraSqlType(extra)));
  }
  if (strict) {
    for (size_t i = 0; i < table.columns.size(); ++i) {
      const std::string& name = table.columns[i].name;
      if (!claimed[i] && !IsTaken(name)) return refuse("dropped or renamed", name);
    }
  }
  out.mapping.source_of.assign(table.columns.size(), -1);
  for (size_t i = 0; i < out.mapping.target_of.size(); ++i) {
    out.mapping.source_of[static_cast<size_t>(out.mapping.target_of[i])] = static_cast<int>(i);
  }
  if (created) {
    out.statements.push_back(fmt::format("CREATE SCHEMA IF NOT EXISTS {}.{}",
                                         QuoteName(table.name.catalog),
                                         QuoteName(table.name.schema)));
    out.statements.push_back(CreateSql(table));
    table.exists = true;
  }
  out.table = std::move(table);
  return out;
}

ColumnMapping MapForReading(const TargetTable& table, const change::TableSchema& schema) {
  ColumnMapping out;
  std::vector<bool> claimed(table.columns.size(), false);
  for (const change::Column& column : schema.columns()) {
    const Place place = FindPlace(table, claimed, schema, column);
    out.target_of.push_back(place.target);
    if (place.target >= 0) claimed[static_cast<size_t>(place.target)] = true;
  }
  out.extra.fill(-1);
  for (size_t i = 0; i < kExtraColumns; ++i) {
    out.extra[i] = table.IndexOf(ExtraName(static_cast<ExtraColumn>(i)));
  }
  return out;
}

}  // namespace freshet::sink::duckdb
