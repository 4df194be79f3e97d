#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/result.h"
#include "log/log.h"

namespace freshet::log {

/// Which records Dump() shows. A record is shown when it passes all that are set.
struct DumpFilter {
  std::optional<LogOffset> from = {};  ///< batches from this one on
  std::optional<LogOffset> to = {};    ///< batches before this one
  std::optional<change::Lsn> from_lsn = {};
  std::optional<change::Lsn> to_lsn = {};    ///< batches with transactions that end in between
  std::optional<UnixMicros> from_time = {};  ///< batches with commits at or after
  std::optional<UnixMicros> to_time = {};    ///< and before
  std::optional<std::string> table = {};     ///< "schema.table"
  bool rows = false;                         ///< show values and messages, which are users' data
  std::optional<int64_t> most_batches = {};
};

/// Takes one line of JSON, without a line end. An error ends the dump.
using DumpOutput = std::function<Status(std::string_view line)>;

/// Shows a log's records, one JSON object a line, changing nothing; a pipeline may be writing.
/// Fields: docs/log_format.md, "Dump". Errors: as Inspect(), kCorrupt at the first damage, and the
/// output's own.
Status Dump(FileSystem& fs, const std::string& folder, const DumpFilter& filter,
            const DumpOutput& output);

}  // namespace freshet::log
