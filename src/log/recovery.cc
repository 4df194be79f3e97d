#include "log/recovery.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "base/check.h"
#include "log/record_walker.h"
#include "log/schema_codec.h"

namespace freshet::log {
namespace {

std::span<const std::byte> AsSpan(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const std::byte*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

LogId NewLogId() {
  std::random_device random;
  std::string text;
  for (int i = 0; i < 4; ++i) text += fmt::format("{:08x}", random());
  return {text};
}

/// Takes one whole record into `scan`, `end` and `open`, the state behind it.
Status ApplyRecord(SegmentReader& segment, int64_t at, const RecordHeader& header,
                   std::span<const std::byte> payload, LogEnd& end, bool& open, SegmentScan& scan) {
  switch (header.kind) {
    case RecordKind::kCheckpoint:
      return Fail(segment.Damage(at, "a checkpoint stands inside the segment"));
    case RecordKind::kSource: {
      auto source = DecodeSource(payload);
      if (!source.has_value()) return Fail(segment.Damage(at, source.error().message));
      scan.source = *std::move(source);
      return {};
    }
    case RecordKind::kSchema: {
      auto schema = DecodeSchema(payload);
      if (!schema.has_value()) return Fail(segment.Damage(at, schema.error().message));
      scan.schemas.push_back(*std::move(schema));
      return {};
    }
    case RecordKind::kBatch: {
      const auto head = DecodeBatchHead(payload);
      if (!head.has_value()) return Fail(segment.Damage(at, head.error().message));
      if (head->offset != end.offset) {
        return Fail(segment.Damage(at, fmt::format("it holds batch {} where batch {} belongs",
                                                   head->offset.value, end.offset.value)));
      }
      if (head->snapshots > 0) {
        const auto steps = DecodeSnapshotSteps(payload);
        if (!steps.has_value()) return Fail(segment.Damage(at, steps.error().message));
        for (const change::SnapshotProgress& step : *steps) scan.snapshots.Apply(step);
      }
      end = {.offset = {end.offset.value + 1}, .position = head->end};
      open = !head->ends;
      scan.newest_commit = std::max(scan.newest_commit, head->newest_commit);
      return {};
    }
  }
  return {};
}

/// The segments of a folder, opened, checked one against the other.
Result<std::vector<std::unique_ptr<SegmentReader>>> OpenSegments(FileSystem& fs,
                                                                 const std::string& folder) {
  FRESHET_TRY(const auto firsts, ListSegments(fs, folder));
  std::vector<std::unique_ptr<SegmentReader>> segments;
  for (const LogOffset first : firsts) {
    FRESHET_TRY(auto segment, SegmentReader::Open(fs, folder, first));
    if (!segments.empty()) {
      const SegmentReader& before = *segments.back();
      const Checkpoint& checkpoint = segment->checkpoint();
      if (segment->log_id() != before.log_id()) {
        return Fail(segment->Damage(0, "it belongs to another log than the segment before"));
      }
      if (checkpoint.previous != before.first()) {
        return Fail(segment->Damage(0, fmt::format("the segment before it, '{}', is missing",
                                                   SegmentName(checkpoint.previous))));
      }
      FRESHET_TRY(const int64_t size, before.SizeBytes());
      if (size != checkpoint.previous_bytes) {
        return Fail(before.Damage(std::min(size, checkpoint.previous_bytes),
                                  fmt::format("it has {} bytes and was sealed with {}", size,
                                              checkpoint.previous_bytes)));
      }
    }
    segments.push_back(std::move(segment));
  }
  return segments;
}

/// The schemas in force: of each table the last one of `scan`.
std::vector<std::shared_ptr<const change::TableSchema>> NewestOfEach(const SegmentScan& scan) {
  std::map<change::TableId, std::shared_ptr<const change::TableSchema>> newest;
  for (const auto& schema : scan.schemas) newest[schema->id()] = schema;
  std::vector<std::shared_ptr<const change::TableSchema>> out;
  for (auto& [id, schema] : newest) out.push_back(std::move(schema));
  return out;
}

/// Removes the segments behind `kept`, newest first, each durably, so that a crash in between
/// leaves a log that the next recovery cuts in the same way.
Result<int64_t> RemoveBehind(FileSystem& fs, const std::string& folder,
                             const std::vector<std::unique_ptr<SegmentReader>>& segments,
                             size_t kept) {
  int64_t removed = 0;
  for (size_t i = segments.size(); i-- > kept + 1;) {
    FRESHET_TRY(const int64_t size, segments[i]->SizeBytes());
    FRESHET_RETURN_IF_ERROR(fs.Remove(segments[i]->path()));
    FRESHET_RETURN_IF_ERROR(fs.SyncFolder(folder));
    removed += size;
  }
  return removed;
}

/// Cuts a segment at the boundary of its scan and makes it durable.
///
/// What no record vouches for as durable is written again over itself first. An fsync that failed
/// before may have left the file's pages readable, marked clean and never written.
Status CutAndSync(FileSystem& fs, const std::string& path, const SegmentScan& scan) {
  constexpr int64_t kPieceBytes = int64_t{1} << 20;
  FRESHET_TRY(const auto from, fs.OpenForReading(path));
  FRESHET_TRY(const auto file, fs.OpenForWriting(path));
  std::vector<std::byte> piece;
  for (int64_t at = std::min(scan.synced_bytes, scan.boundary_bytes); at < scan.boundary_bytes;) {
    piece.resize(static_cast<size_t>(std::min(kPieceBytes, scan.boundary_bytes - at)));
    FRESHET_TRY(const size_t got, from->ReadAt(at, piece));
    if (got != piece.size()) {
      return Fail(ErrorKind::kIo, "log segment '{}' became shorter while it was read", path);
    }
    const std::span<const std::byte> pieces[] = {piece};
    FRESHET_RETURN_IF_ERROR(file->WriteAt(at, pieces));
    at += static_cast<int64_t>(got);
  }
  FRESHET_RETURN_IF_ERROR(file->Truncate(scan.boundary_bytes));
  return file->Sync();
}

/// How many segments at the front begin inside a transaction whose start is gone. Retention deletes
/// such a run with the segment before it, one by one, so a crash may leave the rest of it.
Result<size_t> CountLeftovers(const std::vector<std::unique_ptr<SegmentReader>>& segments) {
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i]->checkpoint().transaction_open) return i;
  }
  return Fail(segments[0]->Damage(0, "its transaction begins in a segment that is missing"));
}

