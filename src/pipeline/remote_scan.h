#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "change/table_schema.h"
#include "pipeline/options.h"
#include "sink/read_back.h"

namespace arrow {
class RecordBatch;
}

namespace freshet::pipeline {

/// Reading a target back from another process.
///
/// An embedded warehouse is held open by the pipeline that writes it, so `freshet verify` asks that
/// pipeline: POST /scan?sink=NAME. Body: the table's schema as the log encodes it, behind its
/// length (u32, little-endian), then, when keys are given, an Arrow IPC stream of one batch.
/// Answer: frames of a kind (one byte), a length (u32, little-endian) and so many bytes: 'B', an
/// Arrow IPC stream of one batch of rows; 'E', an error, its kind's number (one byte) and message;
/// 'Z', the end of all rows. An answer without 'E' or 'Z' was cut off.

/// The body of a request. `keys` may be null.
Result<std::string> EncodeScanRequest(const change::TableSchema& schema,
                                      const std::shared_ptr<arrow::RecordBatch>& keys);

/// Scans the target of sink `name` and hands the answer to `write`, which returns false when the
/// reader is gone. Threads: any.
void ServeScan(const Options& pipeline, std::string_view name, std::span<const std::byte> request,
               const std::function<bool(std::string_view)>& write);

/// Takes an answer apart as it arrives.
class ScanAnswer {
 public:
  explicit ScanAnswer(sink::ReadBack::Visit visit) : visit_(std::move(visit)) {}

  /// Takes the next bytes, cut anywhere. Errors: the error in the answer, those of the visit,
  /// kMalformed.
  Status Add(std::string_view bytes);

  /// Call at the end of the answer. Errors: kUnavailable when it was cut off.
  Status Finish() const;

 private:
  Status TakeFrame(char kind, std::string_view payload);

  sink::ReadBack::Visit visit_;
  std::string buffered_;
  bool ended_ = false;
};

/// Frames larger than this are malformed.
inline constexpr size_t kMaxScanFrameBytes = size_t{2} << 30;

}  // namespace freshet::pipeline
