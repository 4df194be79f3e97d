#pragma once

#include <cstdint>
#include <string>

#include "config/binder.h"

namespace freshet::sink::duckdb {

/// The `duckdb:` section of a sink.
struct Options {
  std::string path;                                    ///< the database file
  config::ByteSize memory_limit{int64_t{80} << 20};    ///< DuckDB's own; more goes to `<path>.tmp`
  config::ByteSize buffer{int64_t{16} << 20};          ///< changes held before they are applied
  config::ByteSize checkpoint_wal{int64_t{64} << 20};  ///< size of the WAL that starts one

  /// What a table needs of memory_limit by column, in bytes: the default one is raised to it.
  static constexpr int64_t kMemoryOfAColumn = int64_t{768} << 10;

  int64_t threads = 1;  ///< a second one mostly waits for the first
};

void Bind(config::Binder& binder, Options& options);

}  // namespace freshet::sink::duckdb
