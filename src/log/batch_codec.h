#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "change/change_batch.h"
#include "log/gather.h"
#include "log/log.h"
#include "log/options.h"

namespace arrow {
class Buffer;
}

namespace freshet::log {

inline constexpr int64_t kBatchHeadBytes = 64;

/// The fixed front of a batch record: what a seek needs, readable without the rest.
struct BatchHead {
  LogOffset offset;              ///< of this batch
  change::Position end;          ///< behind the last transaction ended up to here; 0: none
  UnixMicros newest_commit = 0;  ///< highest commit time in the batch
  int64_t rows = 0;              ///< row images of all tables
  bool begins = true;            ///< the first transaction begins here
  bool ends = true;              ///< the last transaction ends here
  uint32_t transactions = 0;
  uint32_t tables = 0;
  uint32_t messages = 0;
  uint32_t snapshots = 0;  ///< steps

  bool operator==(const BatchHead&) const = default;
};

/// The head of `batch` at `offset` in a log whose transactions before end at `before`.
BatchHead MakeBatchHead(const change::ChangeBatch& batch, LogOffset offset,
                        const change::Position& before);

/// Errors: kMalformed.
Result<BatchHead> DecodeBatchHead(std::span<const std::byte> payload);

/// The steps of snapshots in a batch, without reading the rest of it. Errors: kMalformed.
Result<std::vector<change::SnapshotProgress>> DecodeSnapshotSteps(
    std::span<const std::byte> payload);

/// Turns batches into payloads of batch records. Bytes: docs/log_format.md, "Batch".
///
/// Keeps its buffers from call to call. Threads: one.
class BatchEncoder {
 public:
  explicit BatchEncoder(Compression compression);
  ~BatchEncoder();

  /// `schema_places[i]` is the byte of the segment where the schema record of `batch.tables[i]`
  /// begins. The result points into the batch and the encoder: valid while the batch lives and
  /// until the next call. Errors: kUnsupported (more rows or bytes than a record holds), kFatal.
  Result<Gather*> Encode(const BatchHead& head, const change::ChangeBatch& batch,
                         std::span<const int64_t> schema_places);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Finds the table version whose schema record begins at this byte of the segment.
using SchemaAt = std::function<Result<std::shared_ptr<const change::TableSchema>>(int64_t place)>;

/// Reads a payload back. The batch's rows point into `payload`. Checks every field, but not each
/// value inside Arrow's buffers (the record's checksum did). Errors: kMalformed, and schema_at's.
Result<std::shared_ptr<const change::ChangeBatch>> DecodeBatch(
    const std::shared_ptr<arrow::Buffer>& payload, const SchemaAt& schema_at);

}  // namespace freshet::log
