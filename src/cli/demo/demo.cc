#include "cli/demo/demo.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include "base/figures.h"
#include "base/mutex.h"
#include "cli/demo/cluster.h"
#include "cli/demo/layout.h"
#include "cli/demo/probe.h"
#include "cli/demo/process.h"
#include "generate/generator.h"
#include "pipeline/options.h"
#include "postgres/connection.h"
#include "sink/files/options.h"
#include "sink/files/storage.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr milliseconds kFrame{150};
constexpr seconds kReadyTimeout{60};
constexpr seconds kRecoveryTimeout{60};
constexpr seconds kStopTimeout{20};
constexpr std::string_view kFolderPrefix = "freshet-demo-";

double Seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

/// A folder that is locked as long as its owner lives, and removed with it.
class OwnFolder {
 public:
  /// Makes a new one, and removes those whose owner was killed.
  static Result<OwnFolder> Create() {
    RemoveOrphans();
    std::string path = fs::temp_directory_path() / (std::string(kFolderPrefix) + "XXXXXX");
    if (::mkdtemp(path.data()) == nullptr) {
      return Fail(ErrorKind::kIo, "cannot make a folder in {}", fs::temp_directory_path().string());
    }
    ::chmod(path.c_str(), 0711);  // PostgreSQL, as another user, must get through
    const int lock = ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || ::flock(lock, LOCK_EX | LOCK_NB) != 0) {
      return Fail(ErrorKind::kIo, "cannot lock {}", path);
    }
    return OwnFolder(std::move(path), lock);
  }

  OwnFolder(OwnFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::exchange(other.lock_, -1)) {}
  OwnFolder& operator=(OwnFolder&&) = delete;

  ~OwnFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
    if (lock_ >= 0) ::close(lock_);
  }

  const std::string& path() const { return path_; }

 private:
  OwnFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  static void RemoveOrphans() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(fs::temp_directory_path(), error)) {
      if (!entry.path().filename().string().starts_with(kFolderPrefix)) continue;
      const int lock = ::open((entry.path() / "lock").c_str(), O_RDWR | O_CLOEXEC);
      if (lock < 0) continue;
      std::error_code ignored;
      if (::flock(lock, LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), ignored);
      ::close(lock);
    }
  }

  std::string path_;
  int lock_;
};

/// Rows a second over the last two seconds.
class RateMeter {
 public:
  double Update(double now, int64_t rows) {
    constexpr double kWindowSeconds = 2;
    samples_.push_back({now, rows});
    while (samples_.size() > 2 && now - samples_.front().first > kWindowSeconds) {
      samples_.pop_front();
    }
    const double span = now - samples_.front().first;
    return span <= 0 ? 0 : static_cast<double>(rows - samples_.front().second) / span;
  }

 private:
  std::deque<std::pair<double, int64_t>> samples_;
};

/// The generator in a thread of its own.
class Traffic {
 public:
  Traffic(const generate::Options& options, const Clock& clock)
      : thread_([this, options, &clock](const std::stop_token& stop) {
          auto done = generate::Generate(options, clock, stop, [this](const auto& progress) {
            const MutexLock lock(mutex_);
            progress_ = progress;
          });
          const MutexLock lock(mutex_);
          if (!done.has_value()) error_ = std::move(done).error();
          ended_ = true;
        }) {}

  generate::Progress progress() const {
    const MutexLock lock(mutex_);
    return progress_;
  }

  bool ended() const {
    const MutexLock lock(mutex_);
    return ended_;
  }

  Status error() const {
    const MutexLock lock(mutex_);
    if (error_) return Fail(*error_);
    return {};
  }

 private:
  mutable Mutex mutex_;
  generate::Progress progress_ GUARDED_BY(mutex_);
  std::optional<Error> error_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

/// The demo while it runs: what was started is stopped with it.
class Demo {
 public:
  Demo(const Options& options, Screen& screen, const Clock& clock, std::stop_token stop)
      : options_(options),
        screen_(screen),
        clock_(clock),
        stop_(std::move(stop)),
        started_(clock.Monotonic()) {}

