#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "generate/transaction_source.h"

namespace freshet::generate {

/// Which tables are made and filled.
enum class Schema : uint8_t {
  kShop,      ///< users, products, orders, order_items, inventory_movements, audit_log
  kShipping,  ///< customers, transactions, shipments
  kBench,     ///< one plain table, changed in bulk
};

/// What `freshet generate` is asked for.
struct Options {
  Secret url;
  Schema schema = Schema::kShop;
  uint64_t seed = 1;
  double rate = 10;                      ///< rows a second; 0: as fast as possible
  int64_t rows = 0;                      ///< stop after so many; 0: do not
  std::chrono::nanoseconds duration{0};  ///< stop after so long; 0: do not
  int64_t initial_rows = 0;              ///< fill tables that hold fewer, first
  bool synchronous_commit = true;        ///< wait for the server's disk at each commit
  Shape shape;
};

/// How far it is. Rows are those of committed transactions, without triggers' and cascades'.
struct Progress {
  int64_t rows = 0;
  int64_t transactions = 0;
  int64_t rolled_back = 0;  ///< on purpose
  int64_t conflicts = 0;    ///< transactions lost to somebody else who writes to the same tables
  std::chrono::nanoseconds elapsed{0};
  bool filling = false;  ///< still at the initial rows
};

/// Called after each transaction.
using OnProgress = std::function<void(const Progress&)>;

/// Creates the schema where it is missing and writes to it until told to stop, or as much as asked.
///
/// Errors: those of the connection. More than kMaxConflicts conflicts in a row are kFatal.
Result<Progress> Generate(const Options& options, const Clock& clock, std::stop_token stop,
                          const OnProgress& on_progress);

inline constexpr int kMaxConflicts = 10;

}  // namespace freshet::generate
