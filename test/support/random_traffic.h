#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "support/postgres_server.h"

namespace freshet::test {

/// Sessions that write a few tables at random, as unkindly to a reader as applications are: with
/// savepoints, aborts, key changes, deletes, prepared transactions, updates that leave TOASTed
/// values alone, truncates; and commits that are in the WAL long before they are visible, as under
/// synchronous replication.
///
/// Transactions are prepared where the server lets them be. Threads: one a session, and one that
/// holds commits up.
class RandomTraffic {
 public:
  /// Settings for a server of its own: with them it does all of that, and quicker.
  static std::vector<std::string> Settings();

  /// Makes the tables, public.*, with `rows` rows each. Partitioned ones where a publication may
  /// have them (13+).
  static Status MakeTables(const PostgresServer& server, const std::string& database, int rows);

  struct Options {
    uint64_t seed = 1;
    int sessions = 4;
    int keys = 1000;           ///< how many different ones rows get
    bool late_commits = true;  ///< hold commits up now and then
  };

  RandomTraffic(const PostgresServer& server, const std::string& database, const Options& options);

  /// Ends all transactions, then the sessions.
  ~RandomTraffic();

  int64_t commits() const;

  /// The first error that a session cannot have caused itself; empty when there was none.
  std::string trouble() const;

 private:
  struct State;
  class Writer;

  std::unique_ptr<State> state_;
  std::jthread late_;  ///< holds commits up, until after the writers have ended
  std::vector<std::jthread> writers_;
};

}  // namespace freshet::test
