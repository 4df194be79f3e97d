#include "sink/duckdb/query.h"

#include <duckdb.h>

#include <condition_variable>
#include <functional>
#include <thread>

#include "base/mutex.h"
#include "sink/duckdb/database.h"

namespace freshet::sink::duckdb {
namespace {

/// Interrupts a connection when a time is over or a stop is requested, and goes on with it: DuckDB
/// forgets an interrupt that comes before the query has begun. Its thread ends with it.
class Watchdog {
 public:
  Watchdog(Connection& connection, std::chrono::milliseconds time, std::stop_token stop)
      : timer_([this, &connection, time](std::stop_token done) {
          constexpr std::chrono::milliseconds kAgain{20};
          MutexLock lock(mutex_);
          condition_.wait_for(lock, done, time, [this]() REQUIRES(mutex_) { return stopped_; });
          while (!done.stop_requested()) {
            timed_out_ = timed_out_ || !stopped_;
            connection.Interrupt();
            condition_.wait_for(lock, done, kAgain, [] { return false; });
          }
        }),
        on_stop_(stop, [this] {
          {
            const MutexLock lock(mutex_);
            stopped_ = true;
          }
          condition_.notify_all();
        }) {}

  bool timed_out() {
    const MutexLock lock(mutex_);
    return timed_out_;
  }

