#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "cli/demo/process.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;

class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = fs::temp_directory_path() / "freshet-process-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<Process> Shell(const std::string& script, int death_signal = SIGKILL) {
    return Process::Start({.arguments = {"/bin/sh", "-c", script, folder_ + "/mark"},
                           .output = folder_ + "/out",
                           .user = {},
                           .death_signal = death_signal});
  }

  std::string folder_;
};

TEST_F(ProcessTest, OutputGoesToTheFileAndTheExitCodeIsKept) {
  auto process = Shell("echo one; echo two >&2; exit 7");
  ASSERT_TRUE(process.has_value());

  ASSERT_TRUE(process->WaitEnded(std::chrono::seconds(20)));

  EXPECT_EQ(process->exit_code(), 7);
  EXPECT_EQ(Tail(folder_ + "/out", 1'000), "one\ntwo\n");
}

TEST_F(ProcessTest, ASignalEndsIt) {
  auto process = Shell("exec sleep 100");
  ASSERT_TRUE(process.has_value());
  EXPECT_TRUE(process->Running());
  EXPECT_FALSE(process->WaitEnded(std::chrono::nanoseconds(0)));

  process->Signal(SIGKILL);

  ASSERT_TRUE(process->WaitEnded(std::chrono::seconds(20)));
  EXPECT_EQ(process->exit_code(), 128 + SIGKILL);
}

TEST_F(ProcessTest, AProgramThatIsNotThereEndsAtOnce) {
  auto process =
      Process::Start({.arguments = {"/no/such/program"}, .output = folder_ + "/out", .user = {}});
  ASSERT_TRUE(process.has_value());

  ASSERT_TRUE(process->WaitEnded(std::chrono::seconds(20)));

  EXPECT_EQ(process->exit_code(), 127);
}

TEST_F(ProcessTest, IsFoundByAnArgumentInItsFolder) {
  auto process = Shell("read never < /dev/zero");
  ASSERT_TRUE(process.has_value());

  std::vector<FoundProcess> found;
  const auto deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (found.empty() && SystemClock().Monotonic() < deadline) {
    found = FindProcesses(folder_ + "/");
  }

  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].pid, process->pid());
  process->Signal(SIGKILL);
  ASSERT_TRUE(process->WaitEnded(std::chrono::seconds(20)));
  EXPECT_TRUE(FindProcesses(folder_ + "/").empty());
}

/// What keeps a killed demo from leaving a database server behind.
TEST_F(ProcessTest, DiesWithItsStarterEvenWhenThatIsKilled) {
  const pid_t starter = ::fork();
  ASSERT_GE(starter, 0);
  if (starter == 0) {
    auto process = Shell("read never < /dev/zero");
    std::ofstream(folder_ + "/pid.new") << process->pid();
    fs::rename(folder_ + "/pid.new", folder_ + "/pid");
    while (true) ::pause();
  }
  const auto deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (!fs::exists(folder_ + "/pid") && SystemClock().Monotonic() < deadline) {
  }
  ASSERT_TRUE(fs::exists(folder_ + "/pid"));

  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);

  while (!FindProcesses(folder_ + "/").empty() && SystemClock().Monotonic() < deadline) {
  }
  EXPECT_TRUE(FindProcesses(folder_ + "/").empty());
}

TEST(FreePortTest, IsAPortOfOnesOwn) {
  const auto port = FreePort();

  ASSERT_TRUE(port.has_value());
  EXPECT_GT(*port, 1'023);
}

TEST_F(ProcessTest, TailBeginsWithAWholeLine) {
  std::ofstream(folder_ + "/text") << "first line\nsecond\nthird\n";

  EXPECT_EQ(Tail(folder_ + "/text", 10), "third\n");
  EXPECT_EQ(Tail(folder_ + "/none", 10), "");
}

}  // namespace
}  // namespace freshet::cli::demo
