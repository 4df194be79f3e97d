#include "cli/demo/standing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/figures.h"
#include "cli/demo/cluster.h"
#include "cli/demo/probe.h"
#include "cli/demo/process.h"
#include "generate/generator.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPollInterval{20};
constexpr seconds kReadyTimeout{60};
constexpr seconds kStopTimeout{20};
constexpr int64_t kInitialRows = 5'000;
constexpr int64_t kRate = 20;

/// Keeps two `demo up` and `demo down` apart.
class Lock {
 public:
  static Result<Lock> Take(const std::string& folder) {
    const std::string path = folder + ".lock";
    std::error_code error;
    fs::create_directories(fs::path(path).parent_path(), error);
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return Fail(ErrorKind::kIo, "cannot write {}", path);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd);
      return Fail(ErrorKind::kBusy, "another `freshet demo up` or `down` is under way");
    }
    return Lock(fd);
  }
  Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit Lock(int fd) : fd_(fd) {}
  int fd_;
};

std::string StatePath(const std::string& folder) { return folder + "/state.json"; }

/// What is needed to find everything again. Written before anything is started.
Status WriteState(const std::string& folder, const Standing& standing) {
  const nlohmann::json state = {{"cluster_folder", standing.cluster_folder},
                                {"http_port", standing.layout.http_port},
                                {"psql", standing.psql},
                                {"rate", standing.rate}};
  const std::string path = StatePath(folder);
  std::ofstream file(path + ".new");
  file << state.dump(2) << '\n';
  file.close();
  std::error_code error;
  fs::rename(path + ".new", path, error);
  if (!file || error) return Fail(ErrorKind::kIo, "cannot write {}", path);
  return {};
}

std::optional<Standing> ReadState(const std::string& folder) {
  std::ifstream file(StatePath(folder));
  const auto state = nlohmann::json::parse(file, nullptr, false);
  if (!state.is_object()) return std::nullopt;
  Standing standing;
  standing.layout.folder = folder;
  standing.layout.lake_url = folder + "/lake";
  standing.cluster_folder = state.value("cluster_folder", "");
  standing.layout.http_port = state.value("http_port", 0);
  standing.psql = state.value("psql", "");
  standing.rate = state.value("rate", int64_t{0});
  return standing;
}

/// The parts that run. A part is known by its command line, which names a folder that nobody else
/// uses: that cannot be mistaken after a reboot, as a number written down could be.
struct Parts {
  std::optional<pid_t> traffic;
  std::optional<pid_t> pipeline;
  std::optional<pid_t> server;

  bool all() const { return traffic && pipeline && server; }
  bool any() const { return traffic || pipeline || server; }
};

Parts FindParts(const std::string& folder, const std::string& cluster_folder) {
  Parts parts;
  for (const FoundProcess& process : FindProcesses(folder + "/")) {
    if (process.arguments.size() < 2) continue;
    if (process.arguments[1] == "generate") parts.traffic = process.pid;
    if (process.arguments[1] == "run") parts.pipeline = process.pid;
  }
  if (cluster_folder.empty()) return parts;
  // A child that the server has just forked still bears its command line.
  const auto servers = FindProcesses(cluster_folder + "/");
  for (const FoundProcess& process : servers) {
    const bool is_child =
        std::any_of(servers.begin(), servers.end(),
                    [&](const FoundProcess& other) { return other.pid == process.parent; });
    if (!is_child && process.arguments.size() > 1 && process.arguments[1] == "-D") {
      parts.server = process.pid;
    }
  }
  return parts;
}

/// Asks `pid` to end by `polite`, and makes it end when it does not.
Status End(pid_t pid, int polite, const Clock& clock) {
  for (const int signal : {polite, SIGKILL}) {
    if (::kill(pid, signal) != 0 && errno == ESRCH) return {};
    const auto deadline = clock.Monotonic() + kStopTimeout;
    while (clock.Monotonic() < deadline) {
      ::waitpid(pid, nullptr, WNOHANG);  // it may be a child of ours
      if (::kill(pid, 0) != 0 && errno == ESRCH) return {};
      clock.WaitFor(kPollInterval, {});
    }
  }
  return Fail(ErrorKind::kBusy, "process {} of the demo does not end", pid);
}

Result<DownResult> TakeDown(const std::string& folder, const Clock& clock) {
  DownResult result;
  const auto state = ReadState(folder);
  const std::string cluster_folder = state ? state->cluster_folder : "";
  const Parts parts = FindParts(folder, cluster_folder);
  result.was_up = parts.any() || state.has_value();
  const auto end = [&](const std::optional<pid_t>& pid, int signal) -> Status {
    if (!pid) return {};
    ++result.processes_stopped;
    return End(*pid, signal, clock);
  };
  FRESHET_RETURN_IF_ERROR(end(parts.traffic, SIGTERM));
  FRESHET_RETURN_IF_ERROR(end(parts.pipeline, SIGTERM));
  FRESHET_RETURN_IF_ERROR(end(parts.server, SIGINT));
  std::error_code error;
  if (!cluster_folder.empty()) fs::remove_all(fs::path(cluster_folder).parent_path(), error);
  fs::remove_all(folder, error);
  if (error) return Fail(ErrorKind::kIo, "cannot remove {}: {}", folder, error.message());
  return result;
}

Result<Process> StartOwn(const std::vector<std::string>& arguments, const std::string& output) {
  ProcessOptions options{.arguments = {OwnProgram()}, .output = output, .user = {}};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  return Process::Start(options);
}

