#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "change/source_identity.h"
#include "log/options.h"

namespace freshet {
class FileSystem;
}

namespace freshet::log {

/// Names one log for its whole life: 128 random bits in hex. A new folder is a new log.
struct LogId {
  std::string value;
  auto operator<=>(const LogId&) const = default;
};

/// Counts the records of batches from the log's start; the offset of the next is one past the last.
struct LogOffset {
  int64_t value = 0;
  auto operator<=>(const LogOffset&) const = default;
};

/// A place in the log: `offset` records stand before it, and every transaction that ends at or
/// before `position` is among them.
struct LogEnd {
  LogOffset offset;
  change::Position position;

  bool operator==(const LogEnd&) const = default;
};

/// What a reader gets: a batch and the place behind it.
struct LogEntry {
  std::shared_ptr<const change::ChangeBatch> batch;
  LogEnd end;  ///< position: of the last transaction ended so far
};

/// Figures for status and metrics. Any thread may ask.
struct LogStats {
  LogEnd appended;
  LogEnd durable;
  LogEnd start;            ///< the oldest place a reader can start at
  int64_t size_bytes = 0;  ///< on disk, all segments
  int64_t budget_bytes = 0;
  int64_t segments = 0;
  int64_t appended_bytes_total = 0;
  int64_t syncs_total = 0;
  int64_t sync_micros_total = 0;
  int64_t unfinished_snapshots = 0;  ///< tables whose rows are not all appended
  int64_t tail_bytes = 0;            ///< batches kept in memory for readers that keep up
  bool over_budget = false;
};

class Reader;

/// The durable log of one pipeline: every batch received, in commit order, on disk.
///
/// Bytes: docs/log_format.md. Threads: Append(), Sync(), Retain() and SetSource() from the log
/// thread only; NewReader() and stats() from any; each Reader belongs to one thread. Errors: kIo,
/// kNoSpace (retry after room was made; nothing appended is lost), kCorrupt (names segment and
/// offset), kBusy (another process has the folder).
class Log {
 public:
  /// Opens the folder, making it when absent, and recovers: the torn tail is cut after the last
  /// whole record, then back to the end of the last whole transaction. All that is left is durable.
  static Result<std::unique_ptr<Log>> Open(FileSystem& fs, const Clock& clock,
                                           const Options& options);

  virtual ~Log() = default;

  virtual const LogId& id() const = 0;

  /// What the log was filled from; none while it is new.
  virtual std::optional<change::SourceIdentity> source() const = 0;

  /// Records the source of a log that has no batches yet, durably. Once called, only with the same
  /// system and database (timeline, slot and publication may change). Not while a transaction is
  /// open: a log opened again has none. Errors: kGap for another system or database.
  virtual Status SetSource(const change::SourceIdentity& source) = 0;

  /// Schemas in force at the end of the log, newest version of each table.
  virtual std::vector<std::shared_ptr<const change::TableSchema>> schemas() const = 0;

  /// The tables whose rows are not all in the log, as of its end.
  virtual change::SnapshotLedger snapshots() const = 0;

  /// Writes `batch` behind the last and shows it to readers at once; not durable before Sync().
  /// On kNoSpace nothing was appended and the call may be repeated.
  virtual Result<LogEnd> Append(std::shared_ptr<const change::ChangeBatch> batch) = 0;

  /// Makes every appended batch durable. Returns the durable end. Its position is the only thing
  /// that may be acknowledged to the source.
  virtual Result<LogEnd> Sync() = 0;

  /// Deletes sealed segments that are older than the retention or, when over budget, that no sink
  /// needs. `needed` is the place of the slowest sink: nothing behind it is deleted.
  virtual Status Retain(LogOffset needed) = 0;

  /// True when the log holds its budget and no transaction is open: the caller must not read on
  /// from the source. A transaction under way is always written whole.
  virtual bool ShouldPause() const = 0;

  /// A reader that starts with the first transaction that ends after `position`.
  /// Errors: kGap when that place was deleted by retention.
  virtual Result<std::unique_ptr<Reader>> NewReader(const change::Position& position) = 0;

  /// The position right before the first transaction committed at or after `time`: where a sink is
  /// rewound to. The end of the log when nothing is that young. Any thread.
  /// Errors: kGap when such transactions were deleted by retention.
  virtual Result<change::Position> PositionAt(UnixMicros time) = 0;

  virtual LogStats stats() const = 0;
};

/// Reads batches one after another, from memory when it keeps up and from disk when it does not.
class Reader {
 public:
  virtual ~Reader() = default;

  /// Waits for the next batch, at most `timeout`. Empty: nothing came in time, or stop.
  virtual Result<std::optional<LogEntry>> Next(std::chrono::nanoseconds timeout,
                                               std::stop_token stop) = 0;

  /// The offset of the entry that Next() returns next: what retention must keep for this reader.
  virtual LogOffset next() const = 0;
};

}  // namespace freshet::log
