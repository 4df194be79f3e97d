#include "cli/demo/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/clock.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPollInterval{5};

/// Runs in the child: only calls that are safe after fork() in a process with threads.
[[noreturn]] void BecomeProgram(const ProcessOptions& options, char** argv, pid_t parent) {
  const int out = ::open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out < 0 || in < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) {
    ::_exit(126);
  }
  ::setsid();  // Ctrl-C at the terminal is for us; we stop our children in order
  if (options.user && (::setgid(options.user->group) != 0 || ::setuid(options.user->user) != 0)) {
    ::_exit(126);
  }
  if (options.death_signal != 0) {
    ::prctl(PR_SET_PDEATHSIG, options.death_signal);  // after setuid, which clears it
    if (::getppid() != parent) ::_exit(125);          // died in between
  }
  if (::chdir("/") != 0) ::_exit(126);
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

Result<Process> Process::Start(const ProcessOptions& options) {
  std::vector<char*> argv;
  for (const std::string& argument : options.arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return Fail(ErrorKind::kIo, "cannot start {}: {}", options.arguments[0], std::strerror(errno));
  }
  if (pid == 0) BecomeProgram(options, argv.data(), parent);
  return Process(pid);
}

bool Process::Running() {
  if (ended_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  ended_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return false;
}

void Process::Signal(int signal) {
  if (Running()) ::kill(pid_, signal);
}

bool Process::WaitEnded(std::chrono::nanoseconds timeout) {
  const Clock& clock = SystemClock();
  const auto deadline = clock.Monotonic() + timeout;
  while (Running()) {
    if (clock.Monotonic() >= deadline) return false;
    clock.WaitFor(kPollInterval, {});
  }
  return true;
}

std::vector<FoundProcess> FindProcesses(std::string_view prefix) {
  std::vector<FoundProcess> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline");
    FoundProcess process{.pid = std::stoi(name), .parent = 0, .arguments = {}};
    for (std::string argument; std::getline(file, argument, '\0');) {
      process.arguments.push_back(argument);
    }
    const bool names_prefix =
        std::any_of(process.arguments.begin(), process.arguments.end(),
                    [&](const std::string& argument) { return argument.starts_with(prefix); });
    if (!names_prefix) continue;
    std::ifstream stat(entry.path() / "stat");  // pid (name) state parent ...
    std::string text;
    std::getline(stat, text);
    char state = 0;
    if (const size_t after_name = text.rfind(')'); after_name != std::string::npos) {
      std::istringstream(text.substr(after_name + 1)) >> state >> process.parent;
    }
    found.push_back(std::move(process));
  }
  return found;
}

std::string OwnProgram() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).string();
}

std::string CommandName() {
  const std::string own = OwnProgram();
  const std::string name = fs::path(own).filename();
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::error_code error;
    const fs::path candidate = fs::path(folder) / name;
    if (!fs::exists(candidate, error)) continue;
    return fs::equivalent(candidate, own, error) ? name : own;  // the shell takes the first
  }
  return own;
}

Result<int> FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Fail(ErrorKind::kIo, "cannot make a socket: {}", std::strerror(errno));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  const int failure = errno;
  ::close(fd);
  if (!bound) return Fail(ErrorKind::kIo, "no free port: {}", std::strerror(failure));
  return ntohs(address.sin_port);
}

std::string Tail(const std::string& path, size_t bytes) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  std::string text = all.str();
  if (text.size() <= bytes) return text;
  const size_t line = text.find('\n', text.size() - bytes);
  return line == std::string::npos ? "" : text.substr(line + 1);
}

}  // namespace freshet::cli::demo