Status WaitUntilReady(const Layout& layout, Process& pipeline, const Clock& clock,
                      const std::stop_token& stop) {
  const auto deadline = clock.Monotonic() + kReadyTimeout;
  while (true) {
    const auto figures = Probe(layout.http_port);
    if (figures.has_value() && HasCaughtUp(*figures)) return {};
    if (!pipeline.Running() || clock.Monotonic() > deadline) {
      return Fail(ErrorKind::kFatal, "the pipeline did not start: {}",
                  Tail(layout.pipeline_output(), 2'000));
    }
    if (!clock.WaitFor(kPollInterval, stop)) return Fail(ErrorKind::kCancelled, "stopped");
  }
}

Result<Standing> BringUp(const std::string& folder, Screen& screen, const Clock& clock,
                         const std::stop_token& stop) {
  Standing standing;
  Layout& layout = standing.layout;
  layout.folder = folder;
  layout.lake_url = folder + "/lake";
  standing.rate = kRate;
  std::error_code error;
  fs::create_directories(folder, error);
  ::chmod(folder.c_str(), 0700);
  // Apart from the rest: a socket's path must be short, and another user's server must get there.
  std::string cluster_parent = fs::temp_directory_path() / "freshet-demo-up-XXXXXX";
  if (error || ::mkdtemp(cluster_parent.data()) == nullptr) {
    return Fail(ErrorKind::kIo, "cannot make the folders {} and {}", folder, cluster_parent);
  }
  ::chmod(cluster_parent.c_str(), 0711);
  standing.cluster_folder = cluster_parent + "/postgres";
  FRESHET_RETURN_IF_ERROR(WriteState(folder, standing));

  screen.Doing("making a private PostgreSQL");
  FRESHET_TRY(const Cluster cluster, Cluster::Create(standing.cluster_folder, false));
  screen.Step(
      fmt::format("PostgreSQL {} of our own runs on port {}", cluster.version(), cluster.port()));
  standing.psql = fmt::format("PGPASSWORD=$(cat {}) psql -h 127.0.0.1 -p {} -U freshet shop",
                              cluster.password_file(), cluster.port());

  screen.Doing("filling the shop");
  generate::Options fill;
  fill.url = cluster.url();
  fill.initial_rows = kInitialRows;
  fill.duration = std::chrono::nanoseconds(1);
  FRESHET_TRY(std::ignore, generate::Generate(fill, clock, stop, [](const auto&) {}));

  screen.Doing("starting freshet");
  layout.source_url = cluster.ConfigUrl();
  FRESHET_TRY(layout.http_port, FreePort());
  FRESHET_RETURN_IF_ERROR(WriteState(folder, standing));
  std::ofstream config(layout.config_path());
  config << ConfigText(layout);
  config.close();
  if (!config) return Fail(ErrorKind::kIo, "cannot write {}", layout.config_path());
  FRESHET_TRY(Process pipeline,
              StartOwn({"run", "-c", layout.config_path()}, layout.pipeline_output()));
  FRESHET_RETURN_IF_ERROR(WaitUntilReady(layout, pipeline, clock, stop));
  screen.Step(
      fmt::format("freshet took {} rows to DuckDB and to Parquet files", Grouped(kInitialRows)));

  FRESHET_TRY(std::ignore, StartOwn({"generate", "-c", layout.config_path(), "--schema", "shop",
                                     "--rate", std::to_string(kRate), "--truncate"},
                                    layout.generate_output()));
  screen.Step(fmt::format("traffic runs, {} rows a second", kRate));
  return standing;
}

}  // namespace

Result<std::string> StandingFolder() {
  const auto from = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string state = from("XDG_STATE_HOME"); !state.empty()) {
    return state + "/freshet/demo";
  }
  if (const std::string home = from("HOME"); !home.empty()) {
    return home + "/.local/state/freshet/demo";
  }
  return Fail(ErrorKind::kConfig, "neither XDG_STATE_HOME nor HOME says where to keep the demo");
}

Result<UpResult> Up(const std::string& folder, Screen& screen, const Clock& clock,
                    std::stop_token stop) {
  FRESHET_TRY(const Lock lock, Lock::Take(folder));
  if (auto state = ReadState(folder); state.has_value()) {
    if (FindParts(folder, state->cluster_folder).all()) {
      return UpResult{.standing = std::move(*state), .was_up = true};
    }
    screen.Event("a part of the demo is gone; it is begun anew");
  }
  FRESHET_TRY(std::ignore, TakeDown(folder, clock));
  auto standing = BringUp(folder, screen, clock, stop);
  if (!standing.has_value()) {
    FRESHET_TRY(std::ignore, TakeDown(folder, clock));
    return Fail(std::move(standing).error());
  }
  return UpResult{.standing = std::move(*standing), .was_up = false};
}

Result<DownResult> Down(const std::string& folder, Screen& screen, const Clock& clock) {
  FRESHET_TRY(const Lock lock, Lock::Take(folder));
  screen.Doing("stopping");
  FRESHET_TRY(const DownResult result, TakeDown(folder, clock));
  // What is left of the path, where nothing else is kept in it.
  std::error_code ignored;
  fs::remove(folder + ".lock", ignored);
  fs::remove(fs::path(folder).parent_path(), ignored);
  return result;
}

}  // namespace freshet::cli::demo
