#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "change/ids.h"
#include "change/logical_type.h"

namespace arrow {
class Schema;
}

namespace freshet::change {

/// What PostgreSQL sends of a row's old values on update and delete (pg_class.relreplident).
enum class ReplicaIdentity : uint8_t {
  kDefault,  ///< the primary key's columns, when the key changed
  kNothing,  ///< nothing: updates and deletes cannot be published
  kFull,     ///< the whole old row, always
  kIndex,    ///< the columns of a chosen unique index, when one changed
};

/// A table's name in the source: schema and table, unquoted.
struct TableName {
  std::string schema;
  std::string table;
  auto operator<=>(const TableName&) const = default;
};

/// "public.orders", for people; no quoting.
std::string ToString(const TableName& name);

/// One column of a table version.
struct Column {
  std::string name;
  int16_t attnum = 0;     ///< pg_attribute.attnum; 0 where it is not known
  uint32_t type_oid = 0;  ///< pg_type.oid as the stream sends it (a domain's own oid)
  int32_t typmod = -1;    ///< pg_attribute.atttypmod
  std::string type_name;  ///< format_type() text, "numeric(12,2)"; may be empty when unknown
  LogicalType type;
  bool identity = false;  ///< part of the replica identity (flag 1 of the Relation message)
  bool primary_key = false;
  bool not_null = false;
  bool generated = false;

  /// What rows from before the column was added read as, in the server's text: the constant default
  /// that ADD COLUMN was given (pg_attribute.attmissingval, 11+). None: they read as null, or the
  /// server rewrote them.
  std::optional<std::string> missing_value = std::nullopt;

  bool operator==(const Column&) const = default;
};

/// One version of a table: immutable, shared, compared by content.
///
/// A Relation message that repeats what is in force makes no new version. Lifetime: shared by all
/// batches that carry rows of this version. Threads: any, read only.
class TableSchema {
 public:
  TableSchema(TableId id, TableName name, ReplicaIdentity identity, std::vector<Column> columns);

  TableId id() const { return id_; }
  const TableName& name() const { return name_; }
  ReplicaIdentity replica_identity() const { return identity_; }
  const std::vector<Column>& columns() const { return columns_; }

  /// Indexes into columns() of what identifies a row in a target: the replica identity's columns,
  /// or under FULL the primary key's. Empty: rows are told apart by their whole content only, or
  /// (kNothing) not at all.
  const std::vector<int>& key_columns() const { return key_columns_; }

  /// One field a column, in column order, all nullable (old tuples carry the key only).
  const std::shared_ptr<arrow::Schema>& arrow_schema() const { return arrow_schema_; }

  /// The index of a column by name; -1 when there is none.
  int IndexOf(std::string_view column_name) const;

  /// A 64-bit hash of the content. Equal schemas have equal fingerprints, also across runs.
  uint64_t fingerprint() const { return fingerprint_; }

  /// Same content, in every field.
  bool operator==(const TableSchema& other) const;

 private:
  TableId id_;
  TableName name_;
  ReplicaIdentity identity_;
  std::vector<Column> columns_;
  std::vector<int> key_columns_;
  std::shared_ptr<arrow::Schema> arrow_schema_;
  uint64_t fingerprint_;
};

}  // namespace freshet::change
