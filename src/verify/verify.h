#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pipeline/options.h"
#include "verify/compare.h"

namespace freshet::verify {

/// What `freshet verify` is asked for.
struct Options {
  std::vector<std::string> tables;  ///< globs over schema.table; empty: all that are captured
  std::vector<std::string> sinks;   ///< names; empty: all that can be read back
  CompareLimits limits;
};

/// One target against the source.
struct SinkReport {
  std::string sink;
  std::string kind;
  std::vector<TableReport> tables;
};

/// The whole answer.
struct Report {
  std::vector<SinkReport> sinks;
  std::vector<std::string> skipped;  ///< sinks that keep nothing that could be read

  /// Every table of every target that was looked at is equal.
  bool equal() const;
};

/// How far a verify is.
struct Progress {
  std::string sink;
  std::string table;
  size_t tables_done = 0;  ///< over all sinks
  size_t tables_total = 0;
  int64_t rows_read = 0;      ///< of this table, both sides
  int64_t rows_expected = 0;  ///< as the source's statistics estimate them; 0 unknown
};

using OnProgress = std::function<void(const Progress&)>;

/// Compares the tables of a pipeline's source with each of its targets, which may be running.
///
/// A warehouse that a running pipeline holds open is read through that pipeline's HTTP port.
/// Errors: kConfig (no such sink, none that can be read back), kNotFound (no such table), those of
/// the source's connection and of the targets.
Result<Report> Verify(const pipeline::Options& pipeline, const Options& options, const Clock& clock,
                      std::stop_token stop, const OnProgress& on_progress);

}  // namespace freshet::verify
