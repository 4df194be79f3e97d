#include "pipeline/ingest.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/logging.h"
#include "pipeline/error_policy.h"

namespace freshet::pipeline {
namespace {

/// Batches between capture and log. The log is the big buffer, so a handful is enough.
constexpr size_t kQueueBatches = 6;

/// Bytes appended before an fsync at the latest, so that the acknowledgement keeps moving.
constexpr int64_t kMostBytesPerSync = int64_t{32} << 20;

/// While batches keep coming, an fsync at most this often. One that comes alone waits for nothing.
constexpr std::chrono::milliseconds kSyncInterval{10};

constexpr std::chrono::milliseconds kRetainInterval{1000};
constexpr std::chrono::milliseconds kBudgetPollInterval{100};

/// Changes of the open transaction at the end of `batch`, given those of its earlier parts.
int64_t OpenOrdinal(const change::ChangeBatch& batch, int64_t before) {
  int64_t next = before;
  for (const change::TableChanges& table : batch.tables) {
    if (!table.ordinals.empty()) next = std::max(next, table.ordinals.back() + 1);
  }
  for (const change::LogicalMessage& message : batch.messages) {
    next = std::max(next, message.ordinal + 1);
  }
  return next;
}

}  // namespace

Ingest::Ingest(log::Log& log, const Clock& clock)
    : log_(log), clock_(clock), queue_(kQueueBatches) {
  const auto stats = log_.stats();
  offered_ = {.source = log_.source(),
              .appended = stats.appended.position,
              .tables = {},
              .snapshots = log_.snapshots(),
              .open = std::nullopt};
  unfinished_offered_ = unfinished_durable_ = stats.unfinished_snapshots;
  for (const auto& schema : log_.schemas()) NoteTable(schema->id());
  has_source_ = offered_.source.has_value();
  durable_ = stats.durable.position;
}

Status Ingest::SourceKnown(const change::SourceIdentity& source) {
  auto done = std::make_shared<std::promise<Status>>();
  auto result = done->get_future();
  if (!queue_.Push(SourceRequest{source, std::move(done)}, {})) {
    return Fail(ErrorKind::kCancelled, "the log is closed");
  }
  FRESHET_RETURN_IF_ERROR(result.get());
  offered_.source = source;  // a source that goes on, on a new timeline say, keeps its place
  return {};
}

Result<bool> Ingest::Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                           std::chrono::nanoseconds timeout) {
  if (!queue_.PushFor(batch, timeout, {})) return false;
  NoteOffered(*batch);
  return true;
}

void Ingest::NoteTable(change::TableId table) {
  std::vector<change::TableId>& known = offered_.tables;  // ascending
  const auto at = std::lower_bound(known.begin(), known.end(), table);
  if (at == known.end() || *at != table) known.insert(at, table);
}

void Ingest::NoteOffered(const change::ChangeBatch& batch) {
  for (const change::TableChanges& table : batch.tables) NoteTable(table.schema->id());
  if (!batch.snapshots.empty()) {
    for (const change::SnapshotProgress& step : batch.snapshots) offered_.snapshots.Apply(step);
    const MutexLock lock(mutex_);
    unfinished_offered_ = std::ssize(offered_.snapshots.unfinished());
  }
  if (batch.transactions.empty()) return;
  const change::Transaction& last = batch.transactions.back();
  if (last.ends) {
    offered_.appended = PositionBehind(last);
    offered_.open.reset();
  } else {
    // From now on it counts the open transaction's changes, no longer pieces of snapshots.
    offered_.appended.ordinal = OpenOrdinal(batch, last.begins ? 0 : offered_.appended.ordinal);
    offered_.open = last;
  }
}

change::Position Ingest::Durable() const {
  const MutexLock lock(mutex_);
  return durable_;
}

postgres::ResumePoint Ingest::resume_point() const { return offered_; }

bool Ingest::snapshot_is_open() const {
  return offered_.open.has_value() && offered_.open->kind == change::TransactionKind::kSnapshot;
}

bool Ingest::SnapshotsAreDone() const {
  const MutexLock lock(mutex_);
  return unfinished_offered_ == 0 && unfinished_durable_ == 0;
}

bool Ingest::WaitForSource(std::stop_token stop) {
  MutexLock lock(mutex_);
  return source_known_.wait(lock, stop, [&]() REQUIRES(mutex_) { return has_source_; });
}

std::string Ingest::blocked_reason() const {
  const MutexLock lock(mutex_);
  return blocked_;
}

