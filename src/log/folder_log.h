#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "log/batch_codec.h"
#include "log/log.h"
#include "log/recovery.h"
#include "log/segment_writer.h"
#include "log/state_internal.h"

namespace freshet::log {

/// The Log in a folder of segment files.
///
/// Threads: as Log says. What the log thread alone uses is a plain member; what it shares with
/// readers is in `state_`.
class FolderLog final : public Log {
 public:
  static Result<std::unique_ptr<FolderLog>> Open(FileSystem& fs, const Clock& clock,
                                                 const Options& options);

  const LogId& id() const override { return id_; }
  std::optional<change::SourceIdentity> source() const override;
  Status SetSource(const change::SourceIdentity& source) override;
  std::vector<std::shared_ptr<const change::TableSchema>> schemas() const override;
  change::SnapshotLedger snapshots() const override;
  Result<LogEnd> Append(std::shared_ptr<const change::ChangeBatch> batch) override;
  Result<LogEnd> Sync() override;
  Status Retain(LogOffset needed) override;
  bool ShouldPause() const override;
  Result<std::unique_ptr<Reader>> NewReader(const change::Position& position) override;
  Result<change::Position> PositionAt(UnixMicros time) override;
  LogStats stats() const override;

 private:
  /// A table version in force, and where its record stands in the segment being written.
  struct InForce {
    std::shared_ptr<const change::TableSchema> schema;
    int64_t place = 0;
    LogOffset last_used;
  };

  FolderLog(FileSystem& fs, const Clock& clock, const Options& options,
            std::unique_ptr<FileLock> lock, LogId id);

  /// Takes over what was found on disk and begins a segment behind it.
  Status GoOn(Recovered recovered);

  /// Begins the segment that `next` describes and makes it the one being written.
  Status BeginSegment(Checkpoint next);

  /// Seals the segment being written and begins the next.
  Status Roll();

  /// Whether `batch` goes on where the log ends. Errors: kFatal.
  Status CheckFollows(const change::ChangeBatch& batch) const;

  /// Where the schema record of this version stands; writes it when it is not the one in force.
  Result<int64_t> PlaceOf(const std::shared_ptr<const change::TableSchema>& schema);

  /// Shows an appended batch to readers and drops the oldest ones kept in memory.
  LogEnd Publish(std::shared_ptr<const change::ChangeBatch> batch, const BatchHead& head);

  /// The segment being written has batches, and is older than `oldest_kept` or too much for the
  /// budget.
  bool ActiveIsDue(UnixMicros oldest_kept) const;

  /// How many sealed segments at the front nobody needs that are older than `oldest_kept` or too
  /// much for the budget.
  size_t Deletable(LogOffset needed, UnixMicros oldest_kept) const;
  Status DeleteFirst();

  void PublishSchemas();

  FileSystem& fs_;
  const Clock& clock_;
  const Options options_;
  const int64_t segment_bytes_;  ///< a segment is sealed when it has as many
  const std::unique_ptr<FileLock> lock_;
  const LogId id_;

  std::unique_ptr<SegmentWriter> writer_;
  LogOffset begun_at_;       ///< first offset of the segment being written
  int64_t begun_bytes_ = 0;  ///< its start: checkpoint, schemas in force
  BatchEncoder encoder_;
  std::map<change::TableId, InForce> in_force_;
  std::optional<change::SourceIdentity> source_;
  LogEnd end_;
  bool transaction_open_ = false;
  LogOffset open_since_;  ///< first batch of the open transaction
  UnixMicros newest_commit_ = 0;
  std::optional<Error> broken_;  ///< a segment could not be made or sealed; repeated ever after

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace freshet::log
