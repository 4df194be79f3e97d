#include "log/segment_reader.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "log/crc32c.h"
#include "log/little_endian.h"
#include "log/schema_codec.h"

namespace freshet::log {
namespace {

constexpr std::string_view kMagic = "FRESHLOG";
constexpr uint32_t kVersion = 1;
constexpr std::string_view kSuffix = ".segment";
constexpr size_t kOffsetDigits = 20;
constexpr size_t kLogIdBytes = 16;
constexpr size_t kReadAheadBytes = size_t{8} << 10;

std::string ToHex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return text;
}

std::vector<std::byte> FromHex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    uint8_t value = 0;
    std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    bytes.push_back(std::byte{value});
  }
  return bytes;
}

}  // namespace

std::string SegmentName(LogOffset first) {
  return fmt::format("{:0{}}{}", first.value, kOffsetDigits, kSuffix);
}

std::optional<LogOffset> ParseSegmentName(std::string_view name) {
  if (name.size() != kOffsetDigits + kSuffix.size() || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  LogOffset first;
  const char* const end = name.data() + kOffsetDigits;
  const auto parsed = std::from_chars(name.data(), end, first.value);
  if (parsed.ec != std::errc() || parsed.ptr != end || first.value < 0) return std::nullopt;
  return first;
}

Result<std::vector<LogOffset>> ListSegments(FileSystem& fs, const std::string& folder) {
  FRESHET_TRY(const auto names, fs.List(folder));
  std::vector<LogOffset> firsts;
  for (const std::string& name : names) {
    if (const auto first = ParseSegmentName(name)) firsts.push_back(*first);
  }
  return firsts;
}

Result<std::vector<LogOffset>> ListLog(FileSystem& fs, const std::string& folder) {
  FRESHET_TRY(auto firsts, ListSegments(fs, folder));
  if (firsts.empty()) {
    return Fail(ErrorKind::kNotFound, "there is no log in '{}'; give the folder of `log.path`",
                folder);
  }
  return firsts;
}

std::vector<std::byte> EncodeSegmentHeader(const LogId& id, LogOffset first) {
  std::vector<std::byte> bytes;
  LittleEndianWriter out(bytes);
  out.Bytes(std::as_bytes(std::span(kMagic)));
  out.U32(kVersion);
  out.U32(0);
  out.Bytes(FromHex(id.value));
  out.I64(first.value);
  out.U32(Crc32c(bytes));
  out.U32(0);
  return bytes;
}

SegmentReader::SegmentReader(std::unique_ptr<ReadableFile> file, std::string path, LogOffset first)
    : file_(std::move(file)), path_(std::move(path)), first_(first) {}

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(FileSystem& fs,
                                                           const std::string& folder,
                                                           LogOffset first) {
  std::string path = folder + "/" + SegmentName(first);
  FRESHET_TRY(auto file, fs.OpenForReading(path));
  std::unique_ptr<SegmentReader> reader(new SegmentReader(std::move(file), std::move(path), first));
  FRESHET_RETURN_IF_ERROR(reader->ReadStart());
  return reader;
}

Status SegmentReader::ReadStart() {
  FRESHET_TRY(const int64_t size, SizeBytes());
  FRESHET_TRY(const auto bytes, Peek(0, kSegmentHeaderBytes, size));
  LittleEndianReader in(bytes);
  const auto magic = in.Bytes(kMagic.size());
  const uint32_t version = in.U32();
  in.U32();
  log_id_.value = ToHex(in.Bytes(kLogIdBytes));
  const LogOffset first{in.I64()};
  constexpr size_t kCheckedBytes = 40;
  const uint32_t crc = in.U32();
  in.U32();
  if (!in.Finished() || !std::ranges::equal(magic, std::as_bytes(std::span(kMagic)))) {
    return Fail(Damage(0, "it does not begin as a segment of a freshet log does"));
  }
  if (version != kVersion) {
    return Fail(ErrorKind::kUnsupported,
                "log segment '{}' has format version {}, this freshet knows {}: use the freshet "
                "that wrote it or a newer one",
                path_, version, kVersion);
  }
  if (crc != Crc32c(bytes.first(kCheckedBytes)) || first != first_) {
    return Fail(Damage(0, "its header is damaged or belongs to another segment"));
  }

  FRESHET_TRY(const auto header, HeaderAt(kSegmentHeaderBytes, size));
  if (!header.has_value() || header->kind != RecordKind::kCheckpoint) {
    return Fail(Damage(kSegmentHeaderBytes, "its checkpoint is damaged"));
  }
  FRESHET_TRY(const auto payload, PayloadAt(kSegmentHeaderBytes, *header));
  if (payload == nullptr) return Fail(Damage(kSegmentHeaderBytes, "its checkpoint is damaged"));
  auto checkpoint = DecodeCheckpoint(
      {reinterpret_cast<const std::byte*>(payload->data()), static_cast<size_t>(payload->size())});
  if (!checkpoint.has_value()) {
    return Fail(Damage(kSegmentHeaderBytes, checkpoint.error().message));
  }
  if (checkpoint->end.offset != first_) {
    return Fail(Damage(kSegmentHeaderBytes, "its checkpoint belongs to another segment"));
  }
  checkpoint_ = *std::move(checkpoint);
  begin_ = kSegmentHeaderBytes + RecordBytes(*header);
  return {};
}

Result<std::span<const std::byte>> SegmentReader::Peek(int64_t at, size_t size, int64_t limit) {
  const int64_t end = std::min(at + static_cast<int64_t>(size), limit);
  if (end <= at) return std::span<const std::byte>();
  const int64_t buffer_end = buffer_at_ + static_cast<int64_t>(buffer_.size());
  if (at < buffer_at_ || end > buffer_end) {
    buffer_.resize(std::min(kReadAheadBytes, static_cast<size_t>(limit - at)));
    buffer_at_ = at;
    auto got = file_->ReadAt(at, buffer_);
    buffer_.resize(got.has_value() ? *got : 0);
    if (!got.has_value()) return Fail(std::move(got).error());
  }
  const auto skip = static_cast<size_t>(at - buffer_at_);
  const auto available = std::min(static_cast<size_t>(end - at), buffer_.size() - skip);
  return std::span<const std::byte>(buffer_).subspan(skip, available);
}

Result<std::optional<RecordHeader>> SegmentReader::HeaderAt(int64_t at, int64_t limit) {
  FRESHET_TRY(const auto bytes, Peek(at, kRecordHeaderBytes, limit));
  const auto header = DecodeRecordHeader(bytes, at);
  if (!header.has_value() || RecordBytes(*header) > limit - at) {
    return std::optional<RecordHeader>();
  }
  return header;
}

Result<BatchHead> SegmentReader::BatchHeadAt(int64_t at, const RecordHeader& header,
                                             int64_t limit) {
  const auto size = std::min<int64_t>(header.payload_bytes, kBatchHeadBytes);
  FRESHET_TRY(const auto bytes, Peek(at + kRecordHeaderBytes, static_cast<size_t>(size), limit));
  auto head = DecodeBatchHead(bytes);
  if (!head.has_value()) return Fail(Damage(at, head.error().message));
  return head;
}

Result<std::shared_ptr<arrow::Buffer>> SegmentReader::PayloadAt(int64_t at,
                                                                const RecordHeader& header) {
  auto allocated = arrow::AllocateBuffer(header.payload_bytes);
  if (!allocated.ok()) {
    return Fail(ErrorKind::kFatal, "read log segment '{}': no memory for a record of {} bytes",
                path_, header.payload_bytes);
  }
  std::shared_ptr<arrow::Buffer> payload = *std::move(allocated);
  const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(payload->mutable_data()),
                                   header.payload_bytes);
  FRESHET_TRY(const size_t got, file_->ReadAt(at + kRecordHeaderBytes, bytes));
  if (got != bytes.size() || Crc32c(bytes) != header.payload_crc) {
    return std::shared_ptr<arrow::Buffer>();
  }
  return payload;
}

