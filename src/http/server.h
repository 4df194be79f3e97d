#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pipeline/status.h"
#include "sink/duckdb/query.h"

namespace freshet::http {

/// What a server asks of a pipeline. Called from the server's threads, several at a time.
struct Handlers {
  std::function<pipeline::PipelineStatus()> status;

  /// Empty: /query is refused.
  std::function<Result<sink::duckdb::QueryResult>(const std::string& sql,
                                                  const sink::duckdb::QueryLimits& limits)>
      query;

  /// Answers POST /scan (pipeline/remote_scan.h). Empty: refused.
  std::function<void(std::string_view sink, std::span<const std::byte> request,
                     const std::function<bool(std::string_view)>& write)>
      scan;

  /// Answers GET /tables.
  std::function<std::vector<pipeline::CarriedTable>()> tables = {};

  /// POST /tables/add: whether the configuration names the table too. Empty: refused.
  std::function<Result<bool>(const change::TableName& table)> add_table = {};

  /// POST /tables/resnapshot. Empty: refused.
  std::function<Status(const change::TableName& table, bool replaces)> resnapshot = {};
};

/// A host and a port as `http.listen` writes them.
struct Address {
  std::string host;
  int port = 0;

  /// Only this machine can reach it.
  bool is_loopback() const;
};

/// Reads "127.0.0.1:8080", "[::1]:8080", "localhost:0", ":8080" (every address). Errors: kConfig.
Result<Address> ParseAddress(std::string_view listen);

/// A request that changes something carries this header, of any value: a web page of another site
/// cannot send it unasked.
inline constexpr const char* kControlHeader = "X-Freshet-Request";

/// Serves /, /healthz, /status, /metrics, /tables, /query and /scan of one pipeline.
///
/// Threads: its own, at most kThreads, joined by the destructor. Every request is bounded in size
/// and time; connections beyond kMaxWaiting wait in the system's queue. A server that listens on a
/// loopback address answers only requests that name one as host, so that a web page cannot reach it
/// under a name of its own (DNS rebinding).
class Server {
 public:
  static constexpr size_t kThreads = 8;
  static constexpr size_t kMaxWaiting = 64;
  static constexpr size_t kMaxBodyBytes = size_t{64} << 20;  ///< keys of a scan
  static constexpr size_t kMaxSqlBytes = size_t{1} << 20;
  static constexpr size_t kMaxControlBytes = size_t{16} << 10;
  static constexpr int kMaxDataRequests =
      3;  ///< /query, /scan and changes at a time; the rest stays answerable
  static constexpr int kReadTimeoutSeconds = 5;
  static constexpr int kWriteTimeoutSeconds = 30;

  /// Listens and serves. Errors: kConfig (not an address), kBusy (the port is taken), kDenied.
  static Result<std::unique_ptr<Server>> Start(std::string_view listen, Handlers handlers);

  /// Refuses new requests and waits for those under way.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The port, chosen by the system when 0 was asked for.
  int port() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::http
