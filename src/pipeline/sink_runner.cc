#include "pipeline/sink_runner.h"

#include <arrow/array/util.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/logging.h"

namespace freshet::pipeline {
namespace {

using std::chrono::nanoseconds;

/// Position-only progress (transactions without rows for us) is made durable this seldom.
constexpr std::chrono::seconds kIdleFlushInterval{10};

/// Longest wait for the log, so that a due flush and a stop are seen.
constexpr std::chrono::milliseconds kMostWait{500};

/// The same for a sink that is told to finish, or that waits for the log to be durable.
constexpr std::chrono::milliseconds kHurriedWait{5};

/// The ordinal of what stands before a transaction's first change.
constexpr int64_t kBeforeTheFirst = -1;

/// Buckets of commit times kept between two flushes, to measure latency in bounded memory.
constexpr size_t kMostCommitTimes = 4096;

}  // namespace

/// What was written since the last flush.
struct SinkRunner::Pending {
  sink::StoredPosition behind;
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t transactions = 0;
  bool dirty = false;  ///< something was written
  bool inside_transaction = false;
  bool snapshot_only = true;     ///< no row of the stream
  log::LogOffset durable_first;  ///< the log must be durable up to here before a flush
  nanoseconds since{0};          ///< when the first of it was written
  std::map<change::TableName, int64_t> table_rows;

  /// Commit times and how many transactions had them. When full, neighbours share an entry.
  std::vector<std::pair<UnixMicros, int64_t>> commits;

