#include "verify/source_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "postgres/connection.h"
#include "verify/copy_text.h"

namespace freshet::verify {
namespace {

using postgres::Connection;

/// A value of a key in SQL. Where text may not be valid, its exact form stands for its bytes.
std::string ValueFor(const change::Column& column, const std::string& text, bool may_be_exact) {
  const bool is_text = column.type.kind == change::LogicalKind::kText ||
                       column.type.kind == change::LogicalKind::kExactText;
  const std::string cast = column.type_name.empty() ? "" : "::" + column.type_name;
  if (!may_be_exact || !is_text || !postgres::LooksExact(text)) {
    return Connection::QuoteLiteral(text) + cast;
  }
  return fmt::format("convert_from({}::bytea, getdatabaseencoding()){}",
                     Connection::QuoteLiteral(text), cast);
}

/// WHERE (a, b) IN (VALUES ('1'::bigint, 'x'::text), ...)
std::string ConditionFor(const change::TableSchema& schema, const std::vector<Key>& keys,
                         bool may_be_exact) {
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
      const auto column = static_cast<size_t>(schema.key_columns()[i]);
      values += ValueFor(schema.columns()[column], key[i], may_be_exact);
    }
    values += ")";
  }
  return fmt::format(" WHERE ({}) IN (VALUES {})", names, values);
}

}  // namespace

SourceSide::SourceSide(Connection& connection, const change::TableSchema& schema, bool partitioned,
                       SourceText& text, std::stop_token stop)
    : connection_(connection),
      schema_(schema),
      partitioned_(partitioned),
      text_(text),
      stop_(std::move(stop)) {
  for (const change::Column& column : schema.columns()) types_.push_back(column.type);
}

Status SourceSide::ReadAll(const Visit& visit) { return Copy("", visit); }

Status SourceSide::ReadKeys(const std::vector<Key>& keys, const Visit& visit) {
  if (keys.empty()) return {};
  return Copy(ConditionFor(schema_, keys, !connection_.converter()->is_utf8()), visit);
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
  const std::vector<int>& key = schema_.key_columns();
  const auto translate = [&](size_t column, std::string_view bytes) {
    const bool in_key = std::find(key.begin(), key.end(), static_cast<int>(column)) != key.end();
    return text_.Read(types_[column], in_key, bytes);
  };
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
    FRESHET_RETURN_IF_ERROR(ReadCopyLine(line, types_, row, translate));
    visited = visit(row);
    if (!visited.has_value()) connection_.Cancel();
  }
}

}  // namespace freshet::verify
