#include "cli/demo/cluster.h"

#include <fmt/format.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/clock.h"
#include "postgres/connection.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kInitTimeout{60};
constexpr std::chrono::seconds kStartTimeout{60};
constexpr std::chrono::milliseconds kPollInterval{10};
constexpr int kPortAttempts = 5;
constexpr int kOldestMajor = 10;

/// The folder of the newest PostgreSQL's programs, as Debian installs them or on the PATH.
std::string ProgramFolder() {
  std::string best;
  int best_major = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const fs::path bin = entry.path() / "bin";
    const int major = std::atoi(entry.path().filename().c_str());
    if (major >= kOldestMajor && major > best_major && fs::exists(bin / "initdb")) {
      best = bin;
      best_major = major;
    }
  }
  if (!best.empty()) return best;
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    if (fs::exists(fs::path(folder) / "initdb") && fs::exists(fs::path(folder) / "postgres")) {
      return std::string(folder);
    }
  }
  return "";
}

/// Another user, where we are root.
Result<std::optional<User>> UserOfServer() {
  if (::geteuid() != 0) return std::optional<User>();
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = ::getpwnam(name); entry != nullptr) {
      return std::optional(User{.user = entry->pw_uid, .group = entry->pw_gid});
    }
  }
  return Fail(ErrorKind::kConfig,
              "PostgreSQL refuses to run as root, and there is no user postgres or nobody: run "
              "freshet demo as an ordinary user");
}

std::string MakeUpPassword() {
  constexpr std::string_view kLetters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  std::random_device random;
  std::string out;
  for (int i = 0; i < 24; ++i) out.push_back(kLetters[random() % kLetters.size()]);
  return out;
}

Status WriteFile(const std::string& path, const std::string& text, bool append) {
  std::ofstream file(path, append ? std::ios::app : std::ios::trunc);
  file << text;
  file.flush();
  if (!file) return Fail(ErrorKind::kIo, "cannot write {}", path);
  return {};
}

}  // namespace

Result<Cluster> Cluster::Create(const std::string& folder, bool dies_with_us) {
  const std::string programs = ProgramFolder();
  if (programs.empty()) {
    return Fail(ErrorKind::kNotFound,
                "PostgreSQL's programs are not installed: apt-get install postgresql");
  }
  Cluster cluster;
  cluster.folder_ = folder;
  cluster.program_ = programs + "/postgres";
  cluster.password_ = MakeUpPassword();
  FRESHET_TRY(cluster.user_, UserOfServer());
  FRESHET_RETURN_IF_ERROR(cluster.Initialize(dies_with_us));
  for (int attempt = 1;; ++attempt) {
    FRESHET_TRY(cluster.port_, FreePort());
    Status launched = cluster.Launch(dies_with_us);
    if (launched.has_value()) return cluster;
    // Another program may have taken the port meanwhile.
    if (attempt == kPortAttempts || cluster.process_->Running()) {
      cluster.Stop(std::chrono::seconds(0));
      return Fail(std::move(launched).error());
    }
  }
}

Status Cluster::Initialize(bool dies_with_us) {
  std::error_code error;
  if (!fs::create_directory(folder_, error)) {
    return Fail(ErrorKind::kIo, "cannot make folder {}: {}", folder_, error.message());
  }
  FRESHET_RETURN_IF_ERROR(WriteFile(password_file(), password_, false));
  ::chmod(password_file().c_str(), 0600);
  // initdb reads the password as the server's user.
  const std::string own_copy = folder_ + "/password";
  FRESHET_RETURN_IF_ERROR(WriteFile(own_copy, password_, false));
  ::chmod(own_copy.c_str(), 0600);
  if (user_) {
    for (const std::string& path : {folder_, own_copy}) {
      if (::chown(path.c_str(), user_->user, user_->group) != 0) {
        return Fail(ErrorKind::kIo, "cannot give {} to PostgreSQL's user", path);
      }
    }
  }
  const std::string log = folder_ + ".initdb.log";
  const std::string initdb = fs::path(program_).replace_filename("initdb");
  FRESHET_TRY(Process process,
              Process::Start({.arguments = {initdb, "-D", folder_ + "/data", "-U", "freshet", "-A",
                                            "scram-sha-256", "--pwfile=" + own_copy, "-E", "UTF8",
                                            "--no-locale", "-N"},
                              .output = log,
                              .user = user_,
                              .death_signal = dies_with_us ? SIGKILL : 0}));
  const bool ended = process.WaitEnded(kInitTimeout);
  fs::remove(own_copy, error);
  if (!ended || process.exit_code() != 0) {
    process.Signal(SIGKILL);
    return Fail(ErrorKind::kIo, "initdb failed: {}", Tail(log, 2'000));
  }
  return {};
}

Status Cluster::Launch(bool dies_with_us) {
  FRESHET_RETURN_IF_ERROR(WriteFile(folder_ + "/data/postgresql.conf",
                                    fmt::format("listen_addresses = '127.0.0.1'\n"
                                                "port = {}\n"
                                                "unix_socket_directories = '{}'\n"
                                                "wal_level = logical\n"
                                                "max_connections = 40\n"
                                                "shared_buffers = 64MB\n",
                                                port_, folder_),
                                    true));
  const std::string log = folder_ + ".log";
  FRESHET_TRY(process_, Process::Start({.arguments = {program_, "-D", folder_ + "/data"},
                                        .output = log,
                                        .user = user_,
                                        .death_signal = dies_with_us ? SIGQUIT : 0}));
  const Clock& clock = SystemClock();
  const auto deadline = clock.Monotonic() + kStartTimeout;
  const Secret maintenance(
      fmt::format("host=127.0.0.1 port={} user=freshet dbname=postgres "
                  "password={}",
                  port_, password_));
  while (process_->Running() && clock.Monotonic() < deadline) {
    if (auto connection = postgres::Connection::Connect(maintenance); connection.has_value()) {
      FRESHET_TRY(const postgres::Rows rows, connection->Query("SHOW server_version"));
      version_ = rows.at(0, 0).substr(0, rows.at(0, 0).find(' '));
      return connection->Execute("CREATE DATABASE shop");
    }
    clock.WaitFor(kPollInterval, {});
  }
  return Fail(ErrorKind::kUnavailable, "PostgreSQL did not start: {}", Tail(log, 2'000));
}

std::string Cluster::ConfigUrl() const {
  return fmt::format("host=127.0.0.1 port={} user=freshet dbname=shop password=${{file:{}}}", port_,
                     password_file());
}

Secret Cluster::url() const {
  return Secret(
      fmt::format("host=127.0.0.1 port={} user=freshet dbname=shop password={}", port_, password_));
}

void Cluster::Stop(std::chrono::nanoseconds timeout) {
  if (!process_) return;
  process_->Signal(SIGINT);
  if (process_->WaitEnded(timeout)) return;
  process_->Signal(SIGQUIT);
  if (process_->WaitEnded(std::chrono::seconds(10))) return;
  process_->Signal(SIGKILL);
  process_->WaitEnded(std::chrono::seconds(10));
}

}  // namespace freshet::cli::demo
