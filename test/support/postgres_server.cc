#include "support/postgres_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "postgres/connection.h"
#include "support/process.h"

namespace freshet::test {
namespace {

namespace fs = std::filesystem;
constexpr int kStartTimeoutMs = 60'000;
constexpr std::chrono::milliseconds kPollInterval{5};

std::vector<fs::path> Roots() {
  std::vector<fs::path> out;
  if (const char* dir = std::getenv("FRESHET_POSTGRES_DIR"); dir != nullptr) {
    out.emplace_back(dir);
  } else if (const char* deps = std::getenv("FRESHET_DEPS"); deps != nullptr) {
    out.push_back(fs::path(deps) / "postgres");
  } else {
    out.push_back(fs::current_path() / ".deps/postgres");
  }
  out.emplace_back("/usr/lib/postgresql");
  return out;
}

std::string BinFolder(int major) {
  for (const fs::path& root : Roots()) {
    const fs::path bin = root / std::to_string(major) / "bin";
    if (!fs::exists(bin / "postgres") || !fs::exists(bin / "initdb")) continue;
    // Links resolved: the user the server runs as may not be able to pass through the clone.
    return fs::canonical(bin).string();
  }
  return "";
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void Pause() { SystemClock().WaitFor(kPollInterval, {}); }

}  // namespace

std::vector<int> PostgresServer::InstalledMajors() {
  std::vector<int> out;
  for (int major = 10; major <= 19; ++major) {
    if (!BinFolder(major).empty()) out.push_back(major);
  }
  return out;
}

Result<std::unique_ptr<PostgresServer>> PostgresServer::WithoutCluster(int major) {
  const std::vector<int> majors = InstalledMajors();
  std::unique_ptr<PostgresServer> server(new PostgresServer);
  server->major_ = major;
  if (major == 0 && !majors.empty()) server->major_ = majors.back();
  server->bin_ = BinFolder(server->major_);
  if (server->bin_.empty()) {
    return Fail(ErrorKind::kNotFound,
                "PostgreSQL {} is not installed; apt-get install postgresql-15, or run "
                "./scripts/postgres_major.sh {}",
                major, major);
  }
  server->user_ = ::getuid();
  server->group_ = ::getgid();
  if (server->user_ == 0) {  // the server refuses to run as root
    const passwd* user = ::getpwnam("postgres");
    if (user == nullptr) user = ::getpwnam("nobody");
    if (user == nullptr) return Fail(ErrorKind::kConfig, "there is no user to run PostgreSQL as");
    server->user_ = user->pw_uid;
    server->group_ = user->pw_gid;
  }
  char folder[] = "/tmp/freshet-pg-XXXXXX";
  if (::mkdtemp(folder) == nullptr) {
    return Fail(ErrorKind::kIo, "mkdtemp: {}", std::strerror(errno));
  }
  server->folder_ = folder;
  if (::getuid() == 0 && ::chown(folder, server->user_, server->group_) != 0) {
    return Fail(ErrorKind::kIo, "chown {}: {}", folder, std::strerror(errno));
  }
  server->port_ = FreePorts(1).front();
  return server;
}

Result<std::unique_ptr<PostgresServer>> PostgresServer::Start(const ServerOptions& options) {
  FRESHET_TRY(std::unique_ptr<PostgresServer> server, WithoutCluster(options.major));
  const std::string log = server->folder_ + "/initdb.log";
  const pid_t initdb =
      SpawnServer({server->bin_ + "/initdb", "-D", server->folder_ + "/data", "-U", "postgres",
                   "-A", "trust", "-E", options.encoding, "--no-locale", "-N"},
                  server->user_, server->group_, log, SIGKILL);
  int status = 0;
  ::waitpid(initdb, &status, 0);
  if (status != 0) return Fail(ErrorKind::kIo, "initdb failed: {}", ReadAll(log));
  FRESHET_RETURN_IF_ERROR(server->Configure({
      "listen_addresses = '127.0.0.1'",
      fmt::format("port = {}", server->port_),
      fmt::format("unix_socket_directories = '{}'", server->folder_),
      "wal_level = logical",
      "max_replication_slots = 20",
      "max_wal_senders = 20",
      "max_connections = 60",
      "shared_buffers = 64MB",
      "log_min_messages = log",
  }));
  FRESHET_RETURN_IF_ERROR(server->Configure(options.settings));
  FRESHET_RETURN_IF_ERROR(server->Launch());
  return server;
}

Result<std::unique_ptr<PostgresServer>> PostgresServer::StartStandby(
    PostgresServer& primary, const std::string& slot, const std::vector<std::string>& settings) {
  FRESHET_RETURN_IF_ERROR(
      primary.Run("SELECT pg_create_physical_replication_slot('" + slot + "', true)"));
  FRESHET_TRY(std::unique_ptr<PostgresServer> server, WithoutCluster(primary.major_));
  FRESHET_RETURN_IF_ERROR(primary.Stop());
  // As pg_basebackup does: the slots stay behind.
  const std::string copy = fmt::format(
      "cp -a '{}/data' '{}/data' && rm -rf '{}'/data/pg_replslot/* && touch "
      "'{}/data/standby.signal'",
      primary.folder_, server->folder_, server->folder_, server->folder_);
  if (std::system(copy.c_str()) != 0) return Fail(ErrorKind::kIo, "cannot run: {}", copy);
  FRESHET_RETURN_IF_ERROR(primary.Resume());
  FRESHET_RETURN_IF_ERROR(server->Configure({
      fmt::format("port = {}", server->port_),
      fmt::format("unix_socket_directories = '{}'", server->folder_),
      fmt::format("primary_conninfo = 'host={} port={} user=postgres dbname=postgres'",
                  primary.folder_, primary.port_),
      fmt::format("primary_slot_name = '{}'", slot),
      "hot_standby_feedback = on",
      "wal_receiver_status_interval = 1",
      "wal_retrieve_retry_interval = 100ms",
  }));
  FRESHET_RETURN_IF_ERROR(server->Configure(settings));
  FRESHET_RETURN_IF_ERROR(server->Launch());
  return server;
}

PostgresServer::~PostgresServer() {
  SignalStop(StopMode::kImmediate);
  if (!WaitStopped(20'000)) Kill9();
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Status PostgresServer::Launch() {
  const std::string log = folder_ + "/server.log";
  pid_ = SpawnServer({bin_ + "/postgres", "-D", folder_ + "/data"}, user_, group_, log, SIGQUIT);
  const auto deadline = SystemClock().Monotonic() + std::chrono::milliseconds(kStartTimeoutMs);
  while (SystemClock().Monotonic() < deadline) {
    if (Run("SELECT 1").has_value()) return {};
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      break;
    }
    Pause();
  }
  return Fail(ErrorKind::kUnavailable, "PostgreSQL {} did not start: {}", major_, ReadAll(log));
}

Secret PostgresServer::url(std::string_view database, std::string_view user) const {
  return Secret(fmt::format("postgres://{}@127.0.0.1:{}/{}", user, port_, database));
}

Secret PostgresServer::socket_url(std::string_view database, std::string_view user) const {
  return Secret(fmt::format("host={} port={} user={} dbname={}", folder_, port_, user, database));
}

void PostgresServer::SignalStop(StopMode mode) {
  if (pid_ > 0) ::kill(pid_, mode == StopMode::kFast ? SIGINT : SIGQUIT);
}

bool PostgresServer::WaitStopped(int timeout_ms) {
  const auto deadline = SystemClock().Monotonic() + std::chrono::milliseconds(timeout_ms);
  while (pid_ > 0) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      break;
    }
    if (SystemClock().Monotonic() > deadline) return false;
    Pause();
  }
  return true;
}

Status PostgresServer::Stop(StopMode mode) {
  SignalStop(mode);
  if (!WaitStopped(60'000)) return Fail(ErrorKind::kUnavailable, "the server does not stop");
  return {};
}

Status PostgresServer::Resume() { return Launch(); }

void PostgresServer::Kill9() {
  if (pid_ <= 0) return;
  // Children notice the postmaster's death by themselves, within the blink of an eye.
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Status PostgresServer::Run(const std::string& sql, std::string_view database) const {
  FRESHET_TRY(postgres::Connection connection, postgres::Connection::Connect(socket_url(database)));
  return connection.Execute(sql);
}

Result<std::string> PostgresServer::Ask(const std::string& sql, std::string_view database) const {
  FRESHET_TRY(postgres::Connection connection, postgres::Connection::Connect(socket_url(database)));
  FRESHET_TRY(const postgres::Rows rows, connection.Query(sql));
  return rows.size() == 0 ? std::string() : std::string(rows.at(0, 0));
}

Status PostgresServer::Configure(const std::vector<std::string>& settings) const {
  std::ofstream out(folder_ + "/data/postgresql.conf", std::ios::app);
  for (const std::string& setting : settings) out << setting << "\n";
  out.flush();
  if (!out) return Fail(ErrorKind::kIo, "cannot write postgresql.conf");
  return {};
}

}  // namespace freshet::test
