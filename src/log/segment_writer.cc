#include "log/segment_writer.h"

#include <utility>

#include "log/segment_reader.h"

namespace freshet::log {
namespace {

/// Room asked for ahead of the writes; see docs/adr/0031-reserve-and-sync.md.
constexpr int64_t kReserveBytes = int64_t{16} << 20;

}  // namespace

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::Create(
    FileSystem& fs, const std::string& folder, const LogId& id, const Checkpoint& checkpoint,
    std::span<const std::vector<std::byte>> schemas) {
  const std::string path = folder + "/" + SegmentName(checkpoint.end.offset);
  const std::string unfinished = path + std::string(kUnfinishedSuffix);
  FRESHET_TRY(auto file, fs.OpenForWriting(unfinished));
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter(std::move(file)));
  const auto write_start = [&]() -> Status {
    FRESHET_RETURN_IF_ERROR(writer->file_->Truncate(0));
    const auto header = EncodeSegmentHeader(id, checkpoint.end.offset);
    const std::span<const std::byte> pieces[] = {header};
    FRESHET_RETURN_IF_ERROR(writer->file_->WriteAt(0, pieces));
    writer->size_bytes_ = static_cast<int64_t>(header.size());

    Gather payload;
    payload.Copy(EncodeCheckpoint(checkpoint));
    FRESHET_TRY([[maybe_unused]] const int64_t at,
                writer->Append(RecordKind::kCheckpoint, payload));
    for (const std::vector<std::byte>& schema : schemas) {
      payload.Clear();
      payload.Copy(schema);
      FRESHET_TRY(writer->schema_places_.emplace_back(),
                  writer->Append(RecordKind::kSchema, payload));
    }
    FRESHET_RETURN_IF_ERROR(writer->Sync());
    FRESHET_RETURN_IF_ERROR(fs.Rename(unfinished, path));
    const Status named = fs.SyncFolder(folder);
    // From the rename on the segment may be there after a crash: too late for a mere retry.
    if (!named.has_value()) return Fail(ErrorKind::kIo, "{}", named.error().message);
    return {};
  };
  const Status written = write_start();
  if (!written.has_value()) {
    // What is left over is removed by the next recovery at the latest.
    [[maybe_unused]] const Status ignored = fs.Remove(unfinished);
    return Fail(written.error());
  }
  return writer;
}

Result<int64_t> SegmentWriter::Append(RecordKind kind, Gather& payload) {
  if (failed_.has_value()) return Fail(*failed_);
  const int64_t at = size_bytes_;
  const RecordHeader header{.kind = kind,
                            .payload_bytes = static_cast<uint32_t>(payload.size_bytes()),
                            .payload_crc = payload.Crc(),
                            .synced_bytes = synced_bytes_};
  payload.PadTo8();
  const int64_t end = at + RecordBytes(header);
  if (end > reserved_bytes_) {
    reserved_bytes_ = end + kReserveBytes;
    file_->Reserve(reserved_bytes_);
  }
  const RecordHeaderBytes header_bytes = EncodeRecordHeader(header, at);
  const Status written = file_->WriteAt(at, payload.Spans(header_bytes));
  if (written.has_value()) {
    size_bytes_ = end;
    return at;
  }
  if (written.error().kind != ErrorKind::kNoSpace) return Fail(Remember(written.error()).error());
  // The part that did fit must go, so that the call can be repeated.
  const Status cut = file_->Truncate(at);
  if (!cut.has_value()) return Fail(Remember(cut.error()).error());
  reserved_bytes_ = at;
  return Fail(written.error());
}

Status SegmentWriter::Sync() {
  if (failed_.has_value()) return Fail(*failed_);
  if (synced_bytes_ == size_bytes_) return {};
  const Status synced = file_->Sync();
  // After a failed fsync the system may have dropped what was to be written, and a second call
  // would not tell: whatever the cause, this file's end is unknown from here on.
  if (!synced.has_value()) return Remember({ErrorKind::kIo, synced.error().message});
  synced_bytes_ = size_bytes_;
  return {};
}

Status SegmentWriter::Seal() {
  FRESHET_RETURN_IF_ERROR(Sync());
  return file_->Truncate(size_bytes_);
}

Status SegmentWriter::Remember(Error error) {
  failed_ = std::move(error);
  failed_->message += ". Nothing acknowledged is lost; the log must be opened again";
  return Fail(*failed_);
}

}  // namespace freshet::log