/// Goes on with what retention had begun, from the front, each durably.
Status RemoveLeftovers(FileSystem& fs, const std::string& folder,
                       const std::vector<std::unique_ptr<SegmentReader>>& segments, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    FRESHET_RETURN_IF_ERROR(fs.Remove(segments[i]->path()));
    FRESHET_RETURN_IF_ERROR(fs.SyncFolder(folder));
  }
  return {};
}

/// Removes segments whose making was cut short. They hold nothing.
Status RemoveUnfinished(FileSystem& fs, const std::string& folder) {
  FRESHET_TRY(const auto names, fs.List(folder));
  for (const std::string& name : names) {
    if (name.ends_with(kUnfinishedSuffix)) {
      FRESHET_RETURN_IF_ERROR(fs.Remove(folder + "/" + name));
    }
  }
  return {};
}

}  // namespace

Result<SegmentScan> ScanSegment(SegmentReader& segment, int64_t size_bytes, bool last) {
  const Checkpoint& checkpoint = segment.checkpoint();
  SegmentScan scan;
  LogEnd end = checkpoint.end;
  bool open = checkpoint.transaction_open;
  // All but its schemas, whose count is enough, and its snapshots, which change at boundaries only.
  SegmentScan at_boundary;
  size_t schemas_at_boundary = 0;
  scan.source = checkpoint.source;
  for (const change::SnapshotProgress& step : checkpoint.snapshots) scan.snapshots.Apply(step);
  scan.newest_commit = checkpoint.newest_commit;
  scan.synced_bytes = segment.begin();

  const auto note_boundary = [&](int64_t bytes) {
    if (open) return;
    at_boundary.has_boundary = true;
    at_boundary.boundary_bytes = bytes;
    at_boundary.end = end;
    at_boundary.newest_commit = scan.newest_commit;
    at_boundary.source = scan.source;
    schemas_at_boundary = scan.schemas.size();
  };
  note_boundary(segment.begin());

  const auto walked =
      WalkRecords(segment, size_bytes, last, true,
                  [&](int64_t at, const RecordHeader& header,
                      const std::shared_ptr<arrow::Buffer>& payload) -> Status {
                    FRESHET_RETURN_IF_ERROR(
                        ApplyRecord(segment, at, header, AsSpan(*payload), end, open, scan));
                    scan.synced_bytes = std::max(scan.synced_bytes, header.synced_bytes);
                    note_boundary(at + RecordBytes(header));
                    return {};
                  });
  if (!walked.has_value()) return Fail(walked.error());

  at_boundary.synced_bytes = scan.synced_bytes;
  at_boundary.schemas = std::move(scan.schemas);
  at_boundary.schemas.resize(schemas_at_boundary);
  at_boundary.snapshots = std::move(scan.snapshots);
  return at_boundary;
}

