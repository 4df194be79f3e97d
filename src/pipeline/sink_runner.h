#pragma once

#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>

#include "base/mutex.h"
#include "log/log.h"
#include "pipeline/error_policy.h"
#include "pipeline/ingest.h"
#include "pipeline/options.h"
#include "pipeline/status.h"

namespace freshet::pipeline {

/// Carries the log into one sink: opens it, finds its place in the log, writes, flushes by policy,
/// and starts over after errors.
///
/// Threads: Run() is the sink's thread; everything else may be called from any.
/// Lifetime: `log`, `ingest` and `clock` outlive it.
class SinkRunner {
 public:
  SinkRunner(SinkSpec spec, log::Log& log, Ingest& ingest, const Clock& clock);

  /// Runs until `stop`, then flushes what is whole and closes. Returns early with the error when it
  /// is one that a start should not survive (see ReactionTo); later such an error leaves the runner
  /// in SinkState::kFailed until `stop`, so that the log is filled and other sinks go on.
  Status Run(std::stop_token stop);

  SinkStatus status() const;

  /// The place behind which the log must keep everything for this sink.
  log::LogOffset needed() const;

  /// From now on flushes, whatever the policy says, where the log has no more for now and, so that
  /// it need not run dry, behind `wanted`. One thread; the first call counts.
  void Hurry(const change::Position& wanted) {
    if (hurry_.stop_requested()) return;
    wanted_ = wanted;
    hurry_.request_stop();
  }

  /// Ready after the first try to open the target, with its result.
  std::shared_future<Status> first_open() const { return first_open_; }

 private:
  struct Pending;

  Status Session(std::stop_token stop);
  Status WriteEntry(const log::LogEntry& entry, Pending& pending);
  std::set<change::TableId> TablesToEmpty(const change::ChangeBatch& batch);
  Status PrepareNew(const change::ChangeBatch& batch);
  Status Flush(Pending& pending);
  bool MayFlush(const Pending& pending) const;
  bool FlushIsDue(const Pending& pending, bool log_is_drained) const;
  std::chrono::nanoseconds WaitTime(const Pending& pending) const;

  void SetState(SinkState state);
  void NoteError(const Error& error);
  void NoteFlushed(const Pending& pending, const sink::StoredPosition& at, int64_t micros);

  const SinkSpec spec_;
  log::Log& log_;
  Ingest& ingest_;
  const Clock& clock_;
  const std::unique_ptr<sink::Sink> sink_;

  std::stop_source hurry_;   ///< a stop_source for its callbacks: it also ends a wait for the log
  change::Position wanted_;  ///< set before hurry_, then constant
  std::promise<Status> first_open_promise_;
  const std::shared_future<Status> first_open_ = first_open_promise_.get_future().share();

  // The sink thread's own.
  bool tried_open_ = false;
  std::string source_key_;                        ///< change::SourceKey() of what fills the log
  change::Position applied_;                      ///< end of what was written in this session
  std::map<change::TableId, uint64_t> prepared_;  ///< table -> fingerprint in force in the target
  bool opened_ = false;                           ///< the target could be opened at least once
  bool ran_before_ = false;                       ///< something was flushed
  bool flushed_ = false;                          ///< the same, since the last error
  bool filled_before_ = false;                    ///< the target held a position when opened
  bool filled_elsewhere_ = false;                 ///< and that was of another log
  std::set<change::TableId> emptied_;             ///< by the snapshot under way

  LatencyHistogram latency_;
  LatencyHistogram flush_time_;
  mutable Mutex mutex_;
  SinkStatus status_ GUARDED_BY(mutex_);
  /// Bounded by the source's tables.
  std::map<change::TableName, int64_t> table_rows_ GUARDED_BY(mutex_);
  log::LogOffset needed_ GUARDED_BY(mutex_);
  UnixMicros oldest_pending_commit_ GUARDED_BY(mutex_) = 0;  ///< 0: nothing pending
};

/// Splits `batch` so that each part holds at most one version of every table, in order. Parts share
/// the list of transactions. A batch without schema changes is returned as it is.
std::vector<std::shared_ptr<const change::ChangeBatch>> SplitByTableVersion(
    std::shared_ptr<const change::ChangeBatch> batch);

/// `batch`, of one snapshot transaction, with a truncate in front of the first rows of each of
/// `tables`.
std::shared_ptr<const change::ChangeBatch> WithTruncates(const change::ChangeBatch& batch,
                                                         std::set<change::TableId> tables);

}  // namespace freshet::pipeline
