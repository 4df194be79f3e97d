#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <variant>

#include "base/mutex.h"
#include "base/queue.h"
#include "log/log.h"
#include "pipeline/latency.h"
#include "postgres/capture.h"

namespace freshet::pipeline {

/// Between capture and log: a short queue, and the log thread that empties it.
///
/// Threads: CaptureOutput's calls and resume_point() from the ingest thread; WriteLog() is the log
/// thread; the rest from any. Lifetime: `log` and `clock` outlive it.
class Ingest final : public postgres::CaptureOutput {
 public:
  Ingest(log::Log& log, const Clock& clock);

  Status SourceKnown(const change::SourceIdentity& source) override;
  Result<bool> Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                     std::chrono::nanoseconds timeout) override;
  change::Position Durable() const override;

  /// Where capture goes on after a broken connection: behind everything that was offered.
  postgres::ResumePoint resume_point() const;

  /// A snapshot's rows were offered as one transaction and not its end: only reopening the log can
  /// go back behind them.
  bool snapshot_is_open() const;

  /// Every table's rows are durable in the log, as far as has been offered. Any thread.
  bool SnapshotsAreDone() const;

  /// Appends and fsyncs in groups until Close() and the queue is empty, or an error.
  /// `needed` gives the place of the slowest sink; `stop` ends waits for room. Returns kCorrupt,
  /// kIo, ... when the log cannot go on.
  Status WriteLog(const std::function<log::LogOffset()>& needed, std::stop_token stop);

  /// No more batches come.
  void Close() { queue_.Close(); }

  /// Waits until the log knows its source. False when stopped first.
  bool WaitForSource(std::stop_token stop);

  LatencySummary latency() const { return latency_.Summary(); }

  /// Why the log takes nothing at the moment; empty when it does.
  std::string blocked_reason() const;

 private:
  using BatchPtr = std::shared_ptr<const change::ChangeBatch>;
  struct SourceRequest {
    change::SourceIdentity source;
    std::shared_ptr<std::promise<Status>> done;
  };
  using Item = std::variant<BatchPtr, SourceRequest>;

  Status WriteUntilClosed(const std::function<log::LogOffset()>& needed, std::stop_token stop);
  Status Handle(const Item& item, std::stop_token stop);
  Status AppendPatiently(const BatchPtr& batch, std::stop_token stop);
  Status WaitWhileOverBudget(const std::function<log::LogOffset()>& needed, std::stop_token stop);
  void NoteTable(change::TableId table);
  void NoteOffered(const change::ChangeBatch& batch);
  void SetBlocked(std::string reason);

  log::Log& log_;
  const Clock& clock_;
  Queue<Item> queue_;
  LatencyHistogram latency_;

  postgres::ResumePoint offered_;  ///< ingest thread only

  mutable Mutex mutex_;
  std::condition_variable_any source_known_;
  bool has_source_ GUARDED_BY(mutex_) = false;
  change::Position durable_ GUARDED_BY(mutex_);
  std::string blocked_ GUARDED_BY(mutex_);

  /// Tables whose rows are not all offered, or not all durable.
  int64_t unfinished_offered_ GUARDED_BY(mutex_) = 0;
  int64_t unfinished_durable_ GUARDED_BY(mutex_) = 0;
};

}  // namespace freshet::pipeline