void Ingest::SetBlocked(std::string reason) {
  const MutexLock lock(mutex_);
  blocked_ = std::move(reason);
}

Status Ingest::WriteLog(const std::function<log::LogOffset()>& needed, std::stop_token stop) {
  Status status = WriteUntilClosed(needed, stop);
  queue_.Close();
  while (const std::optional<Item> left = queue_.TryPop()) {
    if (const auto* request = std::get_if<SourceRequest>(&*left)) {
      request->done->set_value(Fail(ErrorKind::kCancelled, "the log is closed"));
    }
  }
  return status;
}

Status Ingest::WriteUntilClosed(const std::function<log::LogOffset()>& needed,
                                std::stop_token stop) {
  auto retained_at = clock_.Monotonic();
  auto synced_at = retained_at - kSyncInterval;
  while (true) {
    std::optional<Item> item = queue_.PopFor(kRetainInterval, {});
    if (!item.has_value() && queue_.closed()) return {};
    const int64_t appended_before = log_.stats().appended_bytes_total;
    while (item.has_value()) {
      FRESHET_RETURN_IF_ERROR(Handle(*item, stop));
      if (log_.stats().appended_bytes_total - appended_before >= kMostBytesPerSync) break;
      const auto left = synced_at + kSyncInterval - clock_.Monotonic();
      item = left > left.zero() ? queue_.PopFor(left, {}) : queue_.TryPop();
    }
    if (log_.stats().appended_bytes_total != appended_before) {
      FRESHET_TRY(const log::LogEnd durable, log_.Sync());
      synced_at = clock_.Monotonic();
      const int64_t unfinished = log_.stats().unfinished_snapshots;
      const MutexLock lock(mutex_);
      durable_ = durable.position;
      unfinished_durable_ = unfinished;
    }
    if (clock_.Monotonic() - retained_at >= kRetainInterval) {
      FRESHET_RETURN_IF_ERROR(log_.Retain(needed()));
      retained_at = clock_.Monotonic();
    }
    FRESHET_RETURN_IF_ERROR(WaitWhileOverBudget(needed, stop));
  }
}

Status Ingest::Handle(const Item& item, std::stop_token stop) {
  if (const auto* batch = std::get_if<BatchPtr>(&item)) return AppendPatiently(*batch, stop);
  const auto& request = std::get<SourceRequest>(item);
  Status status = log_.SetSource(request.source);
  if (status.has_value()) {
    {
      const MutexLock lock(mutex_);
      has_source_ = true;
    }
    source_known_.notify_all();
  }
  request.done->set_value(status);
  return status;
}

Status Ingest::AppendPatiently(const BatchPtr& batch, std::stop_token stop) {
  Backoff backoff(1);
  while (true) {
    const auto end = log_.Append(batch);
    if (end.has_value()) break;
    if (end.error().kind != ErrorKind::kNoSpace || stop.stop_requested()) return Fail(end.error());
    SetBlocked(end.error().message);
    const auto pause = backoff.Next();
    logging::Error("the log cannot grow; the source is not read until it can",
                   {{"error", end.error().message}, {"try_again_in_ms", pause.count()}});
    clock_.WaitFor(pause, stop);
  }
  if (backoff.tries() > 0) SetBlocked({});
  if (batch->tables.empty() && batch->messages.empty()) return {};  // a position only
  const UnixMicros now = clock_.Now();
  for (const change::Transaction& t : batch->transactions) {
    if (t.ends && t.kind == change::TransactionKind::kStream) latency_.Add(now - t.commit_time);
  }
  return {};
}

Status Ingest::WaitWhileOverBudget(const std::function<log::LogOffset()>& needed,
                                   std::stop_token stop) {
  bool waited = false;
  while (log_.ShouldPause() && !stop.stop_requested()) {
    FRESHET_RETURN_IF_ERROR(log_.Retain(needed()));
    if (!log_.ShouldPause()) break;
    if (!waited) {
      const auto stats = log_.stats();
      SetBlocked(fmt::format("the log holds {} bytes, its budget is {}", stats.size_bytes,
                             stats.budget_bytes));
      logging::Error("the log is full; the source is not read until a sink catches up",
                     {{"size_bytes", stats.size_bytes}, {"budget_bytes", stats.budget_bytes}});
    }
    waited = true;
    clock_.WaitFor(kBudgetPollInterval, stop);
  }
  if (waited) SetBlocked({});
  return {};
}

}  // namespace freshet::pipeline
