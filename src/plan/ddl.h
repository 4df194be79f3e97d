#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::plan {

/// What an Operation does to a table, as far as logical replication is concerned.
enum class Action : uint8_t {
  kAddColumn,
  kDropColumn,
  kRenameColumn,
  kChangeType,
  kAddPrimaryKey,
  kDropConstraint,
  kReplicaIdentity,
  kRenameTable,
  kMoveTable,  ///< to another schema
  kSetLogged,
  kSetUnlogged,
  kAttachPartition,
  kDetachPartition,
  kTruncate,
  kDropTable,
  kCreateTable,
  kRenameEnumValue,  ///< `table` is the type's name
  kRows,             ///< INSERT, UPDATE, DELETE, COPY, ...: sent as any other change
  kNothing,          ///< changes no row, and nothing that is sent
  kUnknown,          ///< what it does is not in its text: DO, CALL, DROP SCHEMA, ...
};

/// Where the values of an added column come from.
enum class Default : uint8_t {
  kNone,
  kExpression,  ///< constant for all rows unless one of `functions` is volatile
  kSequence,    ///< identity and serial columns
  kGenerated,   ///< GENERATED ALWAYS AS (...)
};

/// A type as DDL names it.
struct TypeName {
  std::vector<std::string> names;      ///< {"pg_catalog", "numeric"}, or one name alone
  std::vector<std::string> modifiers;  ///< {"12", "2"}
  bool array = false;
};

/// One thing that a statement does to one table.
struct Operation {
  Action action = Action::kNothing;
  change::TableName table;  ///< schema empty where the statement gives none
  bool only = false;        ///< not the tables under it
  std::string name = {};    ///< the column, constraint, index or partition, or the enum's value
  std::string to = {};      ///< the new name or schema; of a partition, its schema
  TypeName type = {};       ///< kAddColumn, kChangeType
  Default value = Default::kNone;           ///< kAddColumn
  std::vector<std::string> functions = {};  ///< called by its default
  bool converts = false;                    ///< kChangeType: USING another expression
  bool if_exists = false;                   ///< or IF NOT EXISTS
  std::vector<std::string> columns = {};    ///< kAddPrimaryKey; empty: those of the index `name`
  change::ReplicaIdentity identity = change::ReplicaIdentity::kDefault;  ///< kReplicaIdentity
  std::string sql = {};                                                  ///< the whole statement
};

/// Takes SQL apart into what each statement does to each table, in order.
///
/// The grammar is PostgreSQL 15's own (libpg_query). Threads: any. Errors: kConfig for text that is
/// not SQL, with the place.
Result<std::vector<Operation>> ParseDdl(std::string_view sql);

}  // namespace freshet::plan
