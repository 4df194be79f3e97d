#pragma once

#include <cstdint>
#include <stop_token>

#include "base/clock.h"
#include "base/result.h"
#include "change/ids.h"
#include "pipeline/options.h"

namespace freshet {
class FileSystem;
}

namespace freshet::pipeline {

/// What BridgeGap() did.
struct GapReport {
  change::Position log_ended;  ///< changes after this one
  change::Lsn goes_on;         ///< and before this one are not in the log
  int64_t tables = 0;          ///< that are read anew
};

/// Cures a stopped pipeline whose slot can no longer give what follows in the log: makes the slot
/// anew, and records in the log that the stream goes on there and that every table's rows are to be
/// read anew, replacing those of targets. The next run does the rest; what the log held stays.
///
/// It may be repeated after any error. Errors: kNotFound (the log is new: there is nothing to
/// repair), kBusy (the pipeline runs), and those of the log and of postgres::RenewSlot().
Result<GapReport> BridgeGap(const Options& options, FileSystem& fs, const Clock& clock,
                            std::stop_token stop);

}  // namespace freshet::pipeline