Result<std::shared_ptr<const change::TableSchema>> SegmentReader::SchemaAt(int64_t at,
                                                                           int64_t limit) {
  const auto known = schemas_.find(at);
  if (known != schemas_.end()) return known->second;
  if (at < begin_) return Fail(Damage(at, "a batch points to a table schema that is none"));
  FRESHET_TRY(const auto header, HeaderAt(at, limit));
  if (!header.has_value() || header->kind != RecordKind::kSchema) {
    return Fail(Damage(at, "a batch points to a table schema that is none"));
  }
  FRESHET_TRY(const auto payload, PayloadAt(at, *header));
  if (payload == nullptr) return Fail(Damage(at, "a record's checksum does not match"));
  auto schema = DecodeSchema(
      {reinterpret_cast<const std::byte*>(payload->data()), static_cast<size_t>(payload->size())});
  if (!schema.has_value()) return Fail(Damage(at, schema.error().message));
  schemas_.emplace(at, *schema);
  return *schema;
}

Result<std::shared_ptr<const change::ChangeBatch>> SegmentReader::BatchAt(
    int64_t at, const RecordHeader& header) {
  FRESHET_TRY(const auto payload, PayloadAt(at, header));
  if (payload == nullptr) return Fail(Damage(at, "a record's checksum does not match"));
  // A batch's schemas stand before it, so the batch's own place limits where they are looked for.
  auto batch = DecodeBatch(payload, [&](int64_t place) { return SchemaAt(place, at); });
  if (!batch.has_value() && batch.error().kind == ErrorKind::kMalformed) {
    return Fail(Damage(at, batch.error().message));
  }
  return batch;
}

Error SegmentReader::Damage(int64_t at, std::string_view what) const {
  return {ErrorKind::kCorrupt,
          fmt::format("log segment '{}' is damaged at byte {}: {}. Restore this file from a copy, "
                      "or move the log folder away to start over with a new snapshot "
                      "(`freshet log inspect` shows what is whole)",
                      path_, at, what)};
}

}  // namespace freshet::log