Result<Recovered> Recover(FileSystem& fs, const std::string& folder) {
  FRESHET_TRY(const auto segments, OpenSegments(fs, folder));
  Recovered out;
  if (segments.empty()) {
    FRESHET_RETURN_IF_ERROR(RemoveUnfinished(fs, folder));
    out.id = NewLogId();
    out.next.previous = LogOffset{-1};
    return out;
  }
  out.id = segments.back()->log_id();
  FRESHET_TRY(const size_t leftovers, CountLeftovers(segments));

  // The boundary may lie in an earlier segment, when the last begins inside a transaction that
  // never ended: in the one where that transaction began, or before.
  size_t kept = segments.size() - 1;
  SegmentScan scan;
  while (true) {
    FRESHET_TRY(const int64_t size, segments[kept]->SizeBytes());
    FRESHET_TRY(scan, ScanSegment(*segments[kept], size, kept + 1 == segments.size()));
    out.cut_bytes = size - scan.boundary_bytes;
    if (scan.has_boundary) break;
    const LogOffset open_since = segments[kept]->checkpoint().open_since;
    do {
      if (kept == leftovers) {
        return Fail(
            segments[kept]->Damage(0, "its transaction begins in a segment that is missing"));
      }
      --kept;
    } while (segments[kept]->first() > open_since);
  }

  FRESHET_RETURN_IF_ERROR(RemoveLeftovers(fs, folder, segments, leftovers));
  FRESHET_TRY(const int64_t removed, RemoveBehind(fs, folder, segments, kept));
  out.cut_bytes += removed;
  FRESHET_RETURN_IF_ERROR(CutAndSync(fs, segments[kept]->path(), scan));
  FRESHET_RETURN_IF_ERROR(RemoveUnfinished(fs, folder));

  // A segment without batches is replaced by the next one, which begins at the same offset.
  const bool empty = scan.end.offset == segments[kept]->first();
  for (size_t i = leftovers; i < kept + (empty ? 0 : 1); ++i) {
    FRESHET_TRY(const int64_t size, segments[i]->SizeBytes());
    out.sealed.push_back(MakeSegmentInfo(segments[i]->checkpoint(), size));
  }
  out.next.end = scan.end;
  out.next.newest_commit = scan.newest_commit;
  out.next.source = scan.source;
  out.next.previous = LogOffset{-1};
  if (empty) {
    out.next.previous = segments[kept]->checkpoint().previous;
    out.next.previous_bytes = segments[kept]->checkpoint().previous_bytes;
  } else {
    out.next.previous = out.sealed.back().first();
    out.next.previous_bytes = out.sealed.back().size_bytes;
  }
  out.schemas = NewestOfEach(scan);
  out.snapshots = std::move(scan.snapshots);
  return out;
}

}  // namespace freshet::log
