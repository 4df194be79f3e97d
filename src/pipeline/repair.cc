#include "pipeline/repair.h"

#include "base/logging.h"
#include "log/log.h"
#include "postgres/slot_renewal.h"

namespace freshet::pipeline {

Result<GapReport> BridgeGap(const Options& options, FileSystem& fs, const Clock& clock,
                            std::stop_token stop) {
  FRESHET_TRY(const auto log, log::Log::Open(fs, clock, options.log));
  const auto source = log->source();
  const change::Position end = log->stats().appended.position;
  if (!source.has_value() || end == change::Position{}) {
    return Fail(ErrorKind::kNotFound,
                "the log in '{}' has nothing yet, so nothing follows it; `freshet run` begins it",
                options.log.path);
  }
  FRESHET_TRY(const postgres::SlotRenewal renewal,
              postgres::RenewSlot(options.source, *source, end.commit_end, clock, stop));

  const change::Lsn point = renewal.source.consistent_point;
  auto batch = std::make_shared<change::ChangeBatch>();
  batch->transactions.push_back({.kind = change::TransactionKind::kSnapshot,
                                 .xid = {},
                                 .commit_lsn = point,
                                 .end_lsn = point,
                                 .commit_time = clock.Now(),
                                 .origin = ""});
  for (const change::TableId table : renewal.tables) {
    batch->snapshots.push_back({.step = change::SnapshotStep::kWanted, .table = table});
  }
  change::CheckInvariants(*batch);
  FRESHET_RETURN_IF_ERROR(log->SetSource(renewal.source));
  FRESHET_RETURN_IF_ERROR(log->Append(batch));
  FRESHET_RETURN_IF_ERROR(log->Sync());
  logging::Warning("changes are missing in the log; every table is read anew",
                   {{"after", ToString(end)},
                    {"before", ToString(point)},
                    {"tables", static_cast<int64_t>(renewal.tables.size())}});
  return GapReport{
      .log_ended = end, .goes_on = point, .tables = static_cast<int64_t>(renewal.tables.size())};
}

}  // namespace freshet::pipeline