  void AddCommit(UnixMicros at) {
    if (commits.size() < kMostCommitTimes) {
      commits.emplace_back(at, 1);
    } else {
      ++commits.back().second;
    }
  }
};

std::vector<std::shared_ptr<const change::ChangeBatch>> SplitByTableVersion(
    std::shared_ptr<const change::ChangeBatch> batch) {
  std::map<change::TableId, size_t> versions;
  std::vector<std::shared_ptr<change::ChangeBatch>> parts;
  for (const change::TableChanges& table : batch->tables) {
    const size_t part = versions[table.schema->id()]++;
    if (part == parts.size()) {
      parts.push_back(std::make_shared<change::ChangeBatch>());
      parts.back()->transactions = batch->transactions;
    }
    parts[part]->tables.push_back(table);
  }
  if (parts.size() <= 1) return {std::move(batch)};
  parts.front()->messages = batch->messages;
  return {parts.begin(), parts.end()};
}

std::shared_ptr<const change::ChangeBatch> WithTruncates(const change::ChangeBatch& batch,
                                                         std::set<change::TableId> tables) {
  auto out = std::make_shared<change::ChangeBatch>();
  out->transactions = batch.transactions;
  out->messages = batch.messages;
  out->snapshots = batch.snapshots;
  for (const change::TableChanges& table : batch.tables) {
    if (tables.erase(table.schema->id()) > 0) {
      const auto& schema = table.schema->arrow_schema();
      std::vector<std::shared_ptr<arrow::Array>> nulls;
      for (const auto& field : schema->fields()) {
        nulls.push_back(arrow::MakeArrayOfNull(field->type(), 1).ValueOrDie());
      }
      out->tables.push_back({.schema = table.schema,
                             .rows = arrow::RecordBatch::Make(schema, 1, std::move(nulls)),
                             .kinds = {change::ChangeKind::kTruncate},
                             .transactions = {0},
                             .ordinals = {kBeforeTheFirst},
                             .unchanged = {},
                             .exceptions = {}});
    }
    out->tables.push_back(table);
  }
  return out;
}

SinkRunner::SinkRunner(SinkSpec spec, log::Log& log, Ingest& ingest, const Clock& clock)
    : spec_(std::move(spec)),
      log_(log),
      ingest_(ingest),
      clock_(clock),
      sink_(spec_.factory->MakeSink(spec_.options, clock)) {
  status_.name = spec_.options.name;
  status_.mode = spec_.options.mode;
  status_.state_since = clock_.Now();
}

Status SinkRunner::Run(std::stop_token stop) {
  Backoff backoff(std::hash<std::string>{}(spec_.options.name));
  const auto started = clock_.Monotonic();
  while (!stop.stop_requested()) {
    SetState(SinkState::kOpening);
    const Status result = Session(stop);
    if (result.has_value()) break;
    if (stop.stop_requested() && result.error().kind == ErrorKind::kCancelled) break;
    NoteError(result.error());
    if (std::exchange(flushed_, false)) backoff.Reset();
    if (stop.stop_requested()) return result;  // the last flush failed: its changes come again
    const bool patience_over = !opened_ && clock_.Monotonic() - started > kStartGrace;
    if (ReactionTo(result.error().kind, ran_before_) == Reaction::kStop || patience_over) {
      SetState(SinkState::kFailed);
      if (!ran_before_) return result;  // ends the run, and is said there
      logging::Error("sink failed; it needs an operator",
                     {{"sink", spec_.options.name}, {"error", result.error().message}});
      return {};
    }
    SetState(SinkState::kRetrying);
    const auto pause = backoff.Next();
    logging::Warning("sink will try again", {{"sink", spec_.options.name},
                                             {"in_ms", pause.count()},
                                             {"error", result.error().message}});
    clock_.WaitFor(pause, stop);
  }
  if (!std::exchange(tried_open_, true)) first_open_promise_.set_value({});
  SetState(SinkState::kStopped);
  return {};
}

Status SinkRunner::Session(std::stop_token stop) {
  const auto opened = sink_->Open(stop);
  if (!std::exchange(tried_open_, true)) {
    first_open_promise_.set_value(opened.has_value() ? Status() : Status(Fail(opened.error())));
  }
  FRESHET_TRY(const auto stored, opened);
  if (!ingest_.WaitForSource(stop)) return sink_->Close();
  prepared_.clear();
  const auto source = log_.source();
  CHECK(source.has_value());
  source_key_ = change::SourceKey(*source);
  if (stored.has_value() && stored->source != source_key_) {
    return Fail(ErrorKind::kGap,
                "the target of sink '{}' holds the changes of source {}, this pipeline reads {}; "
                "give the sink a "
                "target of its own",
                spec_.options.name, stored->source, source_key_);
  }
  opened_ = true;
  filled_before_ = stored.has_value();
  filled_elsewhere_ = stored.has_value() && stored->log_id != log_.id().value;
  applied_ = stored.has_value()        ? stored->position
             : sink_->StartsAnywhere() ? log_.stats().start.position
                                       : change::Position{};
  FRESHET_TRY(const auto reader, log_.NewReader(applied_));
  {
    const MutexLock lock(mutex_);
    needed_ = status_.read = reader->next();
    if (stored.has_value()) status_.durable = *stored;
  }
  SetState(SinkState::kRunning);

  std::stop_source wake;  // by the stop, or by the first Hurry()
  const std::stop_callback on_stop(stop, [&wake] { wake.request_stop(); });
  const std::stop_callback on_hurry(hurry_.get_token(), [&wake] { wake.request_stop(); });
  Pending pending;
  while (!stop.stop_requested()) {
    const bool hurried = hurry_.stop_requested();
    FRESHET_TRY(const auto entry,
                reader->Next(WaitTime(pending), hurried ? stop : wake.get_token()));
    if (entry.has_value()) FRESHET_RETURN_IF_ERROR(WriteEntry(*entry, pending));
    if (FlushIsDue(pending, !entry.has_value())) {
      FRESHET_RETURN_IF_ERROR(Flush(pending));
      pending = Pending();
    }
  }
  if (MayFlush(pending)) FRESHET_RETURN_IF_ERROR(Flush(pending));
  return sink_->Close();
}

Status SinkRunner::WriteEntry(const log::LogEntry& entry, Pending& pending) {
  auto batch = change::DropApplied(entry.batch, applied_);
  if (batch == nullptr) {
    const MutexLock lock(mutex_);
    status_.read = entry.end.offset;
    return {};
  }
  if (auto empty = TablesToEmpty(*batch); !empty.empty()) {
    batch = WithTruncates(*batch, std::move(empty));
  }
  if (!pending.dirty) pending.since = clock_.Monotonic();
  pending.dirty = true;
  pending.inside_transaction = !batch->ends_transaction();
  pending.behind = {.source = source_key_,
                    .log_id = log_.id().value,
                    .log_offset = entry.end.offset.value,
                    .position = std::max(applied_, entry.end.position)};
  for (const auto& part : SplitByTableVersion(batch)) {
    FRESHET_RETURN_IF_ERROR(PrepareNew(*part));
    FRESHET_RETURN_IF_ERROR(sink_->Write(part, pending.behind));
  }
  applied_ = std::max(applied_, entry.end.position);
  pending.rows += batch->num_rows();
  pending.bytes += batch->size_bytes();
  for (const change::TableChanges& table : batch->tables) {
    pending.table_rows[table.schema->name()] += table.num_rows();
  }
  const bool changes = !batch->tables.empty() || !batch->messages.empty();  // or a position only
  for (const change::Transaction& t : batch->transactions) {
    if (!t.ends) continue;
    ++pending.transactions;
    // Rows of a snapshot that a power failure takes from the log are read again and stand at
    // another place: the target must not have them before the log has them for good.
    if (t.kind == change::TransactionKind::kSnapshot) pending.durable_first = entry.end.offset;
    if (t.kind != change::TransactionKind::kSnapshot && changes) pending.snapshot_only = false;
    if (t.kind == change::TransactionKind::kStream && changes) pending.AddCommit(t.commit_time);
  }
  const MutexLock lock(mutex_);
  status_.read = entry.end.offset;
  status_.pending_rows = pending.rows;
  oldest_pending_commit_ = pending.commits.empty() ? 0 : pending.commits.front().first;
  return {};
}

/// The tables that the target must empty where `batch` stands: what it holds of them may have been
/// deleted in the source since, and no change says so.
std::set<change::TableId> SinkRunner::TablesToEmpty(const change::ChangeBatch& batch) {
  std::set<change::TableId> tables;
  const change::Transaction& first = batch.transactions.front();
  if (first.kind != change::TransactionKind::kSnapshot) return tables;
  if (first.ordinal == 0 && filled_before_) {
    // One transaction with all rows of its tables, in many batches.
    if (first.begins) emptied_.clear();
    for (const change::TableChanges& table : batch.tables) {
      if (emptied_.insert(table.schema->id()).second) tables.insert(table.schema->id());
    }
  }
  for (const change::SnapshotProgress& step : batch.snapshots) {
    if (step.step != change::SnapshotStep::kBegun) continue;
    const bool may_have_rows = filled_before_ || prepared_.contains(step.table);
    if (may_have_rows && (step.replaces || filled_elsewhere_)) tables.insert(step.table);
  }
  return tables;
}

Status SinkRunner::PrepareNew(const change::ChangeBatch& batch) {
  for (const change::TableChanges& table : batch.tables) {
    uint64_t& prepared = prepared_[table.schema->id()];
    if (prepared == table.schema->fingerprint()) continue;
    FRESHET_RETURN_IF_ERROR(sink_->Prepare(*table.schema));
    prepared = table.schema->fingerprint();
  }
  return {};
}

bool SinkRunner::MayFlush(const Pending& pending) const {
  return pending.dirty && !pending.inside_transaction &&
         log_.stats().durable.offset >= pending.durable_first;
}

bool SinkRunner::FlushIsDue(const Pending& pending, bool log_is_drained) const {
  if (!MayFlush(pending)) return false;
  if (hurry_.stop_requested() && (log_is_drained || pending.behind.position >= wanted_)) {
    return true;
  }
  const int64_t times = pending.snapshot_only && !log_is_drained ? spec_.flush.snapshot_times : 1;
  if (pending.rows >= times * spec_.flush.rows) return true;
  if (pending.bytes >= times * spec_.flush.bytes.bytes) return true;
  const nanoseconds waited = clock_.Monotonic() - pending.since;
  if (pending.rows == 0) return waited >= kIdleFlushInterval;
  if (spec_.flush.interval.count() == 0) return log_is_drained;
  return waited >= times * nanoseconds(spec_.flush.interval);
}

nanoseconds SinkRunner::WaitTime(const Pending& pending) const {
  if (hurry_.stop_requested()) return kHurriedWait;
  if (!pending.dirty || pending.inside_transaction || pending.rows == 0) return kMostWait;
  const nanoseconds waited = clock_.Monotonic() - pending.since;
  const nanoseconds left = nanoseconds(spec_.flush.interval) - waited;
  const bool must_wait = left <= nanoseconds(0) && !MayFlush(pending);
  return must_wait ? kHurriedWait : std::clamp<nanoseconds>(left, nanoseconds(0), kMostWait);
}

Status SinkRunner::Flush(Pending& pending) {
  const auto begin = clock_.Monotonic();
  FRESHET_TRY(const sink::StoredPosition at, sink_->Flush());
  CHECK(at.position == pending.behind.position);
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(clock_.Monotonic() - begin).count();
  NoteFlushed(pending, at, micros);
  ran_before_ = flushed_ = true;
  return {};
}

void SinkRunner::NoteFlushed(const Pending& pending, const sink::StoredPosition& at,
                             int64_t micros) {
  flush_time_.Add(micros);
  const UnixMicros now = clock_.Now();
  for (const auto& [commit_time, count] : pending.commits) latency_.Add(now - commit_time, count);
  const MutexLock lock(mutex_);
  status_.durable = at;
  needed_ = log::LogOffset{at.log_offset};
  oldest_pending_commit_ = 0;
  status_.rows_total += pending.rows;
  status_.transactions_total += pending.transactions;
  status_.pending_rows = 0;
  ++status_.flushes_total;
  for (const auto& [name, rows] : pending.table_rows) table_rows_[name] += rows;
}

void SinkRunner::SetState(SinkState state) {
  const MutexLock lock(mutex_);
  if (status_.state == state) return;
  status_.state = state;
  status_.state_since = clock_.Now();
}

void SinkRunner::NoteError(const Error& error) {
  const MutexLock lock(mutex_);
  status_.last_error = error;
  status_.last_error_at = clock_.Now();
  ++status_.errors_by_kind[std::string(ErrorKindName(error.kind))];
  ++status_.retries_total;
  status_.pending_rows = 0;
}

SinkStatus SinkRunner::status() const {
  SinkStatus out;
  {
    const MutexLock lock(mutex_);
    out = status_;
    if (oldest_pending_commit_ != 0) out.lag_micros = clock_.Now() - oldest_pending_commit_;
    for (const auto& [name, rows] : table_rows_) out.tables.push_back({name, rows});
  }
  std::stable_sort(out.tables.begin(), out.tables.end(),
                   [](const SinkTable& a, const SinkTable& b) { return a.rows > b.rows; });
  if (out.tables.size() > kMaxTablesShown) out.tables.resize(kMaxTablesShown);
  out.description = sink_->Describe();
  out.flush_time = flush_time_.Summary();
  out.latency = latency_.Summary();
  return out;
}

log::LogOffset SinkRunner::needed() const {
  const MutexLock lock(mutex_);
  return needed_;
}

}  // namespace freshet::pipeline
