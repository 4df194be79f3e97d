#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/secret.h"
#include "cli/demo/process.h"

namespace freshet::cli::demo {

/// A PostgreSQL server of our own, in a folder of its own, with logical replication on.
///
/// Listens on 127.0.0.1 and a socket in its folder. Its superuser `freshet` has a password that is
/// made up at its making and stands in `password_file()`. Runs as another user where we are root,
/// which PostgreSQL refuses to be. Start it from the main thread (Process).
class Cluster {
 public:
  /// Makes the cluster in `folder`, which must not be there yet, and starts it.
  /// `dies_with_us`: it stops when this program dies in whatever way.
  /// Errors: kNotFound (PostgreSQL is not installed), kIo, kUnavailable (it does not start).
  static Result<Cluster> Create(const std::string& folder, bool dies_with_us);

  /// libpq keywords of the database `shop`, with the password's file in place of the password.
  std::string ConfigUrl() const;

  /// The same with the password.
  Secret url() const;

  const std::string& version() const { return version_; }
  int port() const { return port_; }
  const std::string& program() const { return program_; }
  std::string password_file() const { return folder_ + ".password"; }

  /// Ends all sessions and stops; by force when that takes longer than `timeout`.
  void Stop(std::chrono::nanoseconds timeout);

 private:
  Cluster() = default;
  Status Initialize(bool dies_with_us);
  Status Launch(bool dies_with_us);

  std::string folder_;
  std::string program_;  ///< path of `postgres`
  std::string version_;  ///< "15.20"
  std::string password_;
  std::optional<User> user_;
  int port_ = 0;
  std::optional<Process> process_;
};

}  // namespace freshet::cli::demo