 private:
  Mutex mutex_;
  std::condition_variable_any condition_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  bool timed_out_ GUARDED_BY(mutex_) = false;
  std::jthread timer_;
  std::stop_callback<std::function<void()>> on_stop_;
};

struct Prepared {
  Prepared() = default;
  ~Prepared() { duckdb_destroy_prepare(&handle); }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  duckdb_prepared_statement handle = nullptr;
};

Status Prepare(Connection& connection, const std::string& sql, Prepared& statement) {
  if (duckdb_prepare(connection.handle(), sql.c_str(), &statement.handle) == DuckDBSuccess) {
    return {};
  }
  return Fail(
      ErrorFrom(DUCKDB_ERROR_BINDER, duckdb_prepare_error(statement.handle), connection.path()));
}

std::string WithoutEnd(std::string sql) {
  while (!sql.empty() && (sql.back() == ';' || sql.back() == ' ' || sql.back() == '\n' ||
                          sql.back() == '\t' || sql.back() == '\r')) {
    sql.pop_back();
  }
  return sql;
}

/// Names and types of a statement's columns. Statements that DESCRIBE does not take (EXPLAIN,
/// PRAGMA) have text columns.
std::vector<QueryResult::Column> Describe(Connection& connection, const std::string& sql,
                                          const Prepared& statement) {
  std::vector<QueryResult::Column> out;
  for (idx_t c = 0; c < duckdb_prepared_statement_column_count(statement.handle); ++c) {
    const char* name = duckdb_prepared_statement_column_name(statement.handle, c);
    out.push_back({.name = name == nullptr ? "" : name, .type = "VARCHAR"});
    duckdb_free(const_cast<char*>(name));
  }
  const auto described =
      connection.QueryText(fmt::format("SELECT column_type FROM (DESCRIBE\n{}\n)", sql));
  if (described.has_value() && described->size() == out.size()) {
    for (size_t c = 0; c < out.size(); ++c) {
      out[c].type = described->at(c).at(0).value_or("VARCHAR");
    }
  }
  return out;
}

std::optional<std::string> TextAt(duckdb_vector vector, idx_t row) {
  uint64_t* validity = duckdb_vector_get_validity(vector);
  if (validity != nullptr && !duckdb_validity_row_is_valid(validity, row)) return std::nullopt;
  auto* text = &static_cast<duckdb_string_t*>(duckdb_vector_get_data(vector))[row];
  return std::string(duckdb_string_t_data(text), duckdb_string_t_length(*text));
}

/// Adds the rows of a result whose columns are all text, as far as the limits go.
void ReadRows(duckdb_result& result, const QueryLimits& limits, QueryResult& out) {
  int64_t bytes = 0;
  while (duckdb_data_chunk chunk = duckdb_fetch_chunk(result)) {
    const idx_t rows = duckdb_data_chunk_get_size(chunk);
    for (idx_t r = 0; r < rows && !out.truncated; ++r) {
      if (std::ssize(out.rows) >= limits.rows || bytes >= limits.bytes) {
        out.truncated = true;
        break;
      }
      auto& row = out.rows.emplace_back();
      for (idx_t c = 0; c < duckdb_data_chunk_get_column_count(chunk); ++c) {
        row.push_back(TextAt(duckdb_data_chunk_get_vector(chunk, c), r));
        if (row.back().has_value()) bytes += std::ssize(*row.back());
      }
    }
    duckdb_destroy_data_chunk(&chunk);
    if (out.truncated) return;
  }
}

Status Run(Connection& connection, const std::string& sql, const QueryLimits& limits,
           QueryResult& out) {
  Prepared statement;
  FRESHET_RETURN_IF_ERROR(Prepare(connection, sql, statement));
  const duckdb_statement_type type = duckdb_prepared_statement_type(statement.handle);
  if (type != DUCKDB_STATEMENT_TYPE_SELECT && type != DUCKDB_STATEMENT_TYPE_EXPLAIN) {
    return Fail(ErrorKind::kConfig,
                "only statements that read are run (SELECT, FROM, WITH, VALUES, SHOW, DESCRIBE, "
                "SUMMARIZE, EXPLAIN)");
  }
  out.columns = Describe(connection, sql, statement);

  // DuckDB itself turns every type into text. What cannot stand in FROM has text columns already.
  Prepared as_text;
  const std::string wrapped = fmt::format(
      "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{}\n) LIMIT {}", sql, limits.rows + 1);
  const bool is_wrapped =
      type == DUCKDB_STATEMENT_TYPE_SELECT && Prepare(connection, wrapped, as_text).has_value();
  duckdb_result result;
  Status status;
  if (duckdb_execute_prepared_streaming(is_wrapped ? as_text.handle : statement.handle, &result) ==
      DuckDBSuccess) {
    bool all_text = true;
    for (idx_t c = 0; c < duckdb_column_count(&result); ++c) {
      all_text = all_text && duckdb_column_type(&result, c) == DUCKDB_TYPE_VARCHAR;
    }
    if (out.columns.size() != duckdb_column_count(&result)) {
      out.columns.clear();
      for (idx_t c = 0; c < duckdb_column_count(&result); ++c) {
        out.columns.push_back({.name = duckdb_column_name(&result, c), .type = "VARCHAR"});
      }
    }
    if (all_text) {
      ReadRows(result, limits, out);
    } else {
      status = Fail(ErrorKind::kConfig,
                    "this statement cannot be part of a query: use the table function of its name");
    }
  }
  const char* message = duckdb_result_error(&result);
  if (status.has_value() && message != nullptr && *message != '\0') {
    status = Fail(ErrorFrom(duckdb_result_error_type(&result), message, connection.path()));
  }
  duckdb_destroy_result(&result);
  return status;
}

}  // namespace

Result<QueryResult> Query(const std::string& path, const std::string& sql,
                          const QueryLimits& limits, bool local_files, std::stop_token stop) {
  FRESHET_TRY(const auto database,
              Database::Open(path, local_files ? Access::kReadWithFiles : Access::kRead));
  FRESHET_TRY(const auto connection, database->Connect());
  FRESHET_RETURN_IF_ERROR(connection->Execute("BEGIN TRANSACTION READ ONLY"));
  if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "the query was stopped");
  QueryResult out;
  Watchdog watchdog(*connection, limits.time, std::move(stop));
  Status status = Run(*connection, WithoutEnd(sql), limits, out);
  if (!status.has_value() && watchdog.timed_out()) {
    return Fail(ErrorKind::kCancelled, "the query took longer than {} ms", limits.time.count());
  }
  if (!status.has_value()) return Fail(std::move(status).error());
  return out;
}

}  // namespace freshet::sink::duckdb
