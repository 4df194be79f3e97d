#pragma once

#include <stop_token>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/ids.h"
#include "change/source_identity.h"
#include "postgres/options.h"

namespace freshet::postgres {

/// Where a stream begins behind a log that its old slot can no longer continue.
struct SlotRenewal {
  change::SourceIdentity source;        ///< with the new slot's consistent point
  std::vector<change::TableId> tables;  ///< all that are chosen: their rows must be read anew
};

/// Drops the pipeline's slot and makes it anew, for a log that was filled from `source` and ends at
/// `end`. Makes the publication where it is gone. What would keep the stream from going on is
/// looked at before anything is dropped; a slot that was dropped and not made is found by the next
/// call.
///
/// Errors: kGap (another server or database, or one that ends before `end`: only a new log helps),
/// kBusy (the slot is in use, or transactions hold it up), kConfig
/// (`snapshot` is not initial; what CheckTables() finds), and those of Connection.
Result<SlotRenewal> RenewSlot(const Options& options, const change::SourceIdentity& source,
                              change::Lsn end, const Clock& clock, std::stop_token stop = {});

}  // namespace freshet::postgres
