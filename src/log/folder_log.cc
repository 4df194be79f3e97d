#include "log/folder_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/logging.h"
#include "log/reader.h"
#include "log/schema_codec.h"
#include "log/seek.h"

namespace freshet::log {
namespace {

/// A log has at least so many segments before its budget is full, so that deleting one helps.
constexpr int64_t kSegmentsPerBudget = 8;
constexpr int64_t kLeastSegmentBytes = 4096;

/// Table versions that a checkpoint carries on; those unused for longest go first. They are known
/// again with their next rows, since every segment holds the schemas of its own batches.
constexpr size_t kMostSchemasInForce = 20'000;

int64_t SegmentBytes(const Options& options) {
  return std::max(kLeastSegmentBytes,
                  std::min(options.segment_size.bytes, options.budget.bytes / kSegmentsPerBudget));
}

/// A budget that the disk cannot hold ends in a full disk, which the source's own may be too.
void WarnOfSmallDisk(FileSystem& fs, const Options& options, const Recovered& recovered) {
  int64_t room_bytes = 0;
  for (const SegmentInfo& segment : recovered.sealed) room_bytes += segment.size_bytes;
  const auto free = fs.FreeBytes(options.path);
  if (!free.has_value()) return;
  room_bytes += *free;
  if (room_bytes >= options.budget.bytes) return;
  logging::Warning(
      "the disk has less room than the log's budget; free space or lower log.budget",
      {{"path", options.path}, {"room_bytes", room_bytes}, {"budget_bytes", options.budget.bytes}});
}

}  // namespace

Result<std::unique_ptr<Log>> Log::Open(FileSystem& fs, const Clock& clock, const Options& options) {
  auto opened = FolderLog::Open(fs, clock, options);
  if (!opened.has_value()) return FailWhile("open the log", std::move(opened).error());
  return std::unique_ptr<Log>(*std::move(opened));
}

FolderLog::FolderLog(FileSystem& fs, const Clock& clock, const Options& options,
                     std::unique_ptr<FileLock> lock, LogId id)
    : fs_(fs),
      clock_(clock),
      options_(options),
      segment_bytes_(SegmentBytes(options)),
      lock_(std::move(lock)),
      id_(std::move(id)),
      encoder_(options.compression) {}

Result<std::unique_ptr<FolderLog>> FolderLog::Open(FileSystem& fs, const Clock& clock,
                                                   const Options& options) {
  FRESHET_RETURN_IF_ERROR(fs.MakeFolder(options.path));
  FRESHET_TRY(auto lock, fs.Lock(options.path + "/lock"));
  FRESHET_TRY(Recovered recovered, Recover(fs, options.path));
  if (recovered.cut_bytes > 0) {
    logging::Info("cut the unfinished end of the log",
                  {{"path", options.path}, {"bytes", recovered.cut_bytes}});
  }

  WarnOfSmallDisk(fs, options, recovered);

  std::unique_ptr<FolderLog> log(
      new FolderLog(fs, clock, options, std::move(lock), std::move(recovered.id)));
  FRESHET_RETURN_IF_ERROR(log->GoOn(std::move(recovered)));
  return log;
}

Status FolderLog::GoOn(Recovered recovered) {
  end_ = recovered.next.end;
  newest_commit_ = recovered.next.newest_commit;
  source_ = recovered.next.source;
  for (const auto& schema : recovered.schemas) {
    in_force_[schema->id()] = {schema, 0, end_.offset};
  }
  {
    const MutexLock lock(state_->mutex);
    LogStats& stats = state_->stats;
    stats.appended = stats.durable = end_;
    stats.budget_bytes = options_.budget.bytes;
    for (const SegmentInfo& segment : recovered.sealed) stats.size_bytes += segment.size_bytes;
    state_->source = source_;
    state_->snapshots = std::move(recovered.snapshots);
    stats.unfinished_snapshots = std::ssize(state_->snapshots.unfinished());
    state_->segments = std::move(recovered.sealed);
  }
  return BeginSegment(std::move(recovered.next));
}

Status FolderLog::BeginSegment(Checkpoint next) {
  while (in_force_.size() > kMostSchemasInForce) {
    in_force_.erase(std::min_element(
        in_force_.begin(), in_force_.end(),
        [](const auto& a, const auto& b) { return a.second.last_used < b.second.last_used; }));
  }
  std::vector<std::vector<std::byte>> schemas;
  for (const auto& [id, in_force] : in_force_) schemas.push_back(EncodeSchema(*in_force.schema));
  next.schema_count = static_cast<uint32_t>(schemas.size());
  next.snapshots = snapshots().Steps();
  next.written_at = clock_.Now();
  FRESHET_TRY(writer_, SegmentWriter::Create(fs_, options_.path, id_, next, schemas));
  size_t i = 0;
  for (auto& [id, in_force] : in_force_) in_force.place = writer_->schema_places()[i++];

  begun_at_ = next.end.offset;
  begun_bytes_ = writer_->size_bytes();

  PublishSchemas();
  const MutexLock lock(state_->mutex);
  state_->segments.push_back(MakeSegmentInfo(next, writer_->size_bytes()));
  state_->stats.size_bytes += writer_->size_bytes();
  return {};
}

Status FolderLog::Roll() {
  FRESHET_RETURN_IF_ERROR(writer_->Seal());
  LogOffset sealed;
  {
    const MutexLock lock(state_->mutex);
    state_->stats.durable = end_;
    sealed = state_->segments.back().first();
  }
  const Status begun = BeginSegment({.end = end_,
                                     .transaction_open = transaction_open_,
                                     .open_since = open_since_,
                                     .newest_commit = newest_commit_,
                                     .previous = sealed,
                                     .previous_bytes = writer_->size_bytes(),
                                     .source = source_});
  if (!begun.has_value() && begun.error().kind != ErrorKind::kNoSpace) broken_ = begun.error();
  return begun;
}

std::optional<change::SourceIdentity> FolderLog::source() const {
  const MutexLock lock(state_->mutex);
  return state_->source;
}

Status FolderLog::SetSource(const change::SourceIdentity& source) {
  if (broken_.has_value()) return Fail(*broken_);
  if (transaction_open_) {
    return Fail(ErrorKind::kFatal, "the log was given a source inside a transaction");
  }
  if (source_.has_value() &&
      (source_->system_id != source.system_id || source_->database_oid != source.database_oid)) {
    return Fail(ErrorKind::kGap,
                "the log in '{}' holds changes of database {} (oid {}) of system {}, not of {} "
                "(oid {}) of system {}; give each source a log folder of its own",
                options_.path, source_->database, source_->database_oid, source_->system_id,
                source.database, source.database_oid, source.system_id);
  }
  Gather payload;
  payload.Copy(EncodeSource(source));
  FRESHET_TRY([[maybe_unused]] const int64_t at, writer_->Append(RecordKind::kSource, payload));
  FRESHET_RETURN_IF_ERROR(writer_->Sync());
  source_ = source;
  const MutexLock lock(state_->mutex);
  SegmentInfo& segment = state_->segments.back();
  state_->stats.size_bytes += writer_->size_bytes() - segment.size_bytes;
  segment.size_bytes = writer_->size_bytes();
  state_->source = source;
  state_->stats.durable = end_;
  return {};
}

std::vector<std::shared_ptr<const change::TableSchema>> FolderLog::schemas() const {
  const MutexLock lock(state_->mutex);
  return state_->schemas;
}

change::SnapshotLedger FolderLog::snapshots() const {
  const MutexLock lock(state_->mutex);
  return state_->snapshots;
}

void FolderLog::PublishSchemas() {
  std::vector<std::shared_ptr<const change::TableSchema>> schemas;
  for (const auto& [id, in_force] : in_force_) schemas.push_back(in_force.schema);
  const MutexLock lock(state_->mutex);
  state_->schemas = std::move(schemas);
}

Status FolderLog::CheckFollows(const change::ChangeBatch& batch) const {
  if (batch.transactions.empty()) {
    return Fail(ErrorKind::kFatal, "the log was given a batch without transactions");
  }
  const change::Transaction& first = batch.transactions.front();
  if (first.begins == transaction_open_) {
    return Fail(ErrorKind::kFatal, "the log was given {} where it ends {} transaction",
                first.begins ? "the start of a transaction" : "a later part of a transaction",
                transaction_open_ ? "inside a" : "behind a whole");
  }
  if (first.ends && PositionBehind(first) <= end_.position) {
    return Fail(ErrorKind::kFatal,
                "the log ends at {} and was given a transaction that ends before, at {}",
                ToString(end_.position), ToString(PositionBehind(first)));
  }
  return {};
}

Result<int64_t> FolderLog::PlaceOf(const std::shared_ptr<const change::TableSchema>& schema) {
  const auto found = in_force_.find(schema->id());
  if (found != in_force_.end() &&
      (found->second.schema == schema || *found->second.schema == *schema)) {
    found->second.last_used = end_.offset;
    found->second.schema = schema;  // the next comparison is one of pointers
    return found->second.place;
  }
  Gather payload;
  payload.Copy(EncodeSchema(*schema));
  FRESHET_TRY(const int64_t place, writer_->Append(RecordKind::kSchema, payload));
  in_force_[schema->id()] = {schema, place, end_.offset};
  return place;
}

Result<LogEnd> FolderLog::Append(std::shared_ptr<const change::ChangeBatch> batch) {
  if (broken_.has_value()) return Fail(*broken_);
  FRESHET_RETURN_IF_ERROR(CheckFollows(*batch));
  // Many schemas may fill a segment before its first batch, and they are carried on to the next:
  // at least as much as they take must follow.
  const bool full = writer_->size_bytes() >= std::max(segment_bytes_, 2 * begun_bytes_);
  if (full && end_.offset > begun_at_) FRESHET_RETURN_IF_ERROR(Roll());

  std::vector<int64_t> places;
  places.reserve(batch->tables.size());
  const int64_t size_before = writer_->size_bytes();
  for (const change::TableChanges& table : batch->tables) {
    FRESHET_TRY(places.emplace_back(), PlaceOf(table.schema));
  }
  if (writer_->size_bytes() > size_before) PublishSchemas();
  const BatchHead head = MakeBatchHead(*batch, end_.offset, end_.position);
  FRESHET_TRY(Gather* const payload, encoder_.Encode(head, *batch, places));
  FRESHET_TRY([[maybe_unused]] const int64_t at, writer_->Append(RecordKind::kBatch, *payload));
  FRESHET_FAILPOINT("after_append");
  return Publish(std::move(batch), head);
}

LogEnd FolderLog::Publish(std::shared_ptr<const change::ChangeBatch> batch, const BatchHead& head) {
  if (head.begins) open_since_ = end_.offset;
  end_ = {.offset = {end_.offset.value + 1}, .position = head.end};
  transaction_open_ = !head.ends;
  newest_commit_ = std::max(newest_commit_, head.newest_commit);
  const int64_t memory_bytes = batch->size_bytes();

  std::vector<TailEntry> dropped;  // freed outside of the lock
  {
    const MutexLock lock(state_->mutex);
    SegmentInfo& segment = state_->segments.back();
    const int64_t written = writer_->size_bytes() - segment.size_bytes;
    segment.size_bytes = writer_->size_bytes();
    LogStats& stats = state_->stats;
    stats.appended = end_;
    for (const change::SnapshotProgress& step : batch->snapshots) state_->snapshots.Apply(step);
    stats.unfinished_snapshots = std::ssize(state_->snapshots.unfinished());
    stats.size_bytes += written;
    stats.appended_bytes_total += written;
    stats.tail_bytes += memory_bytes;
    state_->transaction_open = transaction_open_;
    state_->tail.push_back({.entry = {.batch = std::move(batch), .end = end_},
                            .behind = {segment.first(), segment.size_bytes},
                            .size_bytes = memory_bytes});
    while (stats.tail_bytes > options_.memory_tail.bytes && state_->tail.size() > 1) {
      stats.tail_bytes -= state_->tail.front().size_bytes;
      dropped.push_back(std::move(state_->tail.front()));
      state_->tail.pop_front();
    }
  }
  state_->changed.notify_all();
  return end_;
}

Result<LogEnd> FolderLog::Sync() {
  if (broken_.has_value()) return Fail(*broken_);
  const auto begin = clock_.Monotonic();
  FRESHET_RETURN_IF_ERROR(writer_->Sync());
  FRESHET_FAILPOINT("after_fsync");
  const MutexLock lock(state_->mutex);
  state_->stats.durable = end_;
  ++state_->stats.syncs_total;
  state_->stats.sync_micros_total +=
      std::chrono::duration_cast<std::chrono::microseconds>(clock_.Monotonic() - begin).count();
  return end_;
}

bool FolderLog::ShouldPause() const {
  const MutexLock lock(state_->mutex);
  return state_->stats.size_bytes >= options_.budget.bytes && !state_->transaction_open;
}

Status FolderLog::Retain(LogOffset needed) {
  if (broken_.has_value()) return Fail(*broken_);
  const UnixMicros oldest_kept = clock_.Now() - options_.retention.count();
  // Nobody needs the last one any more and it is due: a quiet log never fills it, a full one
  // cannot.
  if (needed >= end_.offset && ActiveIsDue(oldest_kept)) {
    const Status rolled = Roll();
    // On a full disk deleting what is older comes first; this one goes the next time.
    if (!rolled.has_value() && rolled.error().kind != ErrorKind::kNoSpace) return rolled;
  }
  for (size_t left = Deletable(needed, oldest_kept); left > 0; --left) {
    FRESHET_RETURN_IF_ERROR(DeleteFirst());
  }
  return {};
}

bool FolderLog::ActiveIsDue(UnixMicros oldest_kept) const {
  const MutexLock lock(state_->mutex);
  const SegmentInfo& active = state_->segments.back();
  const bool over_budget = state_->stats.size_bytes >= options_.budget.bytes;
  return end_.offset > active.first() && (active.created_at < oldest_kept || over_budget);
}

size_t FolderLog::Deletable(LogOffset needed, UnixMicros oldest_kept) const {
  State& state = *state_;
  const MutexLock lock(state.mutex);
  int64_t size_bytes = state.stats.size_bytes;
  size_t count = 0;
  for (size_t i = 0; i + 1 < state.segments.size(); ++i) {
    const SegmentInfo& behind = state.segments[i + 1];
    if (behind.first() > needed) break;
    // A segment's youngest batch is as old as the segment behind it, or older.
    const bool expired = behind.created_at < oldest_kept;
    if (!expired && size_bytes < options_.budget.bytes) break;
    size_bytes -= state.segments[i].size_bytes;
    // The log begins between transactions, always: a run of segments that share one goes at once.
    if (!behind.starts_open) count = i + 1;
  }
  return count;
}

Status FolderLog::DeleteFirst() {
  SegmentInfo first;
  {
    // First out of sight, so that no reader is sent to a file that is gone.
    const MutexLock lock(state_->mutex);
    first = state_->segments.front();
    state_->segments.erase(state_->segments.begin());
    state_->stats.size_bytes -= first.size_bytes;
  }
  // One by one and in order, durably: a crash in between must not leave a hole.
  FRESHET_RETURN_IF_ERROR(fs_.Remove(options_.path + "/" + SegmentName(first.first())));
  return fs_.SyncFolder(options_.path);
}

Result<std::unique_ptr<Reader>> FolderLog::NewReader(const change::Position& position) {
  std::vector<SegmentInfo> segments;
  {
    const MutexLock lock(state_->mutex);
    segments = state_->segments;
  }
  FRESHET_TRY(const SeekResult start, SeekPosition(fs_, options_.path, segments, position));
  return std::make_unique<FolderReader>(fs_, options_.path, state_, start, position);
}

Result<change::Position> FolderLog::PositionAt(UnixMicros time) {
  std::vector<SegmentInfo> segments;
  change::Position end;
  {
    const MutexLock lock(state_->mutex);
    segments = state_->segments;
    end = state_->stats.appended.position;
  }
  return SeekTime(fs_, options_.path, segments, time, end);
}

LogStats FolderLog::stats() const {
  const MutexLock lock(state_->mutex);
  LogStats stats = state_->stats;
  stats.start = state_->segments.front().start;
  stats.segments = static_cast<int64_t>(state_->segments.size());
  stats.over_budget = stats.size_bytes >= options_.budget.bytes;
  return stats;
}

}  // namespace freshet::log
