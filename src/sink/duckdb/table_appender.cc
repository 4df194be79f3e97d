#include "sink/duckdb/table_appender.h"

#include <duckdb.h>

#include <utility>

#include "base/check.h"
#include "sink/duckdb/vectors.h"

namespace freshet::sink::duckdb {
namespace {

/// The C types of some columns, destroyed with it.
struct VectorTypes {
  VectorTypes() = default;
  ~VectorTypes() {
    for (duckdb_logical_type& handle : handles) duckdb_destroy_logical_type(&handle);
  }
  VectorTypes(const VectorTypes&) = delete;
  VectorTypes& operator=(const VectorTypes&) = delete;

  std::vector<duckdb_logical_type> handles;
};

/// Whether both lay out their values alike, so that DuckDB need not cast (JSON is text underneath,
/// and a cast would parse it).
bool SameLayout(duckdb_logical_type a, duckdb_logical_type b) {
  const duckdb_type id = duckdb_get_type_id(a);
  if (id != duckdb_get_type_id(b)) return false;
  if (id == DUCKDB_TYPE_DECIMAL) {
    return duckdb_decimal_width(a) == duckdb_decimal_width(b) &&
           duckdb_decimal_scale(a) == duckdb_decimal_scale(b);
  }
  if (id != DUCKDB_TYPE_LIST) return true;
  duckdb_logical_type child_a = duckdb_list_type_child_type(a);
  duckdb_logical_type child_b = duckdb_list_type_child_type(b);
  const bool same = SameLayout(child_a, child_b);
  duckdb_destroy_logical_type(&child_a);
  duckdb_destroy_logical_type(&child_b);
  return same;
}

}  // namespace

std::string QualifiedName::Sql() const {
  return QuoteName(catalog) + "." + QuoteName(schema) + "." + QuoteName(table);
}

TableAppender::TableAppender(Connection& connection, Types types)
    : connection_(connection), types_(std::move(types)) {}

TableAppender::~TableAppender() {
  if (chunk_ != nullptr) duckdb_destroy_data_chunk(&chunk_);
  // Destroying applies what was not flushed, to a transaction that is then given up: whoever drops
  // an appender rolls back afterwards, never before. An error here says nothing new.
  if (appender_ != nullptr) duckdb_appender_destroy(&appender_);
}

Result<std::unique_ptr<TableAppender>> TableAppender::ToTable(Connection& connection,
                                                              const QualifiedName& table,
                                                              Types types) {
  auto out = std::unique_ptr<TableAppender>(new TableAppender(connection, std::move(types)));
  if (duckdb_appender_create_ext(connection.handle(), table.catalog.c_str(), table.schema.c_str(),
                                 table.table.c_str(), &out->appender_) != DuckDBSuccess) {
    FRESHET_RETURN_IF_ERROR(out->Failed("open the table"));
  }
  CHECK(duckdb_appender_column_count(out->appender_) == out->types_.size());
  VectorTypes handles;
  for (size_t c = 0; c < out->types_.size(); ++c) {
    duckdb_logical_type own = duckdb_appender_column_type(out->appender_, c);
    handles.handles.push_back(own);
    if (!out->types_[c].has_value()) continue;
    duckdb_logical_type wanted = MakeVectorType(*out->types_[c]);
    if (!SameLayout(own, wanted)) std::swap(handles.handles.back(), wanted);
    duckdb_destroy_logical_type(&wanted);
  }
  FRESHET_RETURN_IF_ERROR(out->MakeChunk(handles.handles));
  return out;
}

Result<std::unique_ptr<TableAppender>> TableAppender::ToStatement(
    Connection& connection, const std::string& sql, const std::vector<std::string>& names,
    Types types) {
  CHECK(names.size() == types.size());
  auto out = std::unique_ptr<TableAppender>(new TableAppender(connection, std::move(types)));
  VectorTypes handles;
  std::vector<const char*> columns;
  for (const std::string& name : names) columns.push_back(name.c_str());
  for (const auto& type : out->types_) handles.handles.push_back(MakeVectorType(type.value()));
  if (duckdb_appender_create_query(connection.handle(), sql.c_str(), columns.size(),
                                   handles.handles.data(), "incoming", columns.data(),
                                   &out->appender_) != DuckDBSuccess) {
    FRESHET_RETURN_IF_ERROR(out->Failed("prepare a statement"));
  }
  FRESHET_RETURN_IF_ERROR(out->MakeChunk(handles.handles));
  return out;
}

Status TableAppender::MakeChunk(std::span<_duckdb_logical_type*> types) {
  chunk_ = duckdb_create_data_chunk(types.data(), types.size());
  if (chunk_ == nullptr) return Fail(ErrorKind::kFatal, "DuckDB: cannot make a data chunk");
  for (size_t c = 0; c < types_.size(); ++c) {
    vectors_.push_back(duckdb_data_chunk_get_vector(chunk_, c));
  }
  return {};
}

int64_t TableAppender::free() const { return static_cast<int64_t>(duckdb_vector_size() - filled_); }

Status TableAppender::Advance(int64_t rows) {
  CHECK(rows <= free());
  filled_ += static_cast<uint64_t>(rows);
  return free() == 0 ? Drain() : Status();
}

Status TableAppender::Drain() {
  if (filled_ == 0) return {};
  duckdb_data_chunk_set_size(chunk_, filled_);
  if (duckdb_append_data_chunk(appender_, chunk_) != DuckDBSuccess) return Failed("append rows");
  filled_ = 0;
  duckdb_data_chunk_reset(chunk_);
  return {};
}

Status TableAppender::Flush() {
  FRESHET_RETURN_IF_ERROR(Drain());
  if (duckdb_appender_flush(appender_) != DuckDBSuccess) return Failed("apply rows");
  return {};
}

Status TableAppender::Failed(std::string_view doing) {
  duckdb_error_data data = duckdb_appender_error_data(appender_);
  const char* message = duckdb_error_data_message(data);
  Error error = ErrorFrom(duckdb_error_data_error_type(data),
                          message == nullptr ? "unknown error" : message, connection_.path());
  duckdb_destroy_error_data(&data);
  return FailWhile(doing, std::move(error));
}

}  // namespace freshet::sink::duckdb
