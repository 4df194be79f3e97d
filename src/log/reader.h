#pragma once

#include <memory>
#include <string>

#include "base/file_system.h"
#include "log/log.h"
#include "log/seek.h"
#include "log/segment_reader.h"
#include "log/state_internal.h"

namespace freshet::log {

/// The Reader of a log in a folder.
///
/// Takes a batch from memory while it is there, else from disk: at most one batch of its own is in
/// memory. It always knows the place of its next record, so it changes between both without a
/// search. Threads: one.
class FolderReader final : public Reader {
 public:
  /// Goes on at `start`, leaving out transactions that end at or before `position`.
  FolderReader(FileSystem& fs, std::string folder, std::shared_ptr<State> state,
               const SeekResult& start, const change::Position& position);

  Result<std::optional<LogEntry>> Next(std::chrono::nanoseconds timeout,
                                       std::stop_token stop) override;
  LogOffset next() const override { return next_; }

 private:
  /// Waits for the next batch: taken from memory, or said to be on disk, or nothing.
  enum class Source { kNothing, kMemory, kDisk };
  Source Wait(std::chrono::nanoseconds timeout, const std::stop_token& stop, LogEntry& entry);

  Result<LogEntry> ReadFromDisk();

  /// The bytes written of the segment that holds the next batch; moves on to it.
  Result<int64_t> WrittenBytes();

  FileSystem& fs_;
  const std::string folder_;
  const std::shared_ptr<State> state_;
  LogOffset next_;
  Place place_;
  std::optional<change::Position> skip_to_;  ///< until something behind it was read
  std::unique_ptr<SegmentReader> segment_;   ///< open while reading from disk
};

}  // namespace freshet::log
