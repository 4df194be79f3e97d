#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "change/ids.h"
#include "change/table_schema.h"
#include "postgres/connection.h"
#include "postgres/schema_source.h"
#include "postgres/table_filter.h"

namespace freshet::postgres {

namespace pgoutput {
struct RelationColumn;
}

/// A table as the source's catalog has it.
struct CatalogTable {
  change::TableId id;
  change::TableName name;
  bool partitioned = false;  ///< a partition root or branch: rows are in its partitions
  change::TableId root;      ///< the topmost ancestor of a partition; `id` where there is none
  bool logged = true;        ///< false: unlogged, its changes are in no WAL
  change::ReplicaIdentity identity = change::ReplicaIdentity::kDefault;
  bool identity_usable = false;  ///< updates and deletes do not fail once published
  bool may_select = false;       ///< of this session's role
  bool name_is_text = true;      ///< false: bytes that the database's encoding does not have
  uint32_t filenode = 0;         ///< changes when the table is rewritten; 0 for partitioned ones
};

/// What the source's catalog says of tables and types. Resolves the stream's Relation messages.
///
/// Reads through one session of its own, and remembers: types for ever, columns of a table until a
/// message comes again or says otherwise. The server repeats a table's message after every DDL on
/// it; a column that was dropped and added again has another attnum then, in a message that is the
/// same. Threads: one. Errors: those of Connection.
class Catalog final : public SchemaSource {
 public:
  explicit Catalog(Connection connection);
  ~Catalog() override;

  Connection& connection() { return connection_; }

  /// Goes on with another session to the same database.
  void Reconnected(Connection connection) { connection_ = std::move(connection); }

  /// All ordinary and partitioned tables of users, ordered by name.
  Result<std::vector<CatalogTable>> Tables(std::stop_token stop = {});

  /// Reads columns and types of `tables` at once, so that Resolve() and Describe() need not ask.
  Status Load(std::span<const change::TableId> tables, std::stop_token stop = {});

  /// The Relation message that the stream would send of a loaded table with these columns
  /// published; empty `columns`: all but generated ones.
  pgoutput::Relation Describe(const CatalogTable& table,
                              const std::vector<std::string>& columns) const;

  Result<std::shared_ptr<const change::TableSchema>> Resolve(
      const pgoutput::Relation& relation) override;

 private:
  struct Attribute;
  struct Type;

  /// Whether every column of `relation` is among the table's as they were read last.
  bool Knows(const pgoutput::Relation& relation) const;
  const Attribute* Find(const pgoutput::Relation& relation,
                        const pgoutput::RelationColumn& column) const;
  Status Refresh(const pgoutput::Relation& relation);
  Status LoadTypes(std::vector<uint32_t> oids, std::stop_token stop);
  change::LogicalType LogicalTypeOf(uint32_t oid, int32_t typmod) const;

  Connection connection_;
  std::unordered_map<uint32_t, std::vector<Attribute>> attributes_;  ///< by table
  std::unordered_set<uint32_t> resolved_;  ///< tables with a message since their columns were read
  std::unordered_map<uint32_t, Type> types_;
};

/// The tables to capture out of all: those `filter` chooses, in the shape in which a server of
/// `major` publishes them. From 13 on a chosen partition root stands for its partitions, whose
/// changes come under its name; before, the leaf partitions stand for it.
///
/// Errors: kNotFound when a table named exactly is not there, or nothing matches at all;
/// kUnsupported for a chosen table whose name is no text.
Result<std::vector<CatalogTable>> ChooseTables(const std::vector<CatalogTable>& all,
                                               const TableFilter& filter, int major);

}  // namespace freshet::postgres
