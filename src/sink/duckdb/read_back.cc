#include "sink/duckdb/read_back.h"

#include <arrow/record_batch.h>

#include "sink/changelog_columns.h"
#include "sink/duckdb/changelog_query.h"
#include "sink/duckdb/column_type.h"
#include "sink/duckdb/scan.h"
#include "sink/duckdb/target_table.h"

namespace freshet::sink::duckdb {
namespace {

/// Where each source column is read from.
ChangelogRelation Describe(const TargetTable& table, const change::TableSchema& schema) {
  const ColumnMapping mapping = MapForReading(table, schema);
  ChangelogRelation out{.table = table.name.Sql(), .columns = {}, .has_exceptions = false};
  for (size_t c = 0; c < schema.columns().size(); ++c) {
    const change::LogicalType& type = schema.columns()[c].type;
    if (mapping.target_of[c] < 0) {
      out.columns.push_back(
          [none = fmt::format("NULL::{}", DuckDbType(type))](std::string_view) { return none; });
      continue;
    }
    const TargetTable::Column& column = table.columns[static_cast<size_t>(mapping.target_of[c])];
    out.columns.push_back([column, type](std::string_view alias) {
      return AsType(fmt::format("{}.{}", alias, QuoteName(column.name)), column.type, type);
    });
  }
  out.has_exceptions = mapping.extra[static_cast<size_t>(ExtraColumn::kExceptions)] >= 0;
  return out;
}

std::string PlainSql(const ChangelogRelation& table, const change::TableSchema& schema,
                     const std::string& keys) {
  std::string select;
  for (const ColumnSql& column : table.columns) select += column("r") + ", ";
  select += table.has_exceptions ? fmt::format("r.{}::VARCHAR", kExceptionsColumn)
                                 : std::string("NULL::VARCHAR");
  std::string sql = fmt::format("SELECT {} FROM {} AS r", select, table.table);
  if (keys.empty()) return sql;
  sql += fmt::format(" SEMI JOIN {} AS wanted ON ", keys);
  for (size_t i = 0; i < schema.key_columns().size(); ++i) {
    sql += fmt::format("{}{} IS NOT DISTINCT FROM wanted.k{}", i == 0 ? "" : " AND ",
                       table.columns[static_cast<size_t>(schema.key_columns()[i])]("r"), i);
  }
  return sql;
}

}  // namespace

Status DuckDbReadBack::Scan(const change::TableSchema& schema,
                            const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) {
  FRESHET_TRY(const auto database, Database::Open(path_, Access::kRead));
  FRESHET_TRY(const auto connection, database->Connect());
  FRESHET_RETURN_IF_ERROR(connection->Execute("BEGIN TRANSACTION"));
  FRESHET_TRY(const TargetTable table, FindTarget(*connection, schema.name(), schema.id()));
  if (!table.exists) {
    return Fail(ErrorKind::kNotFound, "DuckDB file {} has no table {}", path_,
                change::ToString(schema.name()));
  }
  const ChangelogRelation relation = Describe(table, schema);
  std::string wanted;
  if (keys != nullptr) {
    FRESHET_TRY(wanted, StageKeys(*connection, schema, *keys));
  }
  std::string sql;
  if (mode_ == WriteMode::kAppend) {
    FRESHET_TRY(sql, FoldChangelog(*connection, relation, schema, wanted));
  } else {
    sql = PlainSql(relation, schema, wanted);
  }
  return ScanSql(*connection, sql, schema, visit);
}

}  // namespace freshet::sink::duckdb
