#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/source_identity.h"
#include "log/log.h"

namespace freshet::log {

/// State of the log at the start of a segment: enough to read it without those before.
/// Bytes: docs/log_format.md, "Checkpoint".
struct Checkpoint {
  LogEnd end;                     ///< of everything before this segment
  bool transaction_open = false;  ///< the segment before ends inside a transaction
  LogOffset open_since = {};      ///< the open transaction's first batch
  UnixMicros newest_commit = 0;   ///< highest commit time before this segment; 0: none
  UnixMicros written_at = 0;      ///< wall time
  LogOffset previous = {};        ///< first offset of the segment before; -1: none, ever
  int64_t previous_bytes = 0;     ///< its size, once sealed
  uint32_t schema_count = 0;      ///< schema records that follow at once: the schemas in force
  std::optional<change::SourceIdentity> source = {};
  std::vector<change::SnapshotProgress> snapshots = {};  ///< SnapshotLedger::Steps()

  bool operator==(const Checkpoint&) const = default;
};

std::vector<std::byte> EncodeCheckpoint(const Checkpoint& checkpoint);

/// Errors: kMalformed.
Result<Checkpoint> DecodeCheckpoint(std::span<const std::byte> payload);

std::vector<std::byte> EncodeSource(const change::SourceIdentity& source);

/// Errors: kMalformed.
Result<change::SourceIdentity> DecodeSource(std::span<const std::byte> payload);

}  // namespace freshet::log
