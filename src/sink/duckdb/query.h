#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace freshet::sink::duckdb {

/// Rows of a query, each value as DuckDB's own text.
struct QueryResult {
  struct Column {
    std::string name;
    std::string type;  ///< DuckDB's name, "DECIMAL(12,2)"

    bool operator==(const Column&) const = default;
  };

  std::vector<Column> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;  ///< nullopt: NULL
  bool truncated = false;                                     ///< the limit cut rows off

  bool operator==(const QueryResult&) const = default;
};

/// What bounds a query.
struct QueryLimits {
  int64_t rows = 10'000;
  int64_t bytes = int64_t{64} << 20;  ///< of text in the answer
  std::chrono::milliseconds time{30'000};
};

/// Runs one statement that only reads (SELECT, FROM, WITH, SHOW, DESCRIBE, ...) on the file `path`,
/// also beside a sink of this process that writes it.
///
/// `local_files`: the statement may read other files of this machine, as a user's own program may
/// and a request from outside may not. Errors: kConfig (not one reading statement, wrong SQL),
/// kCancelled (`stop`, or the time is over), and those of Database::Open().
Result<QueryResult> Query(const std::string& path, const std::string& sql,
                          const QueryLimits& limits, bool local_files, std::stop_token stop);

}  // namespace freshet::sink::duckdb
