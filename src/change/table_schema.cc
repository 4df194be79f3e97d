#include "change/table_schema.h"

#include <arrow/type.h>
#include <fmt/format.h>
#include <xxhash.h>

namespace freshet::change {
namespace {

std::vector<int> KeyColumns(ReplicaIdentity identity, const std::vector<Column>& columns) {
  std::vector<int> key;
  for (size_t i = 0; i < columns.size(); ++i) {
    // Under FULL the stream flags every column as identity: only the primary key is a key.
    const bool part =
        identity == ReplicaIdentity::kFull ? columns[i].primary_key : columns[i].identity;
    if (part) key.push_back(static_cast<int>(i));
  }
  return key;
}

std::shared_ptr<arrow::Schema> MakeArrowSchema(const std::vector<Column>& columns) {
  arrow::FieldVector fields;
  fields.reserve(columns.size());
  for (const Column& column : columns) {
    fields.push_back(arrow::field(column.name, ArrowType(column.type)));
  }
  return arrow::schema(std::move(fields));
}

/// Fields are separated by a byte that no name contains, so that no two contents share a text.
uint64_t Fingerprint(TableId id, const TableName& name, ReplicaIdentity identity,
                     const std::vector<Column>& columns) {
  std::string text;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "{},{};", id.value, static_cast<int>(identity));
  text.append(name.schema).push_back('\0');
  text.append(name.table).push_back('\0');
  for (const Column& c : columns) {
    text.append(c.name).push_back('\0');
    text.append(c.type_name).push_back('\0');
    fmt::format_to(out, "{},{},{},{},{},{},{},{},{},{},{},{};", c.attnum, c.type_oid, c.typmod,
                   static_cast<int>(c.type.kind), c.type.precision, c.type.scale,
                   static_cast<int>(c.type.element), c.type.element_delimiter, c.identity,
                   c.primary_key, c.not_null, c.generated);
    if (c.missing_value.has_value()) text.append("\1").append(*c.missing_value).push_back('\0');
  }
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace

std::string ToString(const TableName& name) { return name.schema + "." + name.table; }

TableSchema::TableSchema(TableId id, TableName name, ReplicaIdentity identity,
                         std::vector<Column> columns)
    : id_(id),
      name_(std::move(name)),
      identity_(identity),
      columns_(std::move(columns)),
      key_columns_(KeyColumns(identity_, columns_)),
      arrow_schema_(MakeArrowSchema(columns_)),
      fingerprint_(Fingerprint(id_, name_, identity_, columns_)) {}

int TableSchema::IndexOf(std::string_view column_name) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].name == column_name) return static_cast<int>(i);
  }
  return -1;
}

bool TableSchema::operator==(const TableSchema& other) const {
  return fingerprint_ == other.fingerprint_ && id_ == other.id_ && name_ == other.name_ &&
         identity_ == other.identity_ && columns_ == other.columns_;
}

}  // namespace freshet::change
