#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cli/demo/view.h"
#include "verify/verify.h"

namespace freshet::cli::demo {

/// What `freshet demo` is asked for.
struct Options {
  double seconds = 30;  ///< of traffic
  double rate = 300;    ///< rows a second
  int64_t initial_rows = 5'000;
  uint64_t seed = 1;
  std::string s3_url;       ///< s3://bucket or s3://bucket/prefix; empty: a local folder
  std::string s3_endpoint;  ///< empty: AWS
};

/// What a demo came to.
struct Outcome {
  std::string postgres_version;
  int64_t rows_written = 0;
  int64_t transactions = 0;
  double recovery_seconds = 0;  ///< kill -9 to every sink past what was committed at the kill
  double verify_seconds = 0;
  double total_seconds = 0;
  std::string left_behind;  ///< why something is left in S3; empty: nothing is
  std::vector<SinkView> sinks;
  verify::Report report;
};

/// Shows freshet at work from nothing to the verdict, and leaves nothing behind.
///
/// A private PostgreSQL, rows that were there before, a pipeline in a process of its own, traffic,
/// a kill -9 of the pipeline in the middle, and a comparison of both targets with the source. All
/// that is started dies with this program, even when it is killed; its folder is then removed by
/// the next demo. In S3 it writes below a prefix of its own, which it removes; killed, it leaves
/// that. Call from the main thread.
///
/// Errors: kCancelled when stopped; kNotFound without PostgreSQL's programs; those of the parts.
Result<Outcome> RunDemo(const Options& options, Screen& screen, const Clock& clock,
                        std::stop_token stop);

}  // namespace freshet::cli::demo
