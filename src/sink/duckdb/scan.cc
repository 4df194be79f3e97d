#include "sink/duckdb/scan.h"

#include <arrow/api.h>
#include <duckdb.h>

#include <algorithm>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/duckdb/column_type.h"
#include "sink/duckdb/table_appender.h"
#include "sink/duckdb/vectors.h"

namespace freshet::sink::duckdb {
namespace {

constexpr std::string_view kKeysTable = "freshet_keys";

Status FromArrow(const arrow::Status& status) {
  if (status.ok()) return {};
  return Fail(status.IsOutOfMemory() ? ErrorKind::kNoSpace : ErrorKind::kFatal,
              "build an Arrow batch: {}", status.ToString());
}

/// One column of a chunk as an Arrow array.
Result<std::shared_ptr<arrow::Array>> ReadColumn(duckdb_data_chunk chunk, size_t column,
                                                 const change::LogicalType& type) {
  std::unique_ptr<arrow::ArrayBuilder> builder;
  FRESHET_RETURN_IF_ERROR(FromArrow(
      arrow::MakeBuilder(arrow::default_memory_pool(), change::ArrowType(type), &builder)));
  FRESHET_RETURN_IF_ERROR(ReadVector(duckdb_data_chunk_get_vector(chunk, column), type,
                                     duckdb_data_chunk_get_size(chunk), *builder));
  std::shared_ptr<arrow::Array> array;
  FRESHET_RETURN_IF_ERROR(FromArrow(builder->Finish(&array)));
  return array;
}

Status VisitChunk(duckdb_data_chunk chunk, const change::TableSchema& schema,
                  const std::shared_ptr<arrow::Schema>& arrow_schema,
                  const ReadBack::Visit& visit) {
  const change::LogicalType text{.kind = change::LogicalKind::kText};
  arrow::ArrayVector arrays;
  const auto& columns = schema.columns();
  for (size_t c = 0; c <= columns.size(); ++c) {
    FRESHET_TRY(auto array, ReadColumn(chunk, c, c < columns.size() ? columns[c].type : text));
    arrays.push_back(std::move(array));
  }
  const auto rows = static_cast<int64_t>(duckdb_data_chunk_get_size(chunk));
  return visit(*arrow::RecordBatch::Make(arrow_schema, rows, std::move(arrays)));
}

}  // namespace

Status ScanSql(Connection& connection, const std::string& sql, const change::TableSchema& schema,
               const ReadBack::Visit& visit) {
  arrow::FieldVector fields = schema.arrow_schema()->fields();
  fields.push_back(arrow::field(std::string(kExceptionsColumn), arrow::utf8()));
  const auto arrow_schema = arrow::schema(std::move(fields));

  duckdb_prepared_statement statement = nullptr;
  if (duckdb_prepare(connection.handle(), sql.c_str(), &statement) != DuckDBSuccess) {
    Error error =
        ErrorFrom(DUCKDB_ERROR_BINDER, duckdb_prepare_error(statement), connection.path());
    duckdb_destroy_prepare(&statement);
    return Fail(std::move(error));
  }
  duckdb_result result;
  Status status;
  if (duckdb_execute_prepared_streaming(statement, &result) != DuckDBSuccess) {
    status = Fail(ErrorFrom(duckdb_result_error_type(&result), duckdb_result_error(&result),
                            connection.path()));
  } else {
    CHECK(duckdb_column_count(&result) == schema.columns().size() + 1);
    while (status.has_value()) {
      duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
      if (chunk == nullptr) {
        const char* message = duckdb_result_error(&result);
        if (message != nullptr && *message != '\0') {
          status = Fail(ErrorFrom(duckdb_result_error_type(&result), message, connection.path()));
        }
        break;
      }
      status = VisitChunk(chunk, schema, arrow_schema, visit);
      duckdb_destroy_data_chunk(&chunk);
    }
  }
  duckdb_destroy_result(&result);
  duckdb_destroy_prepare(&statement);
  return status;
}

Result<std::string> StageKeys(Connection& connection, const change::TableSchema& schema,
                              const arrow::RecordBatch& keys) {
  std::string columns;
  TableAppender::Types types;
  std::vector<int> sources;
  for (const int c : schema.key_columns()) {
    const change::Column& column = schema.columns()[static_cast<size_t>(c)];
    columns +=
        fmt::format("{}k{} {}", types.empty() ? "" : ", ", types.size(), DuckDbType(column.type));
    types.push_back(column.type);
    sources.push_back(keys.schema()->GetFieldIndex(column.name));
    CHECK(sources.back() >= 0);
  }
  CHECK(!types.empty());
  FRESHET_RETURN_IF_ERROR(
      connection.Execute(fmt::format("CREATE OR REPLACE TEMP TABLE {} ({})", kKeysTable, columns)));
  FRESHET_TRY(const auto appender,
              TableAppender::ToTable(
                  connection,
                  {.catalog = "temp", .schema = "main", .table = std::string(kKeysTable)}, types));
  for (int64_t done = 0; done < keys.num_rows();) {
    const int64_t count = std::min(appender->free(), keys.num_rows() - done);
    for (size_t k = 0; k < sources.size(); ++k) {
      WriteVector(*keys.column(sources[k]), *types[k], {.first = done, .count = count},
                  appender->vector(k), appender->at());
    }
    FRESHET_RETURN_IF_ERROR(appender->Advance(count));
    done += count;
  }
  FRESHET_RETURN_IF_ERROR(appender->Flush());
  return fmt::format("temp.main.{}", kKeysTable);
}

std::string AsType(const std::string& expression, const std::string& existing,
                   const change::LogicalType& type) {
  const std::string wanted = DuckDbType(type);
  if (existing == wanted) return expression;
  return fmt::format(
      "CASE WHEN TRY_CAST({0} AS {1})::{2} IS NOT DISTINCT FROM {0} THEN TRY_CAST({0} AS {1}) END",
      expression, wanted, existing);
}

}  // namespace freshet::sink::duckdb
