#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "generate/random.h"
#include "generate/workload.h"

namespace freshet::generate {

/// Parts of the rows written that are inserts, updates and deletes; any scale ("70:25:5").
struct Mix {
  double inserts = 70;
  double updates = 25;
  double deletes = 5;
};

/// What the next transaction shall be like.
struct Shape {
  int64_t rows = 3;  ///< at least 1; a transaction may touch a few more, to stay whole
  Mix mix;
  bool surprises = true;  ///< now and then something rare (kSurprises in traffic.cc)
  bool truncates = false;
};

/// A transaction ready to be sent: its statements, without BEGIN and COMMIT.
struct Transaction {
  std::vector<std::string> sql;
  int64_t rows = 0;     ///< written when it commits, without what a savepoint took back
  bool commits = true;  ///< false: ends in ROLLBACK
};

/// Makes up transactions one after the other. Threads: one.
class TransactionSource {
 public:
  virtual ~TransactionSource() = default;

  virtual std::string_view setup_sql() const = 0;

  /// Reads what the database holds. Called at the start, and again after a transaction that failed.
  virtual Status Load(postgres::Connection& connection) = 0;

  /// The next transaction. The same sequence of calls on the same contents with the same seed gives
  /// the same statements.
  virtual Transaction Next(const Shape& shape) = 0;
};

/// Ordinary traffic of an application.
std::unique_ptr<TransactionSource> MakeTraffic(std::unique_ptr<Workload> workload, Random random);

/// Changes of one plain table in bulk, for benchmarks: each transaction has at most one INSERT ...
/// SELECT, one UPDATE and one DELETE over ranges of ids.
std::unique_ptr<TransactionSource> MakeBulk(Random random);

}  // namespace freshet::generate
