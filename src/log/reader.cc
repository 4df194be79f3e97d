#include "log/reader.h"

#include <algorithm>
#include <utility>

namespace freshet::log {

FolderReader::FolderReader(FileSystem& fs, std::string folder, std::shared_ptr<State> state,
                           const SeekResult& start, const change::Position& position)
    : fs_(fs),
      folder_(std::move(folder)),
      state_(std::move(state)),
      next_(start.offset),
      place_(start.place),
      skip_to_(position) {}

Result<std::optional<LogEntry>> FolderReader::Next(std::chrono::nanoseconds timeout,
                                                   std::stop_token stop) {
  while (true) {
    LogEntry entry;
    switch (Wait(timeout, stop, entry)) {
      case Source::kNothing:
        return std::optional<LogEntry>();
      case Source::kMemory:
        segment_.reset();
        break;
      case Source::kDisk: {
        FRESHET_TRY(entry, ReadFromDisk());
        break;
      }
    }
    next_ = entry.end.offset;
    if (!skip_to_.has_value()) return std::optional(std::move(entry));
    entry.batch = change::DropApplied(std::move(entry.batch), *skip_to_);
    if (entry.end.position > *skip_to_) skip_to_.reset();
    if (entry.batch != nullptr) return std::optional(std::move(entry));
  }
}

FolderReader::Source FolderReader::Wait(std::chrono::nanoseconds timeout,
                                        const std::stop_token& stop, LogEntry& entry) {
  // Added to a time point, "forever" would overflow.
  constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24);
  MutexLock lock(state_->mutex);
  const bool there = state_->changed.wait_for(
      lock, stop, std::min(timeout, kLongest),
      [&]() REQUIRES(state_->mutex) { return state_->stats.appended.offset > next_; });
  if (!there || stop.stop_requested()) return Source::kNothing;
  const LogOffset tail_begin = state_->tail_begin();
  if (next_ < tail_begin) return Source::kDisk;
  const TailEntry& found = state_->tail[static_cast<size_t>(next_.value - tail_begin.value)];
  entry = found.entry;
  place_ = found.behind;
  return Source::kMemory;
}

Result<int64_t> FolderReader::WrittenBytes() {
  State& state = *state_;
  const MutexLock lock(state.mutex);
  const auto behind =
      std::upper_bound(state.segments.begin(), state.segments.end(), next_,
                       [](LogOffset o, const SegmentInfo& s) { return o < s.first(); });
  if (behind != state.segments.begin()) {
    const SegmentInfo& found = *(behind - 1);
    if (found.first() == next_ && place_.segment != next_) place_ = {next_, kSegmentHeaderBytes};
    if (found.first() == place_.segment) return found.size_bytes;
  }
  return Fail(ErrorKind::kGap,
              "batch {} of the log in '{}' was deleted by retention before it was read; raise "
              "log.retention and log.budget, and fill this target anew",
              next_.value, folder_);
}

Result<LogEntry> FolderReader::ReadFromDisk() {
  while (true) {
    FRESHET_TRY(const int64_t limit, WrittenBytes());
    if (segment_ == nullptr || segment_->first() != place_.segment) {
      FRESHET_TRY(segment_, OpenLiveSegment(fs_, folder_, place_.segment));
    }
    const int64_t at = place_.byte;
    FRESHET_TRY(const auto record, segment_->HeaderAt(at, limit));
    if (!record.has_value()) return Fail(segment_->Damage(at, "no whole record begins there"));
    const Place behind{place_.segment, at + RecordBytes(*record)};
    if (record->kind != RecordKind::kBatch) {
      place_ = behind;
      continue;
    }
    FRESHET_TRY(const BatchHead head, segment_->BatchHeadAt(at, *record, limit));
    FRESHET_TRY(auto batch, segment_->BatchAt(at, *record));
    if (head.offset != next_) {
      return Fail(segment_->Damage(at, fmt::format("it holds batch {} where batch {} belongs",
                                                   head.offset.value, next_.value)));
    }
    place_ = behind;
    return LogEntry{.batch = std::move(batch),
                    .end = {.offset = {next_.value + 1}, .position = head.end}};
  }
}

}  // namespace freshet::log
