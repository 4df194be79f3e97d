#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "postgres/capture.h"
#include "postgres/catalog.h"
#include "postgres/options.h"
#include "postgres/slot.h"
#include "postgres/slot_guard.h"

namespace freshet::postgres {

/// What mends a gap between the log and what the server still has.
inline constexpr std::string_view kRepairGap =
    "stop the pipeline and let `freshet repair` take the tables anew, or drop the slot and begin "
    "with a new log folder";

enum class CheckResult : uint8_t { kOk, kWarn, kFail };

/// "ok", "warn", "fail".
std::string_view CheckResultName(CheckResult result);

/// One thing that must be so at the source before changes can be captured.
struct Check {
  std::string name;  ///< stable, lower_case: "wal_level"
  CheckResult result = CheckResult::kOk;
  std::string what;                     ///< what was found, one sentence
  std::string repair;                   ///< SQL or a setting that repairs it; empty when ok
  ErrorKind kind = ErrorKind::kConfig;  ///< of the error that a failed check becomes
};

/// The first failed check as the error that stops a capture; none when none failed.
std::optional<Error> FirstFailure(std::span<const Check> checks);

/// Server-wide: version, primary, wal_level, free walsenders and slots, timeouts, retention.
Result<std::vector<Check>> CheckServer(Connection& connection, const Options& options,
                                       std::stop_token stop = {});

/// The chosen tables: there, readable, logged, with a usable replica identity, covered by the
/// publication or fit for one that this role may make.
Result<std::vector<Check>> CheckTables(Catalog& catalog, const Options& options,
                                       std::stop_token stop = {});

/// The slot, where there is one: of this database, made for pgoutput, not lost, not in use, and not
/// holding back too much.
Result<std::vector<Check>> CheckSlot(Connection& connection, const Options& options,
                                     std::stop_token stop = {});

/// What the slot may hold back at this server.
Result<SlotLimits> ReadSlotLimits(Connection& connection, const Options& options,
                                  std::stop_token stop = {});

/// A slot that stands after what the log holds: a gap.
Check MovedSlot(const std::string& slot, change::Lsn stands, change::Lsn have);

/// Whether `server` can give what follows in the log: it and its database are those that the log
/// was filled from, it is no older than the log (by position and by timeline), slot and publication
/// are there, and nobody moved the slot. Of a new log: whether the slot's name is free. The checks
/// `slot` and `continuity`, up to the first that fails.
Result<std::vector<Check>> CheckContinuity(Connection& walsender, Connection& connection,
                                           const ServerIdentity& server, const Options& options,
                                           const ResumePoint& resume, std::stop_token stop = {});

/// Connects and runs every check, for `freshet check`; continuity where it is told what the log
/// holds. A source that cannot be reached is a failed check, not an error. Changes nothing at the
/// source.
Result<std::vector<Check>> RunPreflight(const Options& options,
                                        const std::optional<ResumePoint>& resume = {},
                                        std::stop_token stop = {});

}  // namespace freshet::postgres
