#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/logical_type.h"
#include "sink/duckdb/database.h"

struct _duckdb_appender;
struct _duckdb_data_chunk;
struct _duckdb_logical_type;
struct _duckdb_vector;

namespace freshet::sink::duckdb {

/// A table's full name in DuckDB, unquoted.
struct QualifiedName {
  std::string catalog;
  std::string schema;
  std::string table;

  /// Quoted, for SQL.
  std::string Sql() const;

  bool operator==(const QualifiedName&) const = default;
};

/// Feeds rows, column by column and up to 2,048 at a time, to a table or to a statement, within the
/// connection's transaction.
///
///   while (rows left) { write up to free() values into each vector(c) at at(); Advance(n); }
///
/// What was written into the vectors may point into the caller's memory until the next Drain().
/// Dropping it unflushed is only allowed before the transaction is rolled back.
/// Lifetime: the connection outlives it. Threads: the connection's.
class TableAppender {
 public:
  using Types = std::vector<std::optional<change::LogicalType>>;

  /// Appends to a table. `types` names for each of its columns what will be written; none: values
  /// of the column's own type. DuckDB casts what differs.
  static Result<std::unique_ptr<TableAppender>> ToTable(Connection& connection,
                                                        const QualifiedName& table, Types types);

  /// Runs `sql` over the rows, which it sees as a table `incoming` with these columns. It may run
  /// several times, each time with the rows since.
  static Result<std::unique_ptr<TableAppender>> ToStatement(Connection& connection,
                                                            const std::string& sql,
                                                            const std::vector<std::string>& names,
                                                            Types types);

  ~TableAppender();
  TableAppender(const TableAppender&) = delete;
  TableAppender& operator=(const TableAppender&) = delete;

  const Types& types() const { return types_; }

  _duckdb_vector* vector(size_t column) const { return vectors_[column]; }
  uint64_t at() const { return filled_; }
  int64_t free() const;

  /// `rows` more are written into all vectors.
  Status Advance(int64_t rows);

  /// Hands the written rows to DuckDB; the caller's memory is free again.
  Status Drain();

  /// Drains, and applies all rows. Needed before the table is used otherwise.
  Status Flush();

 private:
  TableAppender(Connection& connection, Types types);

  Status MakeChunk(std::span<_duckdb_logical_type*> types);
  Status Failed(std::string_view doing);

  Connection& connection_;
  Types types_;
  _duckdb_appender* appender_ = nullptr;
  _duckdb_data_chunk* chunk_ = nullptr;
  std::vector<_duckdb_vector*> vectors_;
  uint64_t filled_ = 0;
};

}  // namespace freshet::sink::duckdb
