#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "plan/ddl.h"
#include "postgres/catalog.h"

namespace freshet::plan {

/// What only the source's catalog knows of a statement that is not run. Reads, and changes nothing.
///
/// Lifetime: not longer than `catalog`. Threads: one. Errors: those of Connection beside those
/// named.
class SourceFacts {
 public:
  SourceFacts(postgres::Catalog& catalog, std::stop_token stop)
      : catalog_(catalog), stop_(std::move(stop)) {}

  int major() { return catalog_.connection().server_major(); }

  /// A column of that name and type as the stream would name it; without an attnum. An unqualified
  /// type is looked for in pg_catalog, in public, then everywhere.
  /// Errors: kNotFound, when there is no such type or more than one.
  Result<change::Column> ColumnOf(const std::string& name, const TypeName& type);

  /// Whether one of these functions may give another value for each row.
  Result<bool> AnyVolatile(const std::vector<std::string>& functions);

  /// Whether the server writes every row anew to change a column's type without an expression.
  /// Source: PostgreSQL, commands/tablecmds.c, ATColumnChangeRequiresRewrite().
  Result<bool> Rewrites(const change::Column& from, const change::Column& to);

  /// The columns by which an index of that table tells rows apart; empty when there is none.
  Result<std::vector<std::string>> IndexColumns(change::TableId table, const std::string& index);

  /// Whether that constraint is the table's primary key.
  Result<bool> IsPrimaryKey(change::TableId table, const std::string& constraint);

  /// Whether a publication sends listed columns of a table only (15+).
  Result<bool> ListsColumns(const std::string& publication, change::TableId table);

  /// Tables below `table` by partitioning or inheritance, at any depth.
  Result<std::vector<change::TableId>> Below(change::TableId table);

 private:
  postgres::Catalog& catalog_;
  std::stop_token stop_;
};

}  // namespace freshet::plan
