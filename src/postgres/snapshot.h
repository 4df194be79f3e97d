#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/capture.h"
#include "postgres/catalog.h"
#include "postgres/options.h"

namespace freshet::postgres {

/// One table to be read, with the columns that the stream will carry.
struct SnapshotSource {
  CatalogTable table;
  std::shared_ptr<const change::TableSchema> schema;
  std::string row_filter;  ///< the publication's condition; empty: all rows
};

/// Reads tables as they were at a slot's consistent point, through its exported snapshot.
///
/// Several sessions import the same snapshot and COPY side by side; a large table is divided into
/// ranges of blocks among them (14+, where such a range needs no full scan). Tables are locked in
/// ACCESS SHARE mode for the length of it, so that none is rewritten or dropped meanwhile.
///
/// Memory: at most two batches a worker, of the options' batch size. Threads: used by one; workers
/// are its own, and are joined by the destructor.
/// Errors: those of Connection; kGap when the sessions do not see the same snapshot.
class SnapshotReader {
 public:
  /// A table's largest part that one COPY takes, in blocks of 8 KiB.
  static constexpr int64_t kBlocksPerRange = 8'192;

  /// Opens options.snapshot_workers sessions and imports `snapshot` in each, then locks `tables`.
  static Result<std::unique_ptr<SnapshotReader>> Import(const Options& options,
                                                        const std::string& snapshot,
                                                        std::span<const CatalogTable> tables,
                                                        std::stop_token stop);
  ~SnapshotReader();
  SnapshotReader(const SnapshotReader&) = delete;
  SnapshotReader& operator=(const SnapshotReader&) = delete;

  /// Starts to read. Once.
  Status Start(std::vector<SnapshotSource> sources, std::stop_token stop);

  /// Waits for the next part of some table, at most `timeout`. Empty: none came, or finished().
  /// Ordinals count from `first_ordinal`. A table without rows gives one part without rows, so
  /// that targets know of it.
  Result<std::optional<change::TableChanges>> Next(int64_t first_ordinal,
                                                   std::chrono::nanoseconds timeout,
                                                   std::stop_token stop);

  /// Every row was returned by Next().
  bool finished() const;

  /// How far each table is.
  std::vector<SnapshotTable> progress() const;

 private:
  class Impl;
  explicit SnapshotReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::postgres
