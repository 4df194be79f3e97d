#include "support/s3_server.h"

#include <arrow/filesystem/s3fs.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "sink/files/storage.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace freshet::test {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kStartTimeout{60};
constexpr std::chrono::milliseconds kPollInterval{20};
constexpr const char* kAccessKey = "FRESHETTESTKEY";
constexpr const char* kSecretKey = "freshet-test-secret";

constexpr const char* kIdentities = R"({"identities":[{"name":"test","credentials":[
{"accessKey":"FRESHETTESTKEY","secretKey":"freshet-test-secret"}],
"actions":["Admin","Read","Write","List","Tagging"]}]})";

constexpr int kPorts = 10;
constexpr size_t kS3Port = 6;

fs::path Program() {
  const char* const deps = std::getenv("FRESHET_DEPS");
  const fs::path root = deps != nullptr ? fs::path(deps) : fs::current_path() / ".deps";
  return root / "seaweedfs/bin/weed";
}

/// A client of our own, beside the one under test; it gives up at the first error.
arrow::Result<std::shared_ptr<arrow::fs::S3FileSystem>> Client(int port) {
  auto options = arrow::fs::S3Options::FromAccessKey(kAccessKey, kSecretKey);
  options.endpoint_override = fmt::format("127.0.0.1:{}", port);
  options.scheme = "http";
  options.region = "us-east-1";
  options.allow_bucket_creation = true;
  options.retry_strategy = arrow::fs::S3RetryStrategy::GetAwsStandardRetryStrategy(1);
  return arrow::fs::S3FileSystem::Make(options);
}

}  // namespace

Result<std::unique_ptr<S3Server>> S3Server::Start() {
  std::unique_ptr<S3Server> server(new S3Server);
  server->program_ = Program().string();
  if (!fs::exists(server->program_)) {
    return Fail(ErrorKind::kNotFound, "{} is not there; run ./scripts/bootstrap.sh",
                server->program_);
  }
  char folder[] = "/tmp/freshet-s3-XXXXXX";
  if (::mkdtemp(folder) == nullptr) {
    return Fail(ErrorKind::kIo, "mkdtemp: {}", std::strerror(errno));
  }
  server->folder_ = folder;
  fs::create_directories(server->folder_ + "/data");
  fs::create_directories(server->folder_ + "/log");
  WriteText(server->folder_ + "/identities.json", kIdentities);
  server->ports_ = FreePorts(kPorts);
  FRESHET_RETURN_IF_ERROR(server->Launch());
  return server;
}

S3Server::~S3Server() {
  Kill9();
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Status S3Server::Launch() {
  std::vector<std::string> arguments = {program_,
                                        "-logdir=" + folder_ + "/log",
                                        "mini",
                                        "-dir=" + folder_ + "/data",
                                        "-ip=127.0.0.1",
                                        "-ip.bind=127.0.0.1",
                                        "-master.telemetry=false",
                                        "-webdav=false",
                                        "-admin.ui=false",
                                        "-s3.port.iceberg=0",
                                        "-s3.port.lance=0",
                                        "-s3.autoCreateBucket=false",
                                        "-s3.config=" + folder_ + "/identities.json",
                                        "-filer.localSocket=" + folder_ + "/filer.sock",
                                        "-s3.localSocket=" + folder_ + "/s3.sock"};
  static constexpr const char* kPortFlags[] = {
      "master.port",     "master.port.grpc", "volume.port",  "volume.port.grpc", "filer.port",
      "filer.port.grpc", "s3.port",          "s3.port.grpc", "admin.port",       "admin.port.grpc"};
  for (size_t i = 0; i < ports_.size(); ++i) {
    arguments.push_back(fmt::format("-{}={}", kPortFlags[i], ports_[i]));
  }
  const std::string log = folder_ + "/server.log";
  pid_ = SpawnServer(arguments, ::getuid(), ::getgid(), log, SIGKILL);

  // Ready when it makes the bucket, or says that it is there.
  FRESHET_RETURN_IF_ERROR(sink::files::EnsureS3Client());
  const auto store = Client(ports_[kS3Port]);
  if (!store.ok()) return Fail(ErrorKind::kFatal, "{}", store.status().ToString());
  const auto deadline = SystemClock().Monotonic() + kStartTimeout;
  while (SystemClock().Monotonic() < deadline) {
    if ((*store)->CreateDir(kBucket, false).ok()) return {};
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      break;
    }
    SystemClock().WaitFor(kPollInterval, {});
  }
  return Fail(ErrorKind::kUnavailable, "SeaweedFS did not start: {}", ReadText(log));
}

void S3Server::Kill9() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Status S3Server::Resume() { return Launch(); }

sink::files::S3Access S3Server::access() const {
  sink::files::S3Access access;
  access.endpoint = fmt::format("http://127.0.0.1:{}", ports_[kS3Port]);
  access.region = "us-east-1";
  access.access_key = Secret(kAccessKey);
  access.secret_key = Secret(kSecretKey);
  return access;
}

Result<std::vector<std::string>> S3Server::Keys(std::string_view prefix) const {
  const auto store = Client(ports_[kS3Port]);
  if (!store.ok()) return Fail(ErrorKind::kFatal, "{}", store.status().ToString());
  arrow::fs::FileSelector selector;
  selector.base_dir = fmt::format("{}/{}", kBucket, prefix);
  selector.recursive = true;
  selector.allow_not_found = true;
  const auto infos = (*store)->GetFileInfo(selector);
  if (!infos.ok()) return Fail(ErrorKind::kFatal, "{}", infos.status().ToString());
  std::vector<std::string> keys;
  for (const auto& info : *infos) {
    if (info.IsFile()) keys.push_back(info.path().substr(selector.base_dir.size() + 1));
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace freshet::test
