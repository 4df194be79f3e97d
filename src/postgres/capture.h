#pragma once

#include <chrono>
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
#include "postgres/options.h"
#include "postgres/slot_guard.h"
#include "postgres/spool.h"

namespace freshet::postgres {

/// Where capture goes on: what the log holds already.
struct ResumePoint {
  /// None: the log is new, slot and snapshot are still to be made.
  std::optional<change::SourceIdentity> source;

  /// The end of what was appended. Transactions at or before it are not emitted again. Default
  /// value with a source set: the snapshot was never finished; slot and snapshot are made anew.
  change::Position appended;

  /// The tables whose rows, or the lack of them, the log knows. Empty: not known.
  std::vector<change::TableId> tables;

  /// The tables whose rows are not all in the log yet.
  change::SnapshotLedger snapshots = {};

  /// The transaction left open by a broken connection when `appended.ordinal` > 0: the re-sent one
  /// must be it.
  std::optional<change::Transaction> open;
};

/// Takes what capture produces. Implemented by the pipeline; called from the thread in
/// Capture::Run().
class CaptureOutput {
 public:
  virtual ~CaptureOutput() = default;

  /// A slot was made or taken over: record its identity durably before anything else arrives.
  virtual Status SourceKnown(const change::SourceIdentity& source) = 0;

  /// Offers the next batch. Waits at most `timeout` for room; false when there was none and the
  /// batch was not taken. Capture offers it again, and answers the server in between.
  virtual Result<bool> Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                             std::chrono::nanoseconds timeout) = 0;

  /// The end of what is durable: the most that may be acknowledged.
  virtual change::Position Durable() const = 0;
};

/// States of a capture, as status shows them.
enum class CaptureState : uint8_t {
  kStopped,
  kConnecting,
  kCheckingContinuity,
  kCreatingSlot,
  kSnapshotting,  ///< rows that were there are read; of most tables, while the stream goes on
  kCatchingUp,    ///< a backlog of the slot is read, faster than it could be streamed
  kStreaming,
  kWaitingForStandby,  ///< the server sends nothing that a standby does not have (17+)
  kWaitingForRoom,     ///< the log takes no more (budget or slow disk)
  kServerStopping,     ///< the server shuts down; we acknowledged and left
};

std::string_view CaptureStateName(CaptureState state);

/// How far the snapshot of one table is.
enum class SnapshotState : uint8_t {
  kWanted,    ///< not begun
  kReading,   ///< its rows are read
  kSweeping,  ///< all ranges are read; rows that may have moved between them are read again
  kFinished,
};

/// "wanted", "reading", "sweeping", "finished".
std::string_view SnapshotStateName(SnapshotState state);

/// One table of a running snapshot.
struct SnapshotTable {
  change::TableName name;
  SnapshotState state = SnapshotState::kWanted;
  int64_t rows_copied = 0;
  int64_t rows_estimated = -1;  ///< by the server's statistics; -1: it has none
  int64_t bytes_copied = 0;
  int64_t bytes_read = 0;       ///< of the table's file, blocks of 8 KiB read through
  int64_t bytes_estimated = 0;  ///< pg_relation_size
  int64_t rows_per_second = 0;  ///< since it was begun, or gone on with
  int64_t seconds_left = -1;    ///< by bytes_read; -1: not known
  std::string waits_for = {};   ///< one sentence while it waits for something; else empty
  bool done = false;            ///< state is kFinished
  std::string why = {};         ///< one sentence, where it is read again by itself
};

/// Figures for status and metrics.
struct CaptureStatus {
  CaptureState state = CaptureState::kStopped;
  UnixMicros since = 0;
  std::string reason;          ///< one sentence where the state needs one
  bool streamed = false;       ///< some Run() got as far as the stream
  change::Lsn end_at_connect;  ///< the server's WAL end (IDENTIFY_SYSTEM) when Run() connected
  change::Lsn received;        ///< highest WAL position the server sent
  change::Lsn server_end;      ///< the server's last announced walEnd
  change::Lsn acknowledged;    ///< last flush position sent
  int64_t slot_retained_bytes = -1;   ///< WAL the slot holds back; -1 unknown
  std::string slot_wal_status;        ///< reserved, extended, unreserved, lost (13+)
  int64_t slot_safe_wal_bytes = -1;   ///< WAL that may be written before it is lost; -1 no limit
  int64_t slot_catalog_age = -1;      ///< of catalog_xmin, in transactions; -1 unknown
  SlotVerdict slot_verdict;           ///< whether what it holds back does harm
  std::vector<std::string> warnings;  ///< what goes on at the source, one sentence each
  int64_t rows_total = 0;             ///< row images decoded
  int64_t bytes_total = 0;            ///< of the stream and of COPY
  int64_t transactions_total = 0;
  int64_t reconnects_total = 0;
  int64_t read_again_total = 0;     ///< tables whose rows changed without a word in the stream
  UnixMicros last_commit_time = 0;  ///< of the newest transaction received
  std::vector<SnapshotTable> snapshot;

  int64_t backlog_bytes = 0;  ///< WAL still to be read while catching up
  SpoolFigures running;       ///< transactions that the server sends while they still run
};

/// Brings the changes of one database from PostgreSQL to a CaptureOutput.
///
/// Threads: Run() from one thread at a time; status() from any.
class Capture {
 public:
  static std::unique_ptr<Capture> Create(const Options& options, const Clock& clock);

  virtual ~Capture() = default;

  /// Connects, proves continuity with `resume`, makes slot, publication and snapshot where they are
  /// missing, and streams until stopped or broken. The caller decides whether to call again.
  ///
  /// Returns without error when `stop` was requested, or in mode kOnly when the snapshot is done.
  /// Errors: kUnavailable (connection lost, server stopping: retry), kBusy (slot in use: retry),
  /// kDenied, kConfig (wal_level, no such table, no replica identity, ...), kGap (slot lost,
  /// foreign ack, other system), kMalformed, kUnsupported.
  virtual Status Run(const ResumePoint& resume, CaptureOutput& output, std::stop_token stop) = 0;

  virtual CaptureStatus status() const = 0;

  /// Has the rows of a chosen table read while its stream goes on: of one that joined late, or
  /// once more. `replaces`: targets empty the table before; else rows that a target has and the
  /// source has not stay. Returns once it is taken up, not when the rows are there: status() shows
  /// them come. Threads: any but Run()'s.
  /// A table without a key is always replaced. Errors: kConfig (not chosen by `tables`, snapshot:
  /// never), kNotFound (no such table),
  /// kBusy (kMaxRequests wait already), kUnavailable (no stream took it up in time: try again).
  virtual Status RequestSnapshot(const change::TableName& table, bool replaces) = 0;

  /// Chooses other tables from now on, as `tables` and `exclude` of the options do. Tables that are
  /// new join, and their rows are read; those not chosen any more are left out. Threads: any.
  /// Errors: kConfig (a glob that is none); what the source says of the tables shows in status().
  virtual Status Reload(const std::vector<std::string>& tables,
                        const std::vector<std::string>& exclude) = 0;

  static constexpr size_t kMaxRequests = 64;
};

}  // namespace freshet::postgres
