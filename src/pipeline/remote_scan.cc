#include "pipeline/remote_scan.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "log/schema_codec.h"

namespace freshet::pipeline {
namespace {

constexpr char kBatch = 'B';
constexpr char kError = 'E';
constexpr char kEnd = 'Z';
constexpr size_t kLengthBytes = 4;
constexpr size_t kHeadBytes = 1 + kLengthBytes;

void AppendLength(size_t size, std::string& out) {
  for (size_t i = 0; i < kLengthBytes; ++i) out.push_back(static_cast<char>(size >> (8 * i)));
}

size_t ReadLength(const char* at) {
  size_t size = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    size |= size_t{static_cast<unsigned char>(at[i])} << (8 * i);
  }
  return size;
}

Error FromArrow(const arrow::Status& status) {
  return {ErrorKind::kMalformed, "Arrow IPC: " + status.ToString()};
}

Result<std::shared_ptr<arrow::Buffer>> ToIpc(const arrow::RecordBatch& batch) {
  auto out = arrow::io::BufferOutputStream::Create();
  if (!out.ok()) return Fail(FromArrow(out.status()));
  auto writer = arrow::ipc::MakeStreamWriter(*out, batch.schema());
  if (!writer.ok()) return Fail(FromArrow(writer.status()));
  if (auto s = (*writer)->WriteRecordBatch(batch); !s.ok()) return Fail(FromArrow(s));
  if (auto s = (*writer)->Close(); !s.ok()) return Fail(FromArrow(s));
  auto buffer = (*out)->Finish();
  if (!buffer.ok()) return Fail(FromArrow(buffer.status()));
  return *buffer;
}

/// The one batch of an IPC stream, in memory of its own. `bytes` come from outside: checked.
Result<std::shared_ptr<arrow::RecordBatch>> FromIpc(std::string_view bytes) {
  auto input =
      std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::string(bytes)));
  auto reader = arrow::ipc::RecordBatchStreamReader::Open(input);
  if (!reader.ok()) return Fail(FromArrow(reader.status()));
  std::shared_ptr<arrow::RecordBatch> batch;
  if (auto s = (*reader)->ReadNext(&batch); !s.ok()) return Fail(FromArrow(s));
  if (batch == nullptr) return Fail(ErrorKind::kMalformed, "Arrow IPC: no batch");
  if (auto s = batch->ValidateFull(); !s.ok()) return Fail(FromArrow(s));
  return batch;
}

std::string Frame(char kind, std::string_view payload) {
  std::string out(1, kind);
  AppendLength(payload.size(), out);
  out += payload;
  return out;
}

struct ScanRequest {
  std::shared_ptr<const change::TableSchema> schema;
  std::shared_ptr<arrow::RecordBatch> keys;
};

Result<ScanRequest> DecodeScanRequest(std::span<const std::byte> request) {
  if (request.size() < kLengthBytes) return Fail(ErrorKind::kMalformed, "the request is cut off");
  const size_t size = ReadLength(reinterpret_cast<const char*>(request.data()));
  request = request.subspan(kLengthBytes);
  if (size > request.size()) return Fail(ErrorKind::kMalformed, "the request is cut off");
  ScanRequest out;
  FRESHET_TRY(out.schema, log::DecodeSchema(request.first(size)));
  request = request.subspan(size);
  if (!request.empty()) {
    const std::string_view keys(reinterpret_cast<const char*>(request.data()), request.size());
    FRESHET_TRY(out.keys, FromIpc(keys));
  }
  return out;
}

Status Scan(const Options& pipeline, std::string_view name, std::span<const std::byte> request,
            const std::function<bool(std::string_view)>& write) {
  const auto spec = std::find_if(pipeline.sinks.begin(), pipeline.sinks.end(),
                                 [&](const SinkSpec& s) { return s.options.name == name; });
  if (spec == pipeline.sinks.end()) {
    return Fail(ErrorKind::kConfig, "this pipeline has no sink named '{}'", name);
  }
  FRESHET_TRY(const ScanRequest scan, DecodeScanRequest(request));
  FRESHET_TRY(const auto read_back, spec->factory->MakeReadBack(spec->options));
  if (read_back == nullptr) {
    return Fail(ErrorKind::kUnsupported, "sink {} keeps nothing that could be read", name);
  }
  return read_back->Scan(*scan.schema, scan.keys, [&](const arrow::RecordBatch& rows) -> Status {
    FRESHET_TRY(const auto ipc, ToIpc(rows));
    const std::string_view bytes(reinterpret_cast<const char*>(ipc->data()),
                                 static_cast<size_t>(ipc->size()));
    if (!write(Frame(kBatch, bytes))) return Fail(ErrorKind::kCancelled, "the reader is gone");
    return {};
  });
}

}  // namespace

Result<std::string> EncodeScanRequest(const change::TableSchema& schema,
                                      const std::shared_ptr<arrow::RecordBatch>& keys) {
  const std::vector<std::byte> encoded = log::EncodeSchema(schema);
  std::string out;
  AppendLength(encoded.size(), out);
  out.append(reinterpret_cast<const char*>(encoded.data()), encoded.size());
  if (keys != nullptr) {
    FRESHET_TRY(const auto ipc, ToIpc(*keys));
    out.append(reinterpret_cast<const char*>(ipc->data()), static_cast<size_t>(ipc->size()));
  }
  return out;
}

void ServeScan(const Options& pipeline, std::string_view name, std::span<const std::byte> request,
               const std::function<bool(std::string_view)>& write) {
  const Status scanned = Scan(pipeline, name, request, write);
  if (scanned.has_value()) {
    write(Frame(kEnd, ""));
  } else {
    std::string payload(1, static_cast<char>(scanned.error().kind));
    payload += scanned.error().message;
    write(Frame(kError, payload));
  }
}

Status ScanAnswer::Add(std::string_view bytes) {
  buffered_ += bytes;
  size_t begin = 0;
  while (buffered_.size() - begin >= kHeadBytes) {
    const size_t size = ReadLength(buffered_.data() + begin + 1);
    if (size > kMaxScanFrameBytes) {
      return Fail(ErrorKind::kMalformed, "the answer to a scan has a frame of {} bytes", size);
    }
    if (buffered_.size() - begin - kHeadBytes < size) break;
    const std::string_view payload = std::string_view(buffered_).substr(begin + kHeadBytes, size);
    FRESHET_RETURN_IF_ERROR(TakeFrame(buffered_[begin], payload));
    begin += kHeadBytes + size;
  }
  buffered_.erase(0, begin);
  return {};
}

Status ScanAnswer::TakeFrame(char kind, std::string_view payload) {
  if (ended_) return Fail(ErrorKind::kMalformed, "the answer to a scan goes on behind its end");
  if (kind == kBatch) {
    FRESHET_TRY(const auto batch, FromIpc(payload));
    return visit_(*batch);
  }
  if (kind == kError && !payload.empty() &&
      static_cast<unsigned char>(payload[0]) <= static_cast<unsigned char>(ErrorKind::kFatal)) {
    return Fail(Error{static_cast<ErrorKind>(payload[0]), std::string(payload.substr(1))});
  }
  if (kind != kEnd) return Fail(ErrorKind::kMalformed, "the answer to a scan has an unknown frame");
  ended_ = true;
  return {};
}

Status ScanAnswer::Finish() const {
  if (ended_ && buffered_.empty()) return {};
  return Fail(ErrorKind::kUnavailable, "the answer to a scan was cut off: the pipeline went away");
}

}  // namespace freshet::pipeline
