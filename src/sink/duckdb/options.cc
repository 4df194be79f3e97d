#include "sink/duckdb/options.h"

namespace freshet::sink::duckdb {

void Bind(config::Binder& binder, Options& options) {
  constexpr int64_t kLeastMemory = int64_t{32} << 20;
  constexpr int64_t kMostThreads = 256;
  binder.Value({"path", "The database file. It and its folder are made when absent.", true},
               options.path);
  binder.Value(
      {"memory_limit",
       "Memory DuckDB may use; what needs more is spilled beside the file, into PATH.tmp. The "
       "default is raised for a table of more than 106 columns, to 768KiB a column."},
      options.memory_limit);
  binder.Value({"buffer", "Changes held in memory before they are applied (mode upsert)."},
               options.buffer);
  binder.Value(
      {"checkpoint_wal", "Size of DuckDB's write-ahead log at which it is folded into the file."},
      options.checkpoint_wal);
  binder.Value({"threads", "Threads DuckDB may use; more than one helps queries, not the sink."},
               options.threads);
  if (options.memory_limit.bytes < kLeastMemory) {
    binder.Reject("memory_limit", "must be at least 32MiB");
  }
  if (options.buffer.bytes <= 0) binder.Reject("buffer", "must be positive");
  if (options.checkpoint_wal.bytes <= 0) binder.Reject("checkpoint_wal", "must be positive");
  if (options.threads < 1 || options.threads > kMostThreads) {
    binder.Reject("threads", "must be between 1 and 256");
  }
}

}  // namespace freshet::sink::duckdb
