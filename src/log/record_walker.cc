#include "log/record_walker.h"

namespace freshet::log {
namespace {

/// Whether a whole record behind `bad_at` says that the bytes at `bad_at` were durable already.
Result<bool> WasDurable(SegmentReader& segment, int64_t bad_at, int64_t size_bytes) {
  for (int64_t at = PadTo8(bad_at + 1); at + kRecordHeaderBytes <= size_bytes; at += 8) {
    FRESHET_TRY(const auto header, segment.HeaderAt(at, size_bytes));
    if (!header.has_value() || header->synced_bytes <= bad_at) continue;
    FRESHET_TRY(const auto payload, segment.PayloadAt(at, *header));
    if (payload != nullptr) return true;
  }
  return false;
}

}  // namespace

Result<WalkEnd> WalkRecords(
    SegmentReader& segment, int64_t size_bytes, bool last, bool check_payloads,
    const std::function<Status(int64_t, const RecordHeader&,
                               const std::shared_ptr<arrow::Buffer>&)>& visit) {
  int64_t at = segment.begin();
  while (at < size_bytes) {
    FRESHET_TRY(const auto header, segment.HeaderAt(at, size_bytes));
    std::shared_ptr<arrow::Buffer> payload;
    if (header.has_value() && check_payloads) {
      FRESHET_TRY(payload, segment.PayloadAt(at, *header));
    }
    if (!header.has_value() || (check_payloads && payload == nullptr)) {
      const std::string_view what = header.has_value() ? "a record's checksum does not match"
                                                       : "no whole record begins there";
      if (!last) return Fail(segment.Damage(at, what));
      FRESHET_TRY(const bool was_durable, WasDurable(segment, at, size_bytes));
      if (was_durable) return Fail(segment.Damage(at, what));
      return WalkEnd{.whole_bytes = at, .torn = true};
    }
    FRESHET_RETURN_IF_ERROR(visit(at, *header, payload));
    at += RecordBytes(*header);
  }
  return WalkEnd{.whole_bytes = at, .torn = false};
}

}  // namespace freshet::log
