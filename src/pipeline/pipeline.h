#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "pipeline/health.h"
#include "pipeline/options.h"
#include "pipeline/status.h"

namespace freshet {
class FileSystem;
}

namespace freshet::pipeline {

class Ingest;

/// One source, one log, any number of sinks, and the threads between them.
///
/// Threads (docs/architecture.md, "Threads"): ingest, log, one per sink, and Run()'s caller as
/// control. Lifetime: `fs` and `clock` outlive it. Nothing is global: a process may hold many.
class Pipeline {
 public:
  struct RunOptions {
    /// Stop by itself once every sink holds all that the source had committed at the start.
    bool until_caught_up = false;
  };

  Pipeline(Options options, FileSystem& fs, const Clock& clock, std::string version);
  ~Pipeline();

  /// Runs until `stop`, or until caught up. Sinks are flushed and what is durable is acknowledged
  /// before it returns.
  ///
  /// Errors: those of the configuration, the log, the source or, at the start, a sink that trying
  /// again cannot cure. Nothing acknowledged is lost by any of them.
  Status Run(const RunOptions& run, std::stop_token stop);

  /// A snapshot of everything. Any thread, also before and after Run().
  PipelineStatus status() const;

  /// The tables carried, by name. Any thread.
  std::vector<CarriedTable> tables() const;

  /// Lets a table join while all others go on, and has its rows read. Returns whether the
  /// configuration names it too: if not, it is left out from the next start on. Any thread.
  /// Errors: kConfig (carried already, excluded, not one name), and those of Capture::Reload().
  Result<bool> AddTable(const change::TableName& table);

  /// Has the rows of a table read once more. `replaces`: targets empty it before. Any thread.
  /// Errors: those of postgres::Capture::RequestSnapshot().
  Status Resnapshot(const change::TableName& table, bool replaces);

  /// Chooses other tables from now on: what a configuration that was read again says. Any thread.
  /// Errors: those of postgres::Capture::Reload().
  Status ChooseTables(const std::vector<std::string>& tables,
                      const std::vector<std::string>& exclude);

  const Options& options() const { return options_; }

 private:
  class Session;
  enum class Outcome : uint8_t { kDone, kStartOver };

  Result<Outcome> RunSession(const RunOptions& run, std::stop_token stop);

  /// The ingest thread: captures, and reconnects by the error policy, until `stop`.
  Status CaptureUntil(Session& session, std::stop_token stop);

  /// All that the source had committed when capture connected is durable in the log, the rows that
  /// were there before included.
  bool SourceIsCaughtUp(const Ingest& ingest) const;

  const Options options_;
  FileSystem& fs_;
  const Clock& clock_;
  const std::string version_;
  const UnixMicros started_;
  const std::unique_ptr<postgres::Capture> capture_;
  bool source_ran_ = false;  ///< capture has worked since the process started; ingest thread only

  Mutex choosing_;  ///< held from reading the choice to the capture's answer
  std::vector<std::string> tables_ GUARDED_BY(choosing_);   ///< globs that choose, as configured or
  std::vector<std::string> exclude_ GUARDED_BY(choosing_);  ///< changed since
  mutable Mutex mutex_;
  std::shared_ptr<Session> session_ GUARDED_BY(mutex_);
  mutable HealthMonitor health_ GUARDED_BY(mutex_);
  std::map<std::string, int64_t> source_errors_ GUARDED_BY(mutex_);
  std::optional<Error> source_last_error_ GUARDED_BY(mutex_);
};

}  // namespace freshet::pipeline
