#include "log/inspect.h"

#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <utility>

#include "log/record_walker.h"
#include "log/segment_reader.h"

namespace freshet::log {
namespace {

std::span<const std::byte> AsSpan(const arrow::Buffer& buffer) {
  return {reinterpret_cast<const std::byte*>(buffer.data()), static_cast<size_t>(buffer.size())};
}

/// Counts a batch whose head is `head` into the report of its segment.
void Count(const BatchHead& head, SegmentReport& report) {
  report.end = {.offset = {head.offset.value + 1}, .position = head.end};
  report.ends_open = !head.ends;
  ++report.batches;
  report.transactions += head.ends ? head.transactions : 0;
  report.rows += head.rows;
  if (head.newest_commit == 0) return;
  if (report.oldest_commit == 0) report.oldest_commit = head.newest_commit;
  report.oldest_commit = std::min(report.oldest_commit, head.newest_commit);
  report.newest_commit = std::max(report.newest_commit, head.newest_commit);
}

/// Takes the steps of the batch record `header` at `at` into `snapshots`.
Status ApplySteps(SegmentReader& segment, int64_t at, const RecordHeader& header,
                  change::SnapshotLedger& snapshots) {
  FRESHET_TRY(const auto bytes, segment.PayloadAt(at, header));
  if (bytes == nullptr) return Fail(segment.Damage(at, "a checksum does not match"));
  FRESHET_TRY(const auto steps, DecodeSnapshotSteps(AsSpan(*bytes)));
  for (const change::SnapshotProgress& step : steps) snapshots.Apply(step);
  return {};
}

/// Fills `report` from the records of `segment`. Errors: kCorrupt, kIo.
Status InspectRecords(SegmentReader& segment, bool last, const InspectOptions& options,
                      SegmentReport& report, std::optional<change::SourceIdentity>& source,
                      change::SnapshotLedger& snapshots) {
  report.whole_bytes = segment.begin();
  FRESHET_TRY(const WalkEnd end,
              WalkRecords(segment, report.size_bytes, last, options.check_everything,
                          [&](int64_t at, const RecordHeader& header,
                              const std::shared_ptr<arrow::Buffer>& payload) -> Status {
                            if (header.kind == RecordKind::kBatch) {
                              FRESHET_TRY(const BatchHead head,
                                          segment.BatchHeadAt(at, header, report.size_bytes));
                              if (head.offset != report.end.offset) {
                                return Fail(segment.Damage(at, "its batch is out of order"));
                              }
                              if (payload != nullptr) {
                                FRESHET_TRY(const auto batch, segment.BatchAt(at, header));
                                for (const change::TableChanges& table : batch->tables) {
                                  const arrow::Status valid = table.rows->ValidateFull();
                                  if (!valid.ok()) return Fail(segment.Damage(at, valid.message()));
                                }
                              }
                              if (head.snapshots > 0) {
                                FRESHET_RETURN_IF_ERROR(ApplySteps(segment, at, header, snapshots));
                              }
                              Count(head, report);
                            } else if (header.kind == RecordKind::kSource) {
                              FRESHET_TRY(const auto bytes, segment.PayloadAt(at, header));
                              if (bytes == nullptr) {
                                return Fail(segment.Damage(at, "its source record is damaged"));
                              }
                              FRESHET_TRY(source, DecodeSource(AsSpan(*bytes)));
                            }
                            report.whole_bytes = at + RecordBytes(header);
                            return {};
                          }));
  if (!last) return {};
  report.condition = end.torn ? SegmentCondition::kTorn : SegmentCondition::kActive;
  return {};
}

void MarkDamaged(std::string what, SegmentReport& report) {
  report.condition = SegmentCondition::kDamaged;
  report.damage = std::move(what);
}

void AddUp(InspectReport& report) {
  if (report.segments.empty()) return;
  report.start = report.segments.front().start;
  report.end = report.segments.back().end;
  for (const SegmentReport& segment : report.segments) {
    report.size_bytes += segment.size_bytes;
    report.batches += segment.batches;
    report.transactions += segment.transactions;
    report.rows += segment.rows;
    report.damaged = report.damaged || segment.condition == SegmentCondition::kDamaged;
  }
}

/// Whether `checkpoint` continues the segment reported `before`; empty, or what is wrong.
std::string ChainBreak(const Checkpoint& checkpoint, const SegmentReport& before) {
  if (before.file != SegmentName(checkpoint.previous)) {
    return fmt::format("the segment before it, '{}', is missing", SegmentName(checkpoint.previous));
  }
  if (before.size_bytes != checkpoint.previous_bytes) {
    return fmt::format("the segment before it has {} bytes and was sealed with {}",
                       before.size_bytes, checkpoint.previous_bytes);
  }
  return {};
}

}  // namespace

std::string_view SegmentConditionName(SegmentCondition condition) {
  switch (condition) {
    case SegmentCondition::kSealed:
      return "sealed";
    case SegmentCondition::kActive:
      return "active";
    case SegmentCondition::kTorn:
      return "torn";
    case SegmentCondition::kDamaged:
      return "damaged";
  }
  return "unknown";
}

Result<InspectReport> Inspect(FileSystem& fs, const std::string& folder,
                              const InspectOptions& options) {
  FRESHET_TRY(const auto firsts, ListLog(fs, folder));
  InspectReport report;
  int64_t done = 0;
  for (const LogOffset first : firsts) {
    const bool last = first == firsts.back();
    SegmentReport segment_report;
    segment_report.file = SegmentName(first);
    segment_report.start.offset = segment_report.end.offset = first;
    auto segment = SegmentReader::Open(fs, folder, first);
    if (!segment.has_value()) {
      // A running pipeline's retention deletes from the front.
      if (segment.error().kind == ErrorKind::kNotFound && report.segments.empty()) continue;
      if (segment.error().kind != ErrorKind::kCorrupt) return Fail(segment.error());
      MarkDamaged(segment.error().message, segment_report);
      report.segments.push_back(std::move(segment_report));
      continue;
    }
    const Checkpoint& checkpoint = (*segment)->checkpoint();
    if (checkpoint.source.has_value()) report.source = checkpoint.source;
    report.snapshots = {};
    for (const change::SnapshotProgress& step : checkpoint.snapshots) report.snapshots.Apply(step);
    report.id = (*segment)->log_id();
    segment_report.start = segment_report.end = checkpoint.end;
    segment_report.created_at = checkpoint.written_at;
    segment_report.ends_open = checkpoint.transaction_open;
    FRESHET_TRY(segment_report.size_bytes, (*segment)->SizeBytes());
    const Status records =
        InspectRecords(**segment, last, options, segment_report, report.source, report.snapshots);
    if (!records.has_value()) {
      if (records.error().kind != ErrorKind::kCorrupt) return Fail(records.error());
      MarkDamaged(records.error().message, segment_report);
    }
    if (!report.segments.empty()) {
      const std::string broken = ChainBreak(checkpoint, report.segments.back());
      if (!broken.empty()) MarkDamaged((*segment)->Damage(0, broken).message, segment_report);
    }
    done += segment_report.size_bytes;
    report.segments.push_back(std::move(segment_report));
    if (options.progress) options.progress(done);
  }
  AddUp(report);
  return report;
}

}  // namespace freshet::log
