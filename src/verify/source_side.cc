#include "verify/source_side.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "postgres/connection.h"
#include "verify/copy_text.h"

namespace freshet::verify {
namespace {

using postgres::Connection;

/// WHERE (a, b) IN (VALUES ('1'::bigint, 'x'::text), ...)
std::string ConditionFor(const change::TableSchema& schema, const std::vector<Key>& keys) {
  std::string names;
  for (const int column : schema.key_columns()) {
    if (!names.empty()) names += ", ";
    names += Connection::QuoteIdentifier(schema.columns()[static_cast<size_t>(column)].name);
  }
  std::string values;
  for (const Key& key : keys) {
    if (!values.empty()) values += ", ";
    values += "(";
    for (size_t i = 0; i < key.size(); ++i) {
      if (i > 0) values += ", ";
      values += Connection::QuoteLiteral(key[i]);
      const auto column = static_cast<size_t>(schema.key_columns()[i]);
      const std::string& type = schema.columns()[column].type_name;
      if (!type.empty()) values += "::" + type;
    }
    values += ")";
  }
  return fmt::format(" WHERE ({}) IN (VALUES {})", names, values);
}

}  // namespace

SourceSide::SourceSide(Connection& connection, const change::TableSchema& schema, bool partitioned,
                       std::stop_token stop)
    : connection_(connection), schema_(schema), partitioned_(partitioned), stop_(std::move(stop)) {
  for (const change::Column& column : schema.columns()) types_.push_back(column.type);
}

Status SourceSide::ReadAll(const Visit& visit) { return Copy("", visit); }

Status SourceSide::ReadKeys(const std::vector<Key>& keys, const Visit& visit) {
  if (keys.empty()) return {};
  return Copy(ConditionFor(schema_, keys), visit);
}

Status SourceSide::Copy(const std::string& condition, const Visit& visit) {
  std::string columns;
  for (const change::Column& column : schema_.columns()) {
    if (!columns.empty()) columns += ", ";
    columns += Connection::QuoteIdentifier(column.name);
  }
  const std::string sql =
      fmt::format("COPY (SELECT {} FROM {}{}.{}{}) TO STDOUT", columns, partitioned_ ? "" : "ONLY ",
                  Connection::QuoteIdentifier(schema_.name().schema),
                  Connection::QuoteIdentifier(schema_.name().table), condition);
  FRESHET_RETURN_IF_ERROR(connection_.StartCopyOut(sql, stop_));
  postgres::CopyMessage message;
  Row row;
  Status visited;
  while (true) {
    FRESHET_TRY(const bool more, connection_.ReadCopy(message, stop_));
    if (!more) return visited;
    // After an error the rest is read all the same, so that the session can be used again.
    if (!visited.has_value()) continue;
    const auto bytes = message.bytes();
    const std::string_view line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    FRESHET_RETURN_IF_ERROR(ReadCopyLine(line, types_, row));
    visited = visit(row);
    if (!visited.has_value()) connection_.Cancel();
  }
}

}  // namespace freshet::verify
