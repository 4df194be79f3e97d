// Any bytes in place of a record, or of a segment, are read or refused. The first byte says what
// the rest is: 0 a record's header, 1 to 4 the payload of a record of that kind, 5 a whole segment.
// A batch is preceded by the length and the payload of the schema record of all its tables.

#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "log/batch_codec.h"
#include "log/checkpoint.h"
#include "log/dump.h"
#include "log/inspect.h"
#include "log/little_endian.h"
#include "log/record.h"
#include "log/recovery.h"
#include "log/schema_codec.h"
#include "support/memory_file_system.h"

namespace freshet::log {
namespace {

using Bytes = std::span<const std::byte>;

void RunCheckpoint(Bytes bytes) {
  const auto read = DecodeCheckpoint(bytes);
  if (read.has_value()) CHECK(*DecodeCheckpoint(EncodeCheckpoint(*read)) == *read);
}

void RunSource(Bytes bytes) {
  const auto read = DecodeSource(bytes);
  if (read.has_value()) CHECK(*DecodeSource(EncodeSource(*read)) == *read);
}

void RunSchema(Bytes bytes) {
  const auto read = DecodeSchema(bytes);
  if (read.has_value()) CHECK(**DecodeSchema(EncodeSchema(**read)) == **read);
}

void RunBatch(Bytes bytes) {
  LittleEndianReader in(bytes);
  const auto schema = DecodeSchema(in.Bytes(in.U32()));
  if (!schema.has_value()) return;
  const Bytes rest = bytes.last(in.remaining());
  // Copied, as a payload read from a file stands alone and is aligned.
  const std::shared_ptr<arrow::Buffer> payload = *arrow::AllocateBuffer(std::ssize(rest));
  std::copy(rest.begin(), rest.end(), reinterpret_cast<std::byte*>(payload->mutable_data()));
  const auto batch = DecodeBatch(payload, [&](int64_t) { return schema; });
  if (!batch.has_value()) return;
  change::CheckInvariants(**batch);
  std::vector<int64_t> places((*batch)->tables.size());
  for (const change::TableChanges& table : (*batch)->tables) {
    // Values inside of Arrow's buffers are vouched for by the record's checksum alone.
    if (!table.rows->ValidateFull().ok()) return;
  }
  BatchEncoder encoder(Compression::kNone);
  const BatchHead head = MakeBatchHead(**batch, {0}, {});
  CHECK(encoder.Encode(head, **batch, places).has_value());
}

void RunSegment(Bytes bytes) {
  test::MemoryFileSystem fs;
  fs.SetContent("log/" + SegmentName({7}), {bytes.begin(), bytes.end()});
  [[maybe_unused]] const auto report = Inspect(fs, "log", {});
  [[maybe_unused]] const auto dumped =
      Dump(fs, "log", {.rows = true}, [](std::string_view) { return Status(); });
  const auto recovered = Recover(fs, "log");
  // What recovery leaves is whole.
  if (recovered.has_value()) CHECK(Recover(fs, "log").has_value());
}

void Run(Bytes bytes) {
  if (bytes.empty()) return;
  const auto kind = static_cast<uint8_t>(bytes[0]);
  bytes = bytes.subspan(1);
  switch (kind) {
    case 0: {
      [[maybe_unused]] const auto header = DecodeRecordHeader(bytes, kSegmentHeaderBytes);
      return;
    }
    case 1:
      return RunCheckpoint(bytes);
    case 2:
      return RunSource(bytes);
    case 3:
      return RunSchema(bytes);
    case 4:
      return RunBatch(bytes);
    case 5:
      return RunSegment(bytes);
  }
}

}  // namespace
}  // namespace freshet::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  freshet::log::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
