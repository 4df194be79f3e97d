#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct _duckdb_connection;
struct _duckdb_database;

namespace freshet::sink::duckdb {

/// How a file is opened.
enum class Access : uint8_t {
  kReadWrite,      ///< makes file and folder when absent; no other process may have it open
  kRead,           ///< a file this process writes is shared, any other is opened read-only
  kReadWithFiles,  ///< the same, and SQL may read other files of this machine
};

/// One connection: its own transaction, used by one thread at a time.
class Connection {
 public:
  using Row = std::vector<std::optional<std::string>>;

  Connection(_duckdb_connection* handle, std::string path);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs one or several statements and drops what they return. Errors: see ErrorFrom().
  Status Execute(const std::string& sql);

  /// Runs one statement whose columns are text (cast in the SQL) and returns its rows. For small
  /// answers only.
  Result<std::vector<Row>> QueryText(const std::string& sql);

  /// Ends what the connection is running with kCancelled. Any thread.
  void Interrupt();

  /// The C handle, for the appender and for reading results.
  _duckdb_connection* handle() const { return handle_; }
  const std::string& path() const { return path_; }

 private:
  _duckdb_connection* handle_;
  std::string path_;
};

/// One DuckDB file, open in this process.
///
/// All openers of one file in a process share one DuckDB instance, whatever spelling of the path
/// they use: two instances of one file would not see each other's lock (POSIX locks belong to the
/// process), and closing one would drop the other's (docs/adr/0040). So a query can run beside the
/// sink, and the file closes with its last Database. Threads: any; each Connection one at a time.
class Database {
 public:
  /// Errors: kBusy (another process has the file; names it), kDenied, kNotFound (kRead only),
  /// kConfig (not a DuckDB file), kUnsupported (newer format), kCorrupt, kNoSpace, kIo.
  static Result<std::shared_ptr<Database>> Open(const std::string& path, Access access);

  /// A database of its own without a file; what does not fit `memory_limit` ("64MB") is spilled
  /// into `spill_folder`, made when needed.
  static Result<std::shared_ptr<Database>> OpenInMemory(const std::string& memory_limit,
                                                        const std::string& spill_folder);

  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<std::unique_ptr<Connection>> Connect() const;

  const std::string& path() const { return path_; }

 private:
  Database(_duckdb_database* handle, std::string path);

  _duckdb_database* handle_;
  std::string path_;
};

/// Translates what DuckDB says into a kind the pipeline can act upon. `type` is a
/// duckdb_error_type; where an error has none (opening a file), 0: the message decides.
Error ErrorFrom(int type, std::string_view message, const std::string& path);

/// The folder that a database file stands in.
std::string FolderOf(const std::string& path);

/// `name` as a quoted SQL identifier, `text` as a quoted SQL string.
std::string QuoteName(std::string_view name);
std::string QuoteText(std::string_view text);

}  // namespace freshet::sink::duckdb
