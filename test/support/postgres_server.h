#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace freshet::test {

/// How a cluster is made.
struct ServerOptions {
  int major = 0;                      ///< 0: the newest that is installed
  std::vector<std::string> settings;  ///< lines of postgresql.conf, after ours
  std::string encoding = "UTF8";
};

/// A private PostgreSQL for one test: own folder, unix socket and free TCP port on 127.0.0.1,
/// wal_level=logical, superuser `postgres` without a password.
///
/// The server runs as another user where the test runs as root. It stops, and its folder goes, with
/// this object; it stops too when the test dies. Create it on the main thread: the server lives as
/// long as the thread that started it.
class PostgresServer {
 public:
  enum class StopMode : uint8_t { kFast, kImmediate };

  /// Majors whose programs are there, ascending: Debian's in /usr/lib/postgresql/<major>/bin, the
  /// others in $FRESHET_POSTGRES_DIR/<major>/bin (else $FRESHET_DEPS/postgres, else
  /// .deps/postgres of the working directory).
  static std::vector<int> InstalledMajors();

  static Result<std::unique_ptr<PostgresServer>> Start(const ServerOptions& options = {});

  /// A standby of `primary` (12+): a copy of its folder, for which the primary is stopped and
  /// started again, that follows it through its physical slot `slot`, which is made. `settings`:
  /// more lines of its postgresql.conf.
  static Result<std::unique_ptr<PostgresServer>> StartStandby(
      PostgresServer& primary, const std::string& slot, const std::vector<std::string>& settings);

  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  int major() const { return major_; }
  int port() const { return port_; }
  const std::string& folder() const { return folder_; }

  /// postgres://user@127.0.0.1:port/database
  Secret url(std::string_view database = "postgres", std::string_view user = "postgres") const;

  /// The same through the unix socket.
  Secret socket_url(std::string_view database = "postgres",
                    std::string_view user = "postgres") const;

  /// Asks the server to stop and waits until it has. Stopping a stopped server does nothing.
  Status Stop(StopMode mode = StopMode::kFast);

  /// Asks only: Wait() waits.
  void SignalStop(StopMode mode = StopMode::kFast);

  /// Waits until the server has ended. False when `timeout_ms` passed first.
  bool WaitStopped(int timeout_ms);

  /// Starts a stopped server again.
  Status Resume();

  /// kill -9 of the postmaster, and of what it leaves.
  void Kill9();

  /// Runs SQL as superuser.
  Status Run(const std::string& sql, std::string_view database = "postgres") const;

  /// The first value of the first row of a query; empty when there is none.
  Result<std::string> Ask(const std::string& sql, std::string_view database = "postgres") const;

  /// Appends lines to postgresql.conf. They count from the next start, or pg_reload_conf().
  Status Configure(const std::vector<std::string>& settings) const;

 private:
  PostgresServer() = default;

  /// Programs, folder, port and user of a server whose cluster is still to be made.
  static Result<std::unique_ptr<PostgresServer>> WithoutCluster(int major);
  Status Launch();

  int major_ = 0;
  int port_ = 0;
  std::string bin_;
  std::string folder_;
  uid_t user_ = 0;
  gid_t group_ = 0;
  pid_t pid_ = -1;
};

}  // namespace freshet::test
