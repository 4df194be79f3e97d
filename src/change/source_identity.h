#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "change/ids.h"

namespace freshet::change {

/// Which source a log was filled from. The log's first record; every checkpoint repeats it. At each
/// start it is compared with the server, so that another server, an older one (restored from a
/// backup) or a slot made anew cannot be taken for the one we know.
struct SourceIdentity {
  uint64_t system_id = 0;  ///< IDENTIFY_SYSTEM; made by initdb
  uint32_t timeline = 0;
  std::string database;
  uint32_t database_oid = 0;
  std::string slot;
  std::string publication;
  Lsn consistent_point;       ///< where the slot began; the snapshot's rows stand there
  UnixMicros created_at = 0;  ///< when the slot was made

  bool operator==(const SourceIdentity&) const = default;
};

/// What tells one source from another in a target: "7301234567890123456/shop" (system id,
/// database).
std::string SourceKey(const SourceIdentity& source);

}  // namespace freshet::change
