#include "sink/duckdb/database.h"

#include <duckdb.h>

#include <array>
#include <filesystem>

#include "base/check.h"
#include "base/file_system.h"
#include "base/mutex.h"

namespace freshet::sink::duckdb {
namespace {

/// The instances open in this process, by file. DuckDB's own registry: the one object here that
/// lives as long as the process, because the file locks it stands for do.
duckdb_instance_cache Instances() {
  static const duckdb_instance_cache cache = duckdb_create_instance_cache();
  return cache;
}

struct Config {
  Config() { CHECK(duckdb_create_config(&handle) == DuckDBSuccess); }
  ~Config() { duckdb_destroy_config(&handle); }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  duckdb_config handle = nullptr;
};

/// An instance that closes is gone from DuckDB's cache before it has let go of the file, and a
/// second one of the same file is an error: openings and closings come one after another.
Mutex& OpenAndCloseMutex() {
  static Mutex mutex;
  return mutex;
}

Result<duckdb_database> OpenInstance(const std::string& path, bool read_only) {
  Config config;
  if (read_only) duckdb_set_config(config.handle, "access_mode", "READ_ONLY");
  duckdb_database database = nullptr;
  char* message = nullptr;
  if (duckdb_get_or_create_from_cache(Instances(), path.c_str(), &database, config.handle,
                                      &message) == DuckDBSuccess) {
    return database;
  }
  Error error = ErrorFrom(0, message == nullptr ? "unknown error" : message, path);
  duckdb_free(message);
  return Fail(std::move(error));
}

}  // namespace

Error ErrorFrom(int type, std::string_view message, const std::string& path) {
  struct Rule {
    std::string_view part;
    ErrorKind kind;
    std::string_view repair;
  };
  static constexpr std::string_view kRaiseMemory =
      "raise memory_limit of the duckdb sink (the last of the figures of memory), or make room on "
      "the disk";
  static constexpr Rule kRules[] = {
      {"Conflicting lock", ErrorKind::kBusy,
       "stop that process, or query a running pipeline through its HTTP port"},
      {"different configuration", ErrorKind::kBusy,
       "this process reads the file at the moment; try again"},
      {"No space left", ErrorKind::kNoSpace, "make room on the disk"},
      {"Disk quota exceeded", ErrorKind::kNoSpace, "raise the quota or make room"},
      {"File too large", ErrorKind::kNoSpace, "raise the limit on file sizes"},
      {"Out of Memory", ErrorKind::kNoSpace, kRaiseMemory},
      // A commit that fails for memory is an error of the transaction.
      {"could not allocate block", ErrorKind::kNoSpace, kRaiseMemory},
      {"failed to pin block", ErrorKind::kNoSpace, kRaiseMemory},
      {"failed to allocate data", ErrorKind::kNoSpace, kRaiseMemory},
      {"failed to resize block", ErrorKind::kNoSpace, kRaiseMemory},
      {"not a valid DuckDB database", ErrorKind::kConfig, "choose another path"},
      {"version number", ErrorKind::kUnsupported,
       "the file was written by a newer DuckDB; choose another path or a newer freshet"},
      {"Permission denied", ErrorKind::kDenied, "give freshet read and write access"},
      {"Read-only file system", ErrorKind::kDenied, "choose a path that can be written"},
      {"Is a directory", ErrorKind::kConfig, "path must name a file"},
      {"database does not exist", ErrorKind::kNotFound, "run the pipeline first"},
      {"No such file or directory", ErrorKind::kNotFound, "check the path"},
      {"Corrupt", ErrorKind::kCorrupt, "restore the file, or delete it and take a new snapshot"},
      {"checksum", ErrorKind::kCorrupt, "restore the file, or delete it and take a new snapshot"},
      {"INTERRUPT", ErrorKind::kCancelled, ""},
  };
  for (const Rule& rule : kRules) {
    if (message.find(rule.part) == std::string_view::npos) continue;
    const std::string_view separator = rule.repair.empty() ? "" : ": ";
    return {rule.kind,
            fmt::format("DuckDB file {}: {}{}{}", path, message, separator, rule.repair)};
  }
  const auto kind = [type] {
    switch (type) {
      case DUCKDB_ERROR_OUT_OF_MEMORY:
        return ErrorKind::kNoSpace;
      case DUCKDB_ERROR_IO:
        return ErrorKind::kIo;
      case DUCKDB_ERROR_INTERRUPT:
        return ErrorKind::kCancelled;
      case DUCKDB_ERROR_TRANSACTION:
        return ErrorKind::kBusy;  // somebody else's transaction on the same table came first
      case DUCKDB_ERROR_PERMISSION:
        return ErrorKind::kDenied;
      case DUCKDB_ERROR_PARSER:
      case DUCKDB_ERROR_BINDER:
      case DUCKDB_ERROR_CATALOG:
      case DUCKDB_ERROR_SYNTAX:
        return ErrorKind::kConfig;
      default:
        return ErrorKind::kFatal;
    }
  }();
  return {kind, fmt::format("DuckDB file {}: {}", path, message)};
}

std::string FolderOf(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

std::string QuoteName(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out += '"';
}

std::string QuoteText(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out += '\'';
}

Connection::Connection(_duckdb_connection* handle, std::string path)
    : handle_(handle), path_(std::move(path)) {}

Connection::~Connection() {
  const MutexLock lock(OpenAndCloseMutex());
  duckdb_disconnect(&handle_);
}

Status Connection::Execute(const std::string& sql) {
  duckdb_result result;
  const duckdb_state state = duckdb_query(handle_, sql.c_str(), &result);
  Status status;
  if (state != DuckDBSuccess) {
    status =
        Fail(ErrorFrom(duckdb_result_error_type(&result), duckdb_result_error(&result), path_));
  }
  duckdb_destroy_result(&result);
  return status;
}

Result<std::vector<Connection::Row>> Connection::QueryText(const std::string& sql) {
  duckdb_result result;
  if (duckdb_query(handle_, sql.c_str(), &result) != DuckDBSuccess) {
    Error error = ErrorFrom(duckdb_result_error_type(&result), duckdb_result_error(&result), path_);
    duckdb_destroy_result(&result);
    return Fail(std::move(error));
  }
  std::vector<Row> rows;
  const idx_t columns = duckdb_column_count(&result);
  while (duckdb_data_chunk chunk = duckdb_fetch_chunk(result)) {
    for (idx_t r = 0; r < duckdb_data_chunk_get_size(chunk); ++r) {
      Row& row = rows.emplace_back(columns);
      for (idx_t c = 0; c < columns; ++c) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, c);
        uint64_t* validity = duckdb_vector_get_validity(vector);
        if (validity != nullptr && !duckdb_validity_row_is_valid(validity, r)) continue;
        CHECK(duckdb_column_type(&result, c) == DUCKDB_TYPE_VARCHAR);
        auto* text = &static_cast<duckdb_string_t*>(duckdb_vector_get_data(vector))[r];
        row[c] = std::string(duckdb_string_t_data(text), duckdb_string_t_length(*text));
      }
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_destroy_result(&result);
  return rows;
}

void Connection::Interrupt() { duckdb_interrupt(handle_); }

Database::Database(_duckdb_database* handle, std::string path)
    : handle_(handle), path_(std::move(path)) {}

Database::~Database() {
  const MutexLock lock(OpenAndCloseMutex());
  duckdb_close(&handle_);
}

namespace {

/// No SQL may touch anything but the file and its spill folder, nor fetch an extension from the
/// network, unless the user's own program asks. DuckDB does not let anyone take that back: of the
/// openers who share an instance the first says it, the others find it said.
Status Confine(Connection& connection, const std::string& path, Access access) {
  static Mutex mutex;
  const MutexLock lock(mutex);
  FRESHET_RETURN_IF_ERROR(connection.Execute("SET GLOBAL autoinstall_known_extensions = false"));
  FRESHET_TRY(const auto open_access,
              connection.QueryText("SELECT current_setting('enable_external_access')::VARCHAR"));
  if (open_access.at(0).at(0) != "true" || access == Access::kReadWithFiles) return {};
  FRESHET_RETURN_IF_ERROR(
      connection.Execute(fmt::format("SET GLOBAL temp_directory = {}", QuoteText(path + ".tmp"))));
  return connection.Execute("SET GLOBAL enable_external_access = false");
}

}  // namespace

Result<std::shared_ptr<Database>> Database::Open(const std::string& path, Access access) {
  if (access == Access::kReadWrite) {
    FRESHET_RETURN_IF_ERROR(LocalFileSystem().MakeFolder(FolderOf(path)));
  }
  std::shared_ptr<Database> database;
  {
    const MutexLock lock(OpenAndCloseMutex());
    auto handle = OpenInstance(path, access != Access::kReadWrite);
    if (!handle.has_value() && access != Access::kReadWrite &&
        handle.error().message.find("different configuration") != std::string::npos) {
      handle = OpenInstance(path, false);  // this process writes it: share that instance
    }
    if (!handle.has_value()) return Fail(std::move(handle).error());
    database = std::shared_ptr<Database>(new Database(*handle, path));
  }
  FRESHET_TRY(const auto connection, database->Connect());
  FRESHET_RETURN_IF_ERROR(Confine(*connection, path, access));
  return database;
}

Result<std::shared_ptr<Database>> Database::OpenInMemory(const std::string& memory_limit,
                                                         const std::string& spill_folder) {
  Config config;
  duckdb_set_config(config.handle, "memory_limit", memory_limit.c_str());
  duckdb_set_config(config.handle, "temp_directory", spill_folder.c_str());
  duckdb_set_config(config.handle, "autoinstall_known_extensions", "false");
  duckdb_database handle = nullptr;
  char* message = nullptr;
  if (duckdb_open_ext(nullptr, &handle, config.handle, &message) != DuckDBSuccess) {
    Error error = ErrorFrom(0, message == nullptr ? "unknown error" : message, "in memory");
    duckdb_free(message);
    return Fail(std::move(error));
  }
  return std::shared_ptr<Database>(new Database(handle, "in memory"));
}

Result<std::unique_ptr<Connection>> Database::Connect() const {
  duckdb_connection handle = nullptr;
  if (duckdb_connect(handle_, &handle) != DuckDBSuccess) {
    return Fail(ErrorKind::kFatal, "DuckDB file {}: cannot connect", path_);
  }
  auto connection = std::make_unique<Connection>(handle, path_);
  FRESHET_RETURN_IF_ERROR(connection->Execute("SET TimeZone = 'UTC'"));
  return connection;
}

}  // namespace freshet::sink::duckdb
