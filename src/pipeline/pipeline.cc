#include "pipeline/pipeline.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/logging.h"
#include "pipeline/error_policy.h"
#include "pipeline/ingest.h"
#include "pipeline/sink_runner.h"
#include "postgres/table_filter.h"

namespace freshet::pipeline {
namespace {

/// How often the control thread looks at health, and at a run that ends by itself.
constexpr std::chrono::milliseconds kHealthInterval{1000};
constexpr std::chrono::milliseconds kCatchUpInterval{20};

void FillProcessFigures(PipelineStatus& status) {
  std::ifstream statm("/proc/self/statm");
  int64_t size_pages = 0;
  int64_t resident_pages = 0;
  statm >> size_pages >> resident_pages;
  status.resident_bytes = resident_pages * sysconf(_SC_PAGESIZE);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  status.peak_resident_bytes = int64_t{usage.ru_maxrss} * 1024;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  status.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

/// Everything that lives from one opening of the log to its closing.
class Pipeline::Session {
 public:
  Session(std::unique_ptr<log::Log> log, const Options& options, const Clock& clock)
      : log_(std::move(log)), ingest_(*log_, clock) {
    for (const SinkSpec& spec : options.sinks) {
      runners_.push_back(std::make_unique<SinkRunner>(spec, *log_, ingest_, clock));
    }
  }

  log::Log& log() { return *log_; }
  Ingest& ingest() { return ingest_; }
  const std::vector<std::unique_ptr<SinkRunner>>& runners() const { return runners_; }

  /// The place behind which every sink needs the log.
  log::LogOffset Needed() const {
    log::LogOffset least = log_->stats().appended.offset;
    for (const auto& runner : runners_) least = std::min(least, runner->needed());
    return least;
  }

  /// Records the first error of any thread and asks all to stop.
  void StopWith(Status status) {
    {
      const MutexLock lock(mutex_);
      if (result_.has_value() && !status.has_value()) result_ = std::move(status);
      finished_ = true;
    }
    changed_.notify_all();
  }

  /// Waits at most `timeout` for StopWith() or `stop`. True when either came.
  bool WaitFinished(std::chrono::nanoseconds timeout, std::stop_token stop) {
    MutexLock lock(mutex_);
    changed_.wait_for(lock, stop, timeout, [&]() REQUIRES(mutex_) { return finished_; });
    return finished_ || stop.stop_requested();
  }

  Status result() const {
    const MutexLock lock(mutex_);
    return result_;
  }

  /// Asks every sink to flush as soon as it can, and says whether all have what is durable in the
  /// log at the first call.
  bool SinksHaveAll() {
    if (!wanted_.has_value()) wanted_ = log_->stats().durable.position;
    bool all = true;
    for (const auto& runner : runners_) {
      runner->Hurry(*wanted_);
      all = all && runner->status().durable.position >= *wanted_;
    }
    return all;
  }

  /// Ends the run when a sink has given up: it will never have all.
  void StopIfASinkFailed() {
    for (const auto& runner : runners_) {
      const SinkStatus status = runner->status();
      if (status.state == SinkState::kFailed) StopWith(Fail(*status.last_error));
    }
  }

  bool start_over = false;  ///< written by the ingest thread, read after it was joined

 private:
  const std::unique_ptr<log::Log> log_;
  Ingest ingest_;
  std::vector<std::unique_ptr<SinkRunner>> runners_;
  std::optional<change::Position> wanted_;  ///< control thread only

  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  bool finished_ GUARDED_BY(mutex_) = false;
  Status result_ GUARDED_BY(mutex_);
};

namespace {

/// The log is all that lasts on this machine; the source's scratch space stands in its folder.
postgres::Options SourceOptions(const Options& options) {
  postgres::Options out = options.source;
  out.spool_folder = options.log.path + "/spool";
  return out;
}

}  // namespace

Pipeline::Pipeline(Options options, FileSystem& fs, const Clock& clock, std::string version)
    : options_(std::move(options)),
      fs_(fs),
      clock_(clock),
      version_(std::move(version)),
      started_(clock.Now()),
      capture_(postgres::Capture::Create(SourceOptions(options_), clock)),
      tables_(options_.source.tables),
      exclude_(options_.source.exclude) {}

Pipeline::~Pipeline() = default;

Status Pipeline::Run(const RunOptions& run, std::stop_token stop) {
  Backoff backoff(static_cast<uint64_t>(clock_.Now()));
  while (true) {
    FRESHET_TRY(const Outcome outcome, RunSession(run, stop));
    if (outcome == Outcome::kDone) return {};
    const auto pause = backoff.Next();
    logging::Warning("the snapshot broke off; it is taken again from the start",
                     {{"in_ms", pause.count()}});
    if (!clock_.WaitFor(pause, stop)) return {};
  }
}

Result<Pipeline::Outcome> Pipeline::RunSession(const RunOptions& run, std::stop_token stop) {
  FRESHET_TRY(auto log, log::Log::Open(fs_, clock_, options_.log));
  const auto session = std::make_shared<Session>(std::move(log), options_, clock_);
  {
    const MutexLock lock(mutex_);
    session_ = session;
  }

  // Sinks first: a target that cannot be opened must be known before the source is touched.
  std::vector<std::jthread> sink_threads;
  for (const auto& runner : session->runners()) {
    sink_threads.emplace_back([&session, &runner](std::stop_token sink_stop) {
      if (Status status = runner->Run(sink_stop); !status.has_value()) session->StopWith(status);
    });
  }
  for (const auto& runner : session->runners()) {
    while (!stop.stop_requested() &&
           runner->first_open().wait_for(kCatchUpInterval) != std::future_status::ready) {
    }
  }

  std::jthread log_thread([&session](std::stop_token log_stop) {
    const auto needed = [&session] { return session->Needed(); };
    if (Status status = session->ingest().WriteLog(needed, log_stop); !status.has_value()) {
      session->StopWith(status);
    }
  });
  std::jthread ingest_thread;
  if (!session->WaitFinished(std::chrono::nanoseconds(0), stop)) {
    ingest_thread = std::jthread([this, &session](std::stop_token ingest_stop) {
      session->StopWith(CaptureUntil(*session, ingest_stop));
    });
  }

  const auto interval = run.until_caught_up ? kCatchUpInterval : kHealthInterval;
  while (!session->WaitFinished(interval, stop)) {
    [[maybe_unused]] const auto looked = status();  // health is judged by what moves between two
    if (!run.until_caught_up) continue;
    session->StopIfASinkFailed();
    if (SourceIsCaughtUp(session->ingest()) && session->SinksHaveAll()) break;
  }

  // The order of the end: no new batches, the log durable, then the sinks flush what is whole.
  ingest_thread.request_stop();
  log_thread.request_stop();  // it may wait for room, and the ingest thread for its answer
  if (ingest_thread.joinable()) ingest_thread.join();
  session->ingest().Close();
  log_thread.join();
  if (options_.source.snapshot == postgres::SnapshotMode::kOnly) {
    while (!stop.stop_requested() && session->result().has_value() && !session->SinksHaveAll()) {
      session->StopIfASinkFailed();
      clock_.WaitFor(kCatchUpInterval, stop);
    }
  }
  for (std::jthread& thread : sink_threads) thread.request_stop();
  for (std::jthread& thread : sink_threads) thread.join();

  if (session->start_over && !stop.stop_requested()) {
    const MutexLock lock(mutex_);
    session_.reset();  // it holds the lock of the log's folder
    return Outcome::kStartOver;
  }
  FRESHET_RETURN_IF_ERROR(session->result());
  return Outcome::kDone;
}

Status Pipeline::CaptureUntil(Session& session, std::stop_token stop) {
  Backoff backoff(static_cast<uint64_t>(clock_.Now()));
  const auto began = clock_.Monotonic();
  while (!stop.stop_requested()) {
    const change::Position before = session.ingest().resume_point().appended;
    const Status status = capture_->Run(session.ingest().resume_point(), session.ingest(), stop);
    if (status.has_value()) return {};
    const bool progress = session.ingest().resume_point().appended != before;
    if (progress) backoff.Reset();
    source_ran_ = source_ran_ || progress || capture_->status().streamed;
    const Error& error = status.error();
    {
      const MutexLock lock(mutex_);
      ++source_errors_[std::string(ErrorKindName(error.kind))];
      source_last_error_ = error;
    }
    const bool patience_over = !source_ran_ && clock_.Monotonic() - began > kStartGrace;
    if (ReactionTo(error.kind, source_ran_) == Reaction::kStop || patience_over) return status;
    if (session.ingest().snapshot_is_open()) {
      session.start_over = true;
      return {};
    }
    const auto pause = backoff.Next();
    logging::Warning("the source will be tried again",
                     {{"in_ms", pause.count()}, {"error", error.message}});
    clock_.WaitFor(pause, stop);
  }
  return {};
}

bool Pipeline::SourceIsCaughtUp(const Ingest& ingest) const {
  const postgres::CaptureStatus capture = capture_->status();
  return capture.state == postgres::CaptureState::kStreaming &&
         capture.end_at_connect != change::Lsn{} &&
         ingest.Durable().commit_end >= capture.end_at_connect && ingest.SnapshotsAreDone();
}

std::vector<CarriedTable> Pipeline::tables() const {
  std::map<change::TableName, std::optional<postgres::SnapshotTable>> by_name;
  {
    const MutexLock lock(mutex_);
    if (session_ != nullptr) {
      for (const auto& schema : session_->log().schemas()) by_name[schema->name()];
    }
  }
  for (postgres::SnapshotTable& table : capture_->status().snapshot) {
    auto& carried = by_name[table.name];
    if (table.state != postgres::SnapshotState::kFinished) carried = std::move(table);
  }
  std::vector<CarriedTable> out;
  for (auto& [name, snapshot] : by_name) out.push_back({name, std::move(snapshot)});
  return out;
}

Result<bool> Pipeline::AddTable(const change::TableName& table) {
  const std::string name = ToString(table);
  if (name.find_first_of("*?") != std::string::npos) {
    return Fail(ErrorKind::kConfig,
                "'{}' is a pattern; write it under source.postgres.tables and send the process "
                "SIGHUP",
                name);
  }
  for (const CarriedTable& carried : tables()) {
    if (carried.name != table) continue;
    return Fail(ErrorKind::kConfig,
                "table {} is carried already; to have its rows read once more: freshet table "
                "resnapshot {}",
                name, name);
  }
  const MutexLock lock(choosing_);
  FRESHET_TRY(const auto chosen, postgres::TableFilter::Create(tables_, exclude_));
  std::vector<std::string> tables = tables_;
  if (!chosen.Matches(table)) tables.push_back(name);
  FRESHET_TRY(const auto next, postgres::TableFilter::Create(tables, exclude_));
  if (!next.Matches(table)) {
    return Fail(ErrorKind::kConfig,
                "source.postgres.exclude leaves table {} out; take it off there, and send the "
                "process SIGHUP",
                name);
  }
  FRESHET_RETURN_IF_ERROR(capture_->Reload(tables, exclude_));
  tables_ = std::move(tables);
  FRESHET_TRY(const auto configured,
              postgres::TableFilter::Create(options_.source.tables, options_.source.exclude));
  return chosen.Matches(table) || configured.Matches(table);
}

Status Pipeline::Resnapshot(const change::TableName& table, bool replaces) {
  return capture_->RequestSnapshot(table, replaces);
}

Status Pipeline::ChooseTables(const std::vector<std::string>& tables,
                              const std::vector<std::string>& exclude) {
  const MutexLock lock(choosing_);
  FRESHET_RETURN_IF_ERROR(capture_->Reload(tables, exclude));
  tables_ = tables;
  exclude_ = exclude;
  return {};
}

PipelineStatus Pipeline::status() const {
  PipelineStatus out;
  out.version = version_;
  out.now = clock_.Now();
  out.started = started_;
  out.capture = capture_->status();
  FillProcessFigures(out);

  const MutexLock lock(mutex_);
  out.source_errors_by_kind = source_errors_;
  out.source_last_error = source_last_error_;
  std::string blocked;
  if (session_ != nullptr) {
    out.source = session_->log().source();
    out.log_id = session_->log().id();
    out.log = session_->log().stats();
    out.log_latency = session_->ingest().latency();
    blocked = session_->ingest().blocked_reason();
    for (const auto& runner : session_->runners()) out.sinks.push_back(runner->status());
  }
  std::map<std::string, std::chrono::microseconds> flush_interval;
  for (const SinkSpec& spec : options_.sinks) {
    flush_interval[spec.options.name] = spec.flush.interval;
  }
  for (SinkStatus& sink : out.sinks) {
    const change::Lsn appended = out.log.appended.position.commit_end;
    const change::Lsn durable = sink.durable.position.commit_end;
    sink.lag_bytes = appended > durable ? static_cast<int64_t>(appended.value - durable.value) : 0;
    if (sink.lag_bytes == 0) sink.lag_micros = 0;
  }
  health_.Observe(out, flush_interval, blocked);
  return out;
}

}  // namespace freshet::pipeline