  ~Demo() { TearDown(); }

  Result<Outcome> Run();

 private:
  Status StartSource();
  Status StartPipeline();
  Status LaunchPipeline();
  Status WatchTraffic();
  Status KillPipeline();
  Status Verify();
  void TearDown();
  void RemoveFromS3();

  /// Looks at the pipeline and draws. False when there is no pipeline to see just now.
  bool Look(const generate::Progress& written, nanoseconds since);

  /// Every sink holds what was committed at the kill.
  bool HasRecovered() const;

  Result<change::Lsn> SourceEnd() const;
  double ElapsedSeconds() const { return Seconds(clock_.Monotonic() - started_); }

  const Options& options_;
  Screen& screen_;
  const Clock& clock_;
  const std::stop_token stop_;
  const nanoseconds started_;

  std::optional<OwnFolder> folder_;
  std::optional<Cluster> cluster_;
  std::optional<Process> pipeline_;
  Layout layout_;

  View view_;
  PipelineFigures figures_;
  RateMeter written_rate_;
  std::map<std::string, RateMeter> sink_rates_;
  std::map<std::string, int64_t> rows_of_killed_;  ///< shown by the process before, by sink
  change::Lsn committed_at_kill_;
  nanoseconds killed_at_{0};
  bool recovered_ = false;
  Outcome outcome_;
};

Status Demo::StartSource() {
  screen_.Doing("making a private PostgreSQL");
  FRESHET_TRY(OwnFolder folder, OwnFolder::Create());
  folder_.emplace(std::move(folder));
  FRESHET_TRY(cluster_, Cluster::Create(folder_->path() + "/postgres", true));
  outcome_.postgres_version = view_.postgres_version = cluster_->version();
  screen_.Step(fmt::format("PostgreSQL {} of our own runs on port {}", cluster_->version(),
                           cluster_->port()));

  screen_.Doing("filling the shop");
  generate::Options fill;
  fill.url = cluster_->url();
  fill.seed = options_.seed;
  fill.initial_rows = options_.initial_rows;
  fill.duration = nanoseconds(1);
  FRESHET_TRY(const auto filled, generate::Generate(fill, clock_, stop_, [](const auto&) {}));
  screen_.Step(
      fmt::format("{} rows were there before freshet (six tables, one filled by a trigger)",
                  Grouped(options_.initial_rows)));
  outcome_.transactions = filled.transactions;
  return {};
}

Status Demo::LaunchPipeline() {
  FRESHET_TRY(pipeline_,
              Process::Start({.arguments = {OwnProgram(), "run", "-c", layout_.config_path()},
                              .output = layout_.pipeline_output(),
                              .user = {},
                              .death_signal = SIGKILL}));
  return {};
}

Status Demo::StartPipeline() {
  screen_.Doing("starting freshet");
  const nanoseconds begun = clock_.Monotonic();
  layout_.folder = folder_->path();
  layout_.source_url = cluster_->ConfigUrl();
  layout_.lake_url = layout_.folder + "/lake";
  if (!options_.s3_url.empty()) {
    std::string parent = options_.s3_url;
    while (parent.ends_with('/')) parent.pop_back();
    layout_.lake_url = parent + "/" + fs::path(layout_.folder).filename().string();
  }
  layout_.s3_endpoint = options_.s3_endpoint;
  FRESHET_TRY(layout_.http_port, FreePort());
  std::ofstream config(layout_.config_path());
  config << ConfigText(layout_);
  config.close();
  if (!config) return Fail(ErrorKind::kIo, "cannot write {}", layout_.config_path());
  FRESHET_RETURN_IF_ERROR(LaunchPipeline());

  const nanoseconds deadline = begun + kReadyTimeout;
  while (true) {
    const auto figures = Probe(layout_.http_port);
    if (figures.has_value() && HasCaughtUp(*figures)) break;
    if (!pipeline_->Running() || clock_.Monotonic() > deadline) {
      return Fail(ErrorKind::kFatal, "the pipeline did not start: {}",
                  Tail(layout_.pipeline_output(), 2'000));
    }
    if (!clock_.WaitFor(milliseconds(20), stop_)) return Fail(ErrorKind::kCancelled, "stopped");
  }
  screen_.Step(fmt::format("freshet took them to DuckDB and to Parquet files{} in {:.1f} s",
                           options_.s3_url.empty() ? "" : " in S3",
                           Seconds(clock_.Monotonic() - begun)));
  return {};
}

Result<change::Lsn> Demo::SourceEnd() const {
  FRESHET_TRY(auto connection, postgres::Connection::Connect(cluster_->url()));
  FRESHET_TRY(const auto rows, connection.Query("SELECT pg_current_wal_lsn()"));
  return change::ParseLsn(rows.at(0, 0));
}

bool Demo::Look(const generate::Progress& written, nanoseconds since) {
  const double now = Seconds(clock_.Monotonic() - since);
  view_.elapsed_seconds = now;
  view_.written_rows = options_.initial_rows + written.rows;
  view_.written_per_second = written_rate_.Update(now, written.rows);
  view_.running = pipeline_->Running();
  auto figures = Probe(layout_.http_port);
  if (figures.has_value()) {
    figures_ = std::move(*figures);
    view_.pipeline_state = figures_.capture_state;
    view_.lag_bytes = 0;
    view_.sinks.clear();
    for (const SinkFigures& sink : figures_.sinks) {
      view_.lag_bytes = std::max(view_.lag_bytes, sink.lag_bytes);
      const int64_t rows = rows_of_killed_[sink.name] + sink.rows;
      view_.sinks.push_back({.name = sink.name,
                             .kind = sink.kind,
                             .rows = rows,
                             .rows_per_second = sink_rates_[sink.name].Update(now, rows),
                             .lag_seconds = sink.lag_seconds,
                             .p50_ms = sink.p50_ms,
                             .p95_ms = sink.p95_ms,
                             .p99_ms = sink.p99_ms});
    }
  } else {
    view_.pipeline_state = "starting";
  }
  screen_.Show(view_);
  return figures.has_value();
}

Status Demo::KillPipeline() {
  FRESHET_TRY(committed_at_kill_, SourceEnd());
  for (const SinkFigures& sink : figures_.sinks) rows_of_killed_[sink.name] += sink.rows;
  killed_at_ = clock_.Monotonic();
  pipeline_->Signal(SIGKILL);
  if (!pipeline_->WaitEnded(kStopTimeout)) {
    return Fail(ErrorKind::kFatal, "the pipeline survived a kill -9");
  }
  screen_.Event(fmt::format("kill -9 of the pipeline, process {}, in the middle of the traffic",
                            pipeline_->pid()));
  ++view_.restarts;
  return LaunchPipeline();
}

bool Demo::HasRecovered() const {
  // A pipeline that has not opened its log yet shows no sinks at all.
  return !figures_.sinks.empty() &&
         std::all_of(figures_.sinks.begin(), figures_.sinks.end(), [&](const SinkFigures& sink) {
           return sink.durable.commit_end >= committed_at_kill_;
         });
}

Status Demo::WatchTraffic() {
  generate::Options options;
  options.url = cluster_->url();
  options.seed = options_.seed;
  options.rate = options_.rate;
  options.shape.truncates = true;
  options.duration =
      std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(options_.seconds));
  const nanoseconds begun = clock_.Monotonic();
  const nanoseconds kill_at = begun + options.duration / 2;
  view_.total_seconds = options_.seconds;
  Traffic traffic(options, clock_);
  while (!traffic.ended() || (view_.restarts > 0 && !recovered_)) {
    const bool seen = Look(traffic.progress(), begun);
    if (view_.restarts == 0 && clock_.Monotonic() >= kill_at && !traffic.ended()) {
      FRESHET_RETURN_IF_ERROR(KillPipeline());
    } else if (view_.restarts > 0 && !recovered_ && seen && HasRecovered()) {
      view_.recovered = recovered_ = true;
      outcome_.recovery_seconds = Seconds(clock_.Monotonic() - killed_at_);
      screen_.Step(fmt::format("restarted and caught up again {:.1f} s after the kill",
                               outcome_.recovery_seconds));
    } else if (!pipeline_->Running()) {
      return Fail(ErrorKind::kFatal, "the pipeline ended: {}",
                  Tail(layout_.pipeline_output(), 2'000));
    }
    if (!recovered_ && killed_at_.count() > 0 &&
        clock_.Monotonic() > killed_at_ + kRecoveryTimeout) {
      return Fail(ErrorKind::kFatal, "the pipeline did not catch up after the kill: {}",
                  Tail(layout_.pipeline_output(), 2'000));
    }
    if (!clock_.WaitFor(kFrame, stop_)) return Fail(ErrorKind::kCancelled, "stopped");
  }
  FRESHET_RETURN_IF_ERROR(traffic.error());
  Look(traffic.progress(), begun);
  screen_.Clear();
  outcome_.rows_written = traffic.progress().rows;
  outcome_.transactions += traffic.progress().transactions;
  outcome_.sinks = view_.sinks;
  screen_.Step(fmt::format("{} rows written in {} transactions; {} of them rolled back on purpose",
                           Grouped(outcome_.rows_written), Grouped(outcome_.transactions),
                           traffic.progress().rolled_back));
  for (const SinkView& sink : view_.sinks) {
    screen_.Step(fmt::format("{}: visible p50 {:.0f} ms, p95 {:.0f} ms, p99 {:.0f} ms after commit",
                             sink.name, sink.p50_ms, sink.p95_ms, sink.p99_ms));
  }
  return {};
}

Status Demo::Verify() {
  FRESHET_TRY(const pipeline::Options pipeline, pipeline::ReadOptions(layout_.config_path()));
  const nanoseconds begun = clock_.Monotonic();
  FRESHET_TRY(outcome_.report,
              verify::Verify(pipeline, {}, clock_, stop_, [&](const verify::Progress& progress) {
                screen_.Doing(fmt::format("comparing {} in {} with PostgreSQL", progress.table,
                                          progress.sink));
              }));
  outcome_.verify_seconds = Seconds(clock_.Monotonic() - begun);
  return {};
}

void Demo::TearDown() {
  if (pipeline_) {
    pipeline_->Signal(SIGTERM);
    if (!pipeline_->WaitEnded(kStopTimeout)) {
      pipeline_->Signal(SIGKILL);
      pipeline_->WaitEnded(kStopTimeout);
    }
    pipeline_.reset();
  }
  if (cluster_) cluster_->Stop(kStopTimeout);
  cluster_.reset();
  RemoveFromS3();
  folder_.reset();
}

void Demo::RemoveFromS3() {
  if (options_.s3_url.empty() || layout_.lake_url.empty()) return;
  sink::files::Options lake;
  lake.url = std::exchange(layout_.lake_url, {});
  lake.s3.endpoint = layout_.s3_endpoint;
  const Status removed = [&]() -> Status {
    FRESHET_TRY(const auto storage, OpenStorage(lake, sink::files::StorageUse::kWrite));
    return storage->DeleteAll();
  }();
  if (removed.has_value()) return;
  outcome_.left_behind =
      fmt::format("{} could not be removed: {}", lake.url, removed.error().message);
  screen_.Event(outcome_.left_behind);
}

Result<Outcome> Demo::Run() {
  FRESHET_RETURN_IF_ERROR(StartSource());
  FRESHET_RETURN_IF_ERROR(StartPipeline());
  FRESHET_RETURN_IF_ERROR(WatchTraffic());
  FRESHET_RETURN_IF_ERROR(Verify());
  screen_.Doing("tidying up");
  TearDown();
  screen_.Clear();
  outcome_.total_seconds = ElapsedSeconds();
  return std::move(outcome_);
}

}  // namespace

Result<Outcome> RunDemo(const Options& options, Screen& screen, const Clock& clock,
                        std::stop_token stop) {
  return Demo(options, screen, clock, std::move(stop)).Run();
}

}  // namespace freshet::cli::demo
