#include "sink/duckdb/target_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/duckdb/column_type.h"
#include "sink/duckdb/json_names.h"

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
  int target = -1;          ///< an existing column
  bool widen = false;       ///< which needs the wider type first
  std::string name = {};    ///< else: a new column of this name
  bool namesake = false;    ///< a dropped column of its name is kept beside it
  bool anew = false;        ///< the column of that name holds a dropped one: it is made anew
  bool other_type = false;  ///< it has a column, whose type does not fit
};

/// The column that is remembered to hold `column`; -1 when none is.
int FindByNumber(const TargetTable& table, const std::vector<bool>& claimed,
                 const change::Column& column) {
  if (column.attnum <= 0) return -1;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (!claimed[i] && table.columns[i].attnum == column.attnum) return static_cast<int>(i);
  }
  return -1;
}

/// `may_replace`: a dropped column's place may be taken by a later one of its name.
Place FindPlace(const TargetTable& table, const std::vector<bool>& claimed,
                const change::TableSchema& schema, const change::Column& column, bool may_replace) {
  Place place;
  if (const int index = FindByNumber(table, claimed, column); index >= 0) {
    const TypeFit fit = FitType(table.columns[static_cast<size_t>(index)].type, column.type);
    place.target = index;
    place.widen = fit == TypeFit::kWiden;
    if (fit != TypeFit::kNeither) return place;
    place = {.other_type = true};
  }
  for (int number = 1; number < kMostSuffixes; ++number) {
    place.name = Suffixed(column.name, number);
    if (IsTaken(place.name)) continue;
    if (number > 1 && schema.IndexOf(place.name) >= 0) continue;  // another column's own name
    const auto same = std::find_if(table.columns.begin(), table.columns.end(),
                                   [&](const auto& c) { return SameName(c.name, place.name); });
    if (same == table.columns.end()) return place;
    const auto index = static_cast<size_t>(same - table.columns.begin());
    if (same->name != place.name || claimed[index]) continue;
    if (same->remembered && same->source.empty()) continue;  // values of a former type
    if (same->attnum > 0 && column.attnum > 0) {
      if (same->attnum == column.attnum) continue;  // its own, and of another type
      if (!may_replace) {
        place.namesake = place.namesake || number == 1;
        continue;
      }
      place.anew = true;
      return place;
    }
    const TypeFit fit = FitType(same->type, column.type);
    if (fit == TypeFit::kNeither) {
      place.other_type = place.other_type || number == 1;
      continue;
    }
    return {.target = static_cast<int>(index), .widen = fit == TypeFit::kWiden, .name = ""};
  }
  return place;
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

std::string CreateColumnsTableSql() {
  return fmt::format(
      "CREATE TABLE IF NOT EXISTS {} (target_schema VARCHAR, target_table VARCHAR, target_column "
      "VARCHAR, table_id UINTEGER, source_schema VARCHAR, source_table VARCHAR, source_column "
      "VARCHAR, attnum SMALLINT, is_key BOOLEAN)",
      kColumnsTable);
}

namespace {

/// A table that is remembered: its name here, and the source's table it holds.
struct Memory {
  QualifiedName target;
  change::TableName source;
  uint32_t id = 0;
};

/// What is remembered of the table `id`, and of tables that were filled under the name `source`.
Result<std::vector<Memory>> Recall(Connection& connection, const std::string& catalog,
                                   const change::TableName& source, change::TableId id) {
  FRESHET_TRY(const auto there,
              connection.QueryText(fmt::format(
                  "SELECT '' FROM duckdb_tables() WHERE database_name = {} AND schema_name = "
                  "'freshet' AND table_name = 'columns'",
                  QuoteText(catalog))));
  if (there.empty()) return std::vector<Memory>();  // an older file
  FRESHET_TRY(const auto rows,
              connection.QueryText(fmt::format(
                  "SELECT DISTINCT target_schema, target_table, source_schema, source_table, "
                  "table_id::VARCHAR FROM {} WHERE table_id = {} OR (source_schema = {} AND "
                  "source_table = {})",
                  kColumnsTable, id.value, QuoteText(source.schema), QuoteText(source.table))));
  std::vector<Memory> out;
  for (const Connection::Row& row : rows) {
    out.push_back({.target = {catalog, row.at(0).value_or(""), row.at(1).value_or("")},
                   .source = {row.at(2).value_or(""), row.at(3).value_or("")},
                   .id = static_cast<uint32_t>(std::stoul(row.at(4).value_or("0")))});
  }
  return out;
}

Status ReadColumns(Connection& connection, TargetTable& table) {
  FRESHET_TRY(
      const auto columns,
      connection.QueryText(fmt::format(
          "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = {} AND "
          "schema_name = {} AND table_name = {} ORDER BY column_index",
          QuoteText(table.name.catalog), QuoteText(table.name.schema),
          QuoteText(table.name.table))));
  for (const Connection::Row& row : columns) {
    table.columns.push_back({.name = row.at(0).value_or(""), .type = row.at(1).value_or("")});
  }
  if (table.source == change::TableName{}) return {};
  FRESHET_TRY(
      const auto remembered,
      connection.QueryText(fmt::format(
          "SELECT target_column, source_column, attnum::VARCHAR, is_key::VARCHAR FROM {} WHERE "
          "target_schema = {} AND target_table = {}",
          kColumnsTable, QuoteText(table.name.schema), QuoteText(table.name.table))));
  for (const Connection::Row& row : remembered) {
    const int index = table.IndexOf(row.at(0).value_or(""));
    if (index < 0) continue;  // dropped by hand
    TargetTable::Column& column = table.columns[static_cast<size_t>(index)];
    column.source = row.at(1).value_or("");
    column.attnum = static_cast<int16_t>(std::stoi(row.at(2).value_or("0")));
    column.key = row.at(3).value_or("") == "true";
    column.remembered = true;
  }
  return {};
}

/// Tables of a schema by name. Our own are taken, whatever their spelling.
Result<std::vector<std::string>> TablesOf(Connection& connection, const QualifiedName& name) {
  FRESHET_TRY(auto tables,
              FirstColumn(connection,
                          fmt::format("SELECT table_name FROM duckdb_tables() WHERE database_name "
                                      "= {} AND schema_name = {}",
                                      QuoteText(name.catalog), QuoteText(name.schema))));
  if (name.schema == "freshet") {
    std::replace(tables.begin(), tables.end(), std::string("positions"), std::string("POSITIONS"));
    std::replace(tables.begin(), tables.end(), std::string("columns"), std::string("COLUMNS"));
  }
  return tables;
}

}  // namespace

Result<TargetTable> FindTarget(Connection& connection, const change::TableName& source,
                               change::TableId id) {
  TargetTable out;
  FRESHET_TRY(const auto catalog, FirstColumn(connection, "SELECT current_catalog()"));
  out.name.catalog = catalog.at(0);
  FRESHET_TRY(const auto schemas,
              FirstColumn(connection, fmt::format("SELECT schema_name FROM duckdb_schemas() WHERE "
                                                  "database_name = {}",
                                                  QuoteText(out.name.catalog))));
  out.name.schema = ResolveName(source.schema, schemas);
  out.name.table = source.table;
  std::vector<std::string> tables;
  if (ContainsName(schemas, out.name.schema)) {
    FRESHET_TRY(tables, TablesOf(connection, out.name));
  }
  FRESHET_TRY(const auto memories, Recall(connection, out.name.catalog, source, id));
  const auto own = std::find_if(memories.begin(), memories.end(), [&](const Memory& memory) {
    return id.value != 0 && memory.id == id.value;
  });
  const auto namesake = std::find_if(memories.begin(), memories.end(), [&](const Memory& memory) {
    return memory.source == source && (own == memories.end() || !(memory.target == own->target));
  });
  if (own != memories.end() && own->source != source) {
    // Renamed in the source. Nothing else may stand in its place but a table that was renamed too.
    out.wanted = out.name;
    if (namesake != memories.end() && ContainsName(tables, namesake->target.table)) {
      out.wanted.table = namesake->target.table;
      out.in_the_way = namesake->target;
    } else {
      out.wanted.table = ResolveName(source.table, tables);
    }
    // Another spelling of its own name is none to DuckDB.
    if (out.wanted.schema == own->target.schema && SameName(own->target.table, source.table)) {
      out.wanted = own->target;
    }
    out.name = own->target;
    out.source = own->source;
    FRESHET_TRY(tables, TablesOf(connection, out.name));
    out.exists = ContainsName(tables, out.name.table);
    if (!out.exists) out.name = out.wanted;
  } else {
    const Memory* known = nullptr;
    if (own != memories.end()) {
      known = &*own;
    } else if (namesake != memories.end()) {
      known = &*namesake;
      out.recreated = id.value != 0 && known->id != 0;
    }
    if (known != nullptr) {
      out.name = known->target;
      out.source = known->source;
      FRESHET_TRY(tables, TablesOf(connection, out.name));
    } else {
      out.name.table = ResolveName(source.table, tables);
    }
    out.exists = ContainsName(tables, out.name.table);
    out.wanted = out.name;
  }
  if (out.exists) FRESHET_RETURN_IF_ERROR(ReadColumns(connection, out));
  return out;
}

namespace {

class Planner {
 public:
  Planner(TargetTable table, const change::TableSchema& schema, const SinkOptions& options)
      : table_(std::move(table)), before_(table_), schema_(schema), options_(options) {}

  Result<Evolution> Plan() {
    created_ = !table_.exists;
    if (table_.recreated) FRESHET_RETURN_IF_ERROR(Recreate());
    if (!(table_.wanted == table_.name)) FRESHET_RETURN_IF_ERROR(RenameTable());
    claimed_.assign(table_.columns.size(), false);
    FRESHET_RETURN_IF_ERROR(CheckKey());
    FRESHET_RETURN_IF_ERROR(RenameColumns());
    for (const change::Column& column : schema_.columns()) {
      FRESHET_RETURN_IF_ERROR(PlaceColumn(column));
    }
    AddExtras();
    FRESHET_RETURN_IF_ERROR(CheckDropped());
    RenameInJson();
    out_.mapping.source_of.assign(table_.columns.size(), -1);
    for (size_t i = 0; i < out_.mapping.target_of.size(); ++i) {
      const int target = out_.mapping.target_of[i];
      if (target >= 0) out_.mapping.source_of[static_cast<size_t>(target)] = static_cast<int>(i);
    }
    if (created_) {
      Run("CREATE SCHEMA IF NOT EXISTS {}.{}", QuoteName(table_.name.catalog),
          QuoteName(table_.name.schema));
      out_.statements.push_back(CreateSql(table_));
      table_.exists = true;
    }
    table_.source = schema_.name();
    out_.remembers = table_.recreated || table_.source != before_.source ||
                     table_.columns != before_.columns || !(table_.name == before_.name);
    table_.recreated = false;
    out_.table = std::move(table_);
    return std::move(out_);
  }

 private:
  template <typename... Args>
  void Run(fmt::format_string<Args...> sql, Args&&... args) {
    out_.statements.push_back(fmt::format(sql, std::forward<Args>(args)...));
  }

  SchemaChangePolicy PolicyOf(SchemaChange change) const {
    return options_.schema_changes.Of(change);
  }

  tl::unexpected<Error> Refuse(SchemaChange change, std::string_view what) const {
    return Fail(ErrorKind::kUnsupported,
                "table {}: {} in the source, and schema_changes is 'fail' for {}: change the "
                "target by hand, or set the policy to 'evolve' or 'ignore'",
                change::ToString(schema_.name()), what, SchemaChangeName(change));
  }

  /// Another table stands under the name now: the rows from before are not its.
  Status Recreate() {
    switch (PolicyOf(SchemaChange::kRecreateTable)) {
      case SchemaChangePolicy::kFail:
        return Refuse(SchemaChange::kRecreateTable, "it was dropped and made anew");
      case SchemaChangePolicy::kIgnore:
        break;
      case SchemaChangePolicy::kEvolve:
        out_.empties = true;
        out_.adds_only = false;
        if (options_.mode == WriteMode::kAppend) break;  // a truncate in the changelog says it
        Run("DROP TABLE {}", table_.name.Sql());
        table_.columns.clear();
        created_ = true;
        break;
    }
    for (TargetTable::Column& column : table_.columns) column.attnum = 0;  // numbers of the former
    return {};
  }

  Status RenameTable() {
    switch (PolicyOf(SchemaChange::kRenameTable)) {
      case SchemaChangePolicy::kFail:
        return Refuse(SchemaChange::kRenameTable,
                      fmt::format("it was {} before", change::ToString(table_.source)));
      case SchemaChangePolicy::kIgnore:
        table_.in_the_way.reset();
        table_.wanted = table_.name;
        return {};
      case SchemaChangePolicy::kEvolve:
        break;
    }
    out_.adds_only = false;
    if (table_.name.schema == table_.wanted.schema) {
      Run("ALTER TABLE {} RENAME TO {}", table_.name.Sql(), QuoteName(table_.wanted.table));
    } else {  // which DuckDB has no ALTER for
      Run("CREATE SCHEMA IF NOT EXISTS {}.{}", QuoteName(table_.wanted.catalog),
          QuoteName(table_.wanted.schema));
      Run("CREATE TABLE {} AS FROM {}", table_.wanted.Sql(), table_.name.Sql());
      Run("DROP TABLE {}", table_.name.Sql());
    }
    table_.name = table_.wanted;
    return {};
  }

  Status CheckKey() const {
    if (created_ || PolicyOf(SchemaChange::kChangeKey) != SchemaChangePolicy::kFail) return {};
    const auto in_key = [&](const TargetTable::Column& column) {
      const auto& keys = schema_.key_columns();
      return std::any_of(keys.begin(), keys.end(), [&](int k) {
        const change::Column& key = schema_.columns()[static_cast<size_t>(k)];
        return key.attnum > 0 && column.attnum > 0 ? key.attnum == column.attnum
                                                   : key.name == column.source;
      });
    };
    const bool other = std::any_of(
        table_.columns.begin(), table_.columns.end(),
        [&](const TargetTable::Column& c) { return c.remembered && c.key != in_key(c); });
    if (other) return Refuse(SchemaChange::kChangeKey, "other columns identify a row");
    return {};
  }

  /// Gives columns the names they have in the source now. All at once, since they may change names
  /// among them.
  Status RenameColumns() {
    std::vector<std::pair<size_t, std::string>> renames;
    for (const change::Column& column : schema_.columns()) {
      const int index = FindByNumber(table_, claimed_, column);
      if (index < 0) continue;
      TargetTable::Column& target = table_.columns[static_cast<size_t>(index)];
      if (target.source == column.name) continue;
      switch (PolicyOf(SchemaChange::kRenameColumn)) {
        case SchemaChangePolicy::kFail:
          return Refuse(SchemaChange::kRenameColumn,
                        fmt::format("column {} was renamed to {}", target.source, column.name));
        case SchemaChangePolicy::kIgnore:
          break;
        case SchemaChangePolicy::kEvolve:
          renames.emplace_back(static_cast<size_t>(index), column.name);
          break;
      }
      renamed_.emplace_back(target.source, column.name);
      target.source = column.name;
    }
    if (renames.empty()) return {};
    out_.adds_only = false;
    const auto rename = [&](size_t index, const std::string& name) {
      TargetTable::Column& column = table_.columns[index];
      if (column.name == name) return;
      Run("ALTER TABLE {} RENAME COLUMN {} TO {}", table_.name.Sql(), QuoteName(column.name),
          QuoteName(name));
      column.name = name;
    };
    if (renames.size() > 1) {
      for (const auto& [index, name] : renames) {
        rename(index, fmt::format("freshet_renamed_{}", index));
      }
    }
    for (const auto& [index, name] : renames) rename(index, FreeName(name, index));
    return {};
  }

  /// `wanted`, or with a suffix where another column than `self` has it.
  std::string FreeName(const std::string& wanted, size_t self) const {
    for (int number = 1; number < kMostSuffixes; ++number) {
      std::string candidate = Suffixed(wanted, number);
      bool free = !IsTaken(candidate) && (number == 1 || schema_.IndexOf(candidate) < 0);
      for (size_t i = 0; free && i < table_.columns.size(); ++i) {
        free = i == self || !SameName(table_.columns[i].name, candidate);
      }
      if (free) return candidate;
    }
    return Suffixed(wanted, kMostSuffixes);
  }

  Status PlaceColumn(const change::Column& column) {
    const bool may_replace = options_.mode == WriteMode::kUpsert;
    const Place place = FindPlace(table_, claimed_, schema_, column, may_replace);
    const std::string type = DuckDbType(column.type);
    const SchemaChangePolicy retype = PolicyOf(SchemaChange::kChangeType);
    if (place.target >= 0) {
      auto& target = table_.columns[static_cast<size_t>(place.target)];
      const bool differs = !created_ && target.type != type;
      if (differs && retype == SchemaChangePolicy::kFail) {
        return Refuse(SchemaChange::kChangeType,
                      fmt::format("column {} was changed in type", column.name));
      }
      if (place.widen && retype == SchemaChangePolicy::kIgnore) return LeaveOut(column);
      Claim(place.target, column);
      if (!place.widen) return {};
      out_.adds_only = false;
      target.type = type;
      Run("ALTER TABLE {} ALTER COLUMN {} TYPE {}", table_.name.Sql(), QuoteName(target.name),
          target.type);
      return {};
    }
    const SchemaChange change =
        place.other_type ? SchemaChange::kChangeType : SchemaChange::kAddColumn;
    if (!created_) {
      if (PolicyOf(change) == SchemaChangePolicy::kIgnore) return LeaveOut(column);
      if (PolicyOf(change) == SchemaChangePolicy::kFail) {
        return Refuse(change, fmt::format("column {} was {}", column.name,
                                          place.other_type ? "changed in type" : "added"));
      }
      if (place.anew) {
        DropColumn(place.name);
        renamed_.emplace_back(column.name, "");
      }
      if (place.namesake) renamed_.emplace_back(column.name, column.name + "_dropped");
      // What is left behind holds values of another type, or of a column that is no more.
      if (const int former = FindByNumber(table_, claimed_, column); former >= 0) {
        table_.columns[static_cast<size_t>(former)].attnum = 0;
        table_.columns[static_cast<size_t>(former)].source.clear();
      }
    }
    const bool fills = !created_ && !place.other_type && column.missing_value.has_value();
    const int added = Add(place.name, type);
    Claim(added, column);
    if (fills) {
      out_.fills.push_back({.target = static_cast<size_t>(added),
                            .statement = out_.statements.size() - 1,
                            .column = column});
    }
    return {};
  }

  void Claim(int target, const change::Column& column) {
    claimed_[static_cast<size_t>(target)] = true;
    out_.mapping.target_of.push_back(target);
    auto& of = table_.columns[static_cast<size_t>(target)];
    of.source = column.name;
    if (column.attnum > 0) of.attnum = column.attnum;  // else as it was: the message was older
    of.remembered = true;
    const auto& keys = schema_.key_columns();
    const auto index = static_cast<int>(&column - schema_.columns().data());
    of.key = std::find(keys.begin(), keys.end(), index) != keys.end();
  }

  /// The target stays without the column's values.
  Status LeaveOut(const change::Column& column) {
    const auto& keys = schema_.key_columns();
    const auto index = static_cast<int>(&column - schema_.columns().data());
    if (std::find(keys.begin(), keys.end(), index) != keys.end()) {
      return Fail(ErrorKind::kUnsupported,
                  "table {}: column {} identifies a row, so its change cannot be ignored: set "
                  "schema_changes to 'evolve' for its class",
                  change::ToString(schema_.name()), column.name);
    }
    out_.mapping.target_of.push_back(-1);
    return {};
  }

  int Add(const std::string& name, const std::string& type) {
    if (!created_) {
      Run("ALTER TABLE {} ADD COLUMN {} {}", table_.name.Sql(), QuoteName(name), type);
    }
    table_.columns.push_back({.name = name, .type = type});
    claimed_.push_back(true);
    return static_cast<int>(table_.columns.size()) - 1;
  }

  void DropColumn(const std::string& name) {
    const int index = table_.IndexOf(name);
    CHECK(index >= 0);
    Run("ALTER TABLE {} DROP COLUMN {}", table_.name.Sql(), QuoteName(name));
    out_.adds_only = false;
    table_.columns.erase(table_.columns.begin() + index);
    claimed_.erase(claimed_.begin() + index);
    for (int& target : out_.mapping.target_of) {
      if (target > index) --target;
    }
    for (Evolution::Fill& fill : out_.fills) {
      if (fill.target > static_cast<size_t>(index)) --fill.target;
    }
  }

  void AddExtras() {
    out_.mapping.extra.fill(-1);
    for (const ExtraColumn extra : ExtrasOf(options_)) {
      const std::string name(ExtraName(extra));
      const int index = table_.IndexOf(name);
      out_.mapping.extra[static_cast<size_t>(extra)] =
          index >= 0 ? index : Add(name, std::string(ExtraSqlType(extra)));
    }
  }

  /// `_cdc_exceptions` and `_cdc_unchanged` name columns as the source does.
  void RenameInJson() {
    if (renamed_.empty() || created_) return;
    out_.adds_only = false;
    for (const std::string_view name : {kExceptionsColumn, kUnchangedColumn}) {
      if (before_.IndexOf(name) < 0) continue;
      const std::string json =
          name == kExceptionsColumn ? RenamedKeys(name, renamed_) : RenamedItems(name, renamed_);
      Run("UPDATE {0} SET {1} = {2}::JSON WHERE {1} IS NOT NULL", table_.name.Sql(), name, json);
      out_.updates = true;
    }
  }

  Status CheckDropped() const {
    if (created_ || PolicyOf(SchemaChange::kDropColumn) != SchemaChangePolicy::kFail) return {};
    for (size_t i = 0; i < table_.columns.size(); ++i) {
      const TargetTable::Column& column = table_.columns[i];
      const bool former = column.remembered && column.source.empty();
      if (claimed_[i] || former || IsTaken(column.name)) continue;
      return Refuse(SchemaChange::kDropColumn,
                    fmt::format("column {} was dropped or renamed", column.name));
    }
    return {};
  }

  TargetTable table_;
  const TargetTable before_;
  const change::TableSchema& schema_;
  const SinkOptions& options_;
  Evolution out_;
  bool created_ = false;
  std::vector<bool> claimed_;
  std::vector<Rename> renamed_;  ///< of the source's columns
};

}  // namespace

Result<Evolution> PlanEvolution(TargetTable table, const change::TableSchema& schema,
                                const SinkOptions& options) {
  return Planner(std::move(table), schema, options).Plan();
}

Result<std::vector<std::string>> ForeseeEvolution(const std::string& catalog,
                                                  const TableVersions& versions,
                                                  const SinkOptions& options) {
  const auto name_of = [&](const change::TableSchema& schema) {
    return QualifiedName{catalog, schema.name().schema, schema.name().table};
  };
  TargetTable table;
  table.name = name_of(*versions.front());
  table.wanted = table.name;
  std::vector<std::string> statements;
  for (const auto& version : versions) {
    if (version->name() != table.source) table.wanted = name_of(*version);
    FRESHET_TRY(Evolution evolution, PlanEvolution(std::move(table), *version, options));
    table = std::move(evolution.table);
    statements = std::move(evolution.statements);
  }
  return statements;
}

std::vector<std::string> RememberSql(const TargetTable& table, change::TableId id) {
  std::vector<std::string> out;
  out.push_back(fmt::format(
      "DELETE FROM {} WHERE (target_schema = {} AND target_table = {}) OR (table_id = "
      "{} AND table_id <> 0)",
      kColumnsTable, QuoteText(table.name.schema), QuoteText(table.name.table), id.value));
  std::string rows;
  for (const TargetTable::Column& column : table.columns) {
    if (!column.remembered) continue;
    rows += fmt::format("{}({}, {}, {}, {}, {}, {}, {}, {}, {})", rows.empty() ? "" : ", ",
                        QuoteText(table.name.schema), QuoteText(table.name.table),
                        QuoteText(column.name), id.value, QuoteText(table.source.schema),
                        QuoteText(table.source.table), QuoteText(column.source), column.attnum,
                        column.key);
  }
  if (!rows.empty()) out.push_back(fmt::format("INSERT INTO {} VALUES {}", kColumnsTable, rows));
  return out;
}

ColumnMapping MapForReading(const TargetTable& table, const change::TableSchema& schema) {
  ColumnMapping out;
  std::vector<bool> claimed(table.columns.size(), false);
  for (const change::Column& column : schema.columns()) {
    const Place place = FindPlace(table, claimed, schema, column, false);
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
