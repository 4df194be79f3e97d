#include "support/program.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/clock.h"

namespace freshet::test {
namespace {

constexpr std::chrono::milliseconds kPollInterval{5};

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> Environment(const std::vector<std::string>& more) {
  std::vector<std::string> out = more;  // the first of a name counts
  for (char** entry = environ; *entry != nullptr; ++entry) out.emplace_back(*entry);
  return out;
}

}  // namespace

std::unique_ptr<Program> Program::Start(const ProgramOptions& options) {
  std::unique_ptr<Program> program(new Program);
  const std::vector<char*> arguments = Pointers(options.arguments);
  const std::vector<std::string> environment = Environment(options.environment);
  const std::vector<char*> variables = Pointers(environment);
  const std::string out = program->outputs_ / "out";
  const std::string err = program->outputs_ / "err";
  WriteText(out, "");
  WriteText(err, "");
  const pid_t parent = ::getpid();
  program->pid_ = ::fork();
  if (program->pid_ != 0) return program;
  // The child of a process with threads: nothing but system calls from here on.
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(::open(out.c_str(), O_WRONLY | O_APPEND), 1);
  ::dup2(::open(err.c_str(), O_WRONLY | O_APPEND), 2);
  ::setsid();  // a Ctrl-C at the test must not reach it before the test does
  if (options.obeys_file_modes && ::getuid() == 0) {
    ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
    ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  ::execve(arguments[0], arguments.data(), variables.data());
  ::_exit(127);
}

Program::~Program() {
  if (exit_code_.has_value()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Program::Signal(int signal) const {
  if (!exit_code_.has_value()) ::kill(pid_, signal);
}

std::optional<int> Program::WaitExit(std::chrono::milliseconds timeout) {
  Eventually(
      [&] {
        if (exit_code_.has_value()) return true;
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
        exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
      },
      timeout);
  return exit_code_;
}

std::string Program::message() const {
  const std::string text = err();
  const size_t at = ("\n" + text).find("\nfreshet: ");
  return at == std::string::npos ? "" : text.substr(at);
}

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const Clock& clock = SystemClock();
  const auto deadline = clock.Monotonic() + timeout;
  while (!condition()) {
    if (clock.Monotonic() >= deadline) return false;
    clock.WaitFor(kPollInterval, {});
  }
  return true;
}

}  // namespace freshet::test
