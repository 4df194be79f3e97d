#include "log/seek.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace freshet::log {

Result<std::unique_ptr<SegmentReader>> OpenLiveSegment(FileSystem& fs, const std::string& folder,
                                                       LogOffset first) {
  auto opened = SegmentReader::Open(fs, folder, first);
  if (!opened.has_value() && opened.error().kind == ErrorKind::kNotFound) {
    return Fail(ErrorKind::kGap,
                "batch {} of the log in '{}' was deleted by retention while it was still to be "
                "read; raise log.retention and log.budget, and fill this target anew",
                first.value, folder);
  }
  return opened;
}

HeadWalker::HeadWalker(FileSystem& fs, std::string folder, std::vector<SegmentInfo> segments,
                       size_t first)
    : fs_(fs), folder_(std::move(folder)), segments_(std::move(segments)), index_(first) {}

Result<std::optional<HeadWalker::Step>> HeadWalker::Next() {
  while (index_ < segments_.size()) {
    const SegmentInfo& info = segments_[index_];
    if (reader_ == nullptr) {
      FRESHET_TRY(reader_, OpenLiveSegment(fs_, folder_, info.first()));
      at_ = reader_->begin();
    }
    while (at_ < info.size_bytes) {
      const int64_t at = at_;
      FRESHET_TRY(const auto record, reader_->HeaderAt(at, info.size_bytes));
      if (!record.has_value()) return Fail(reader_->Damage(at, "no whole record begins there"));
      at_ += RecordBytes(*record);
      if (record->kind != RecordKind::kBatch) continue;
      FRESHET_TRY(const BatchHead head, reader_->BatchHeadAt(at, *record, info.size_bytes));
      return std::optional<Step>(
          Step{head, *record, Place{info.first(), at}, Place{info.first(), at_}});
    }
    reader_.reset();
    ++index_;
  }
  return std::optional<Step>();
}

Result<SeekResult> SeekPosition(FileSystem& fs, const std::string& folder,
                                const std::vector<SegmentInfo>& segments,
                                const change::Position& position) {
  CHECK(!segments.empty() && !segments.front().starts_open);
  if (position < segments.front().start.position) {
    return Fail(ErrorKind::kGap,
                "the log in '{}' begins at {}; what follows {} was deleted by retention. Fill this "
                "target anew, and raise log.retention and log.budget",
                folder, ToString(segments.front().start.position), ToString(position));
  }
  // The last segment that begins between transactions, at or before the position.
  size_t first = 0;
  for (size_t i = 1; i < segments.size(); ++i) {
    if (!segments[i].starts_open && segments[i].start.position <= position) first = i;
  }
  SeekResult result{segments[first].first(), {segments[first].first(), kSegmentHeaderBytes}};
  HeadWalker walker(fs, folder, segments, first);
  while (true) {
    FRESHET_TRY(const auto step, walker.Next());
    // Parts of a transaction that has not ended carry the end of the one before: a start stays in
    // front of them until they end.
    if (!step.has_value() || step->head.end > position) return result;
    if (step->head.ends) {
      result = {.offset = {step->head.offset.value + 1}, .place = step->behind};
    }
  }
}

Result<change::Position> SeekTime(FileSystem& fs, const std::string& folder,
                                  const std::vector<SegmentInfo>& segments, UnixMicros time,
                                  const change::Position& end) {
  CHECK(!segments.empty());
  if (segments.front().first().value > 0 && segments.front().newest_commit >= time) {
    return Fail(ErrorKind::kGap,
                "the log in '{}' begins at {}; changes of the time asked for were deleted by "
                "retention. Ask for a later time",
                folder, ToString(segments.front().start.position));
  }
  // newest_commit never falls from segment to segment, though commit times themselves may.
  size_t first = 0;
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].newest_commit < time) first = i;
  }
  change::Position before = segments[first].start.position;
  HeadWalker walker(fs, folder, segments, first);
  while (true) {
    FRESHET_TRY(const auto step, walker.Next());
    if (!step.has_value()) return end;
    if (step->head.newest_commit < time) {
      before = step->head.end;
      continue;
    }
    FRESHET_TRY(const auto batch, walker.segment().BatchAt(step->at.byte, step->record));
    for (const change::Transaction& t : batch->transactions) {
      if (t.commit_time >= time) return before;
      if (t.ends) before = PositionBehind(t);
    }
    return Fail(walker.segment().Damage(step->at.byte, "a batch's head and body differ"));
  }
}

}  // namespace freshet::log
