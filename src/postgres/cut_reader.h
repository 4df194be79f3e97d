#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/catalog.h"
#include "postgres/options.h"
#include "postgres/snapshot.h"
#include "postgres/table_choice.h"

namespace freshet::postgres {

/// Reads one table as it was at a cut: a place in the WAL such that the rows show all that
/// committed before it, and nothing of what committed behind it.
///
/// Cut and snapshot are those of a temporary slot, made for this and gone as soon as the sessions
/// that read have the snapshot. Making it takes until the transactions that write now have ended
/// (on a standby: until the primary says in the WAL which ones run), so a thread of its own does
/// that.
///
/// Threads: used by one.
class CutReader {
 public:
  struct Cut {
    change::Lsn lsn;
    std::shared_ptr<const change::TableSchema> schema;
  };

  /// Starts to make the cut. `table` is as the stream carries it now.
  CutReader(const Options& options, ChosenTable table);
  ~CutReader();
  CutReader(const CutReader&) = delete;
  CutReader& operator=(const CutReader&) = delete;

  /// The cut; none while it is being made. Errors: kNotFound (the table is gone), kUnavailable (it
  /// was altered meanwhile, or a connection was lost), kBusy (something holds the slot up too long,
  /// a lock), kConfig (no slot is free), kDenied, and others of Connection.
  Result<std::optional<Cut>> cut() const;

  /// What making the cut waits for, one sentence; empty while it waits for nothing known.
  std::string waits_for() const;

  /// The next rows that have arrived, once there is a cut; none, or finished(), else.
  /// Errors: those of SnapshotReader.
  Result<std::optional<change::TableChanges>> Next();
  bool finished() const;

  /// How far it is: sums over the table's parts.
  SnapshotTable progress() const;

 private:
  void Make(std::stop_token stop);
  Result<Cut> TryToMake(std::stop_token stop);

  const Options options_;
  const ChosenTable table_;
  mutable Mutex mutex_;
  std::optional<Cut> cut_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
  std::string waits_for_ GUARDED_BY(mutex_);
  std::unique_ptr<SnapshotReader> rows_;  ///< the thread's until there is a cut
  std::jthread maker_;                    ///< last: joined first
};

}  // namespace freshet::postgres
