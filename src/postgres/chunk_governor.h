#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "change/ids.h"
#include "postgres/connection.h"
#include "postgres/options.h"

namespace freshet::postgres {

/// How the source is while rows are read from it.
struct SourceStrain {
  int64_t stream_lag_bytes = 0;             ///< WAL that the stream has not been sent yet
  std::chrono::milliseconds replica_lag{};  ///< of the physical standby furthest behind
  int64_t xmin_age = 0;  ///< transactions since the oldest snapshot that holds back VACUUM
  bool output_full = false;
};

/// How many chunks may be under way, and why not more.
struct ChunkAllowance {
  int64_t chunks = 0;
  std::string reason;  ///< one sentence while it is 0; else empty
};

/// What of the options' workers may read: all of them while the source is well, one where the
/// stream has fallen behind by more than a quarter of its limit, none beyond any limit. Pure.
ChunkAllowance AllowChunks(const Options& options, const SourceStrain& strain);

/// Asks the source. `received`: where the stream is. What the role may not see counts as nothing.
/// Errors: those of Connection.
Result<SourceStrain> MeasureStrain(Connection& connection, change::Lsn received,
                                   std::stop_token stop);

}  // namespace freshet::postgres
