#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/ids.h"

namespace freshet::cli::demo {

/// A sink of a running pipeline as its /status shows it.
struct SinkFigures {
  std::string name;
  std::string kind;
  change::Position durable;  ///< of what is visible in the target; 0/0 before the first
  int64_t rows = 0;          ///< since its process began
  int64_t lag_bytes = 0;
  double lag_seconds = 0;
  double p50_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
};

/// A running pipeline as its /status shows it.
struct PipelineFigures {
  std::string capture_state;
  change::Position appended;  ///< the end of its log
  std::vector<SinkFigures> sinks;
};

/// Every sink has all that the log holds, and no row that was there is still to be read.
bool HasCaughtUp(const PipelineFigures& figures);

/// Asks the pipeline at 127.0.0.1:`port`. Errors: kUnavailable, kMalformed.
Result<PipelineFigures> Probe(int port);

/// Reads what /status answered. Errors: kMalformed.
Result<PipelineFigures> ParseStatus(const std::string& json);

}  // namespace freshet::cli::demo
