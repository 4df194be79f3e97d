#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "log/log.h"

namespace freshet::test {

/// A log in memory, for tests of what stands around the log. Appended batches are readable at once
/// and durable after Sync(). Threads: any.
class FakeLog final : public log::Log {
 public:
  /// With a source, as a log that has been used, or without, as a new one.
  explicit FakeLog(bool has_source = true);

  const log::LogId& id() const override { return id_; }
  std::optional<change::SourceIdentity> source() const override;
  Status SetSource(const change::SourceIdentity& source) override;
  std::vector<std::shared_ptr<const change::TableSchema>> schemas() const override { return {}; }
  change::SnapshotLedger snapshots() const override;
  Result<log::LogEnd> Append(std::shared_ptr<const change::ChangeBatch> batch) override;
  Result<log::LogEnd> Sync() override;
  Status Retain(log::LogOffset needed) override;
  bool ShouldPause() const override;
  Result<std::unique_ptr<log::Reader>> NewReader(const change::Position& position) override;
  Result<change::Position> PositionAt(UnixMicros) override { return stats().appended.position; }
  log::LogStats stats() const override;

  /// The next Append() fails so, once for each call.
  void FailAppend(Error error);

  /// What ShouldPause() answers, until a Retain() that needs no more than `until`.
  void PauseUntilNeeded(log::LogOffset until);

  log::LogOffset retained() const;

 private:
  friend class FakeLogReader;

  const log::LogId id_{"fake-log"};
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::optional<change::SourceIdentity> source_;
  std::vector<log::LogEntry> entries_;
  change::SnapshotLedger snapshots_;
  size_t durable_ = 0;
  std::vector<Error> append_errors_;
  std::optional<log::LogOffset> pause_until_;
  log::LogOffset retained_;
};

/// The identity FakeLog is filled from.
change::SourceIdentity FakeSource();

}  // namespace freshet::test
