#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/clock.h"
#include "cli/demo/process.h"
#include "support/s3_server.h"
#include "support/temporary_folder.h"

namespace freshet::cli::demo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Runs the program itself, with folders of the test's own.
class DemoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::permissions(folder_.path(), fs::perms(0711));  // the server's user must get through
    fs::create_directory(folder_ / "tmp");
    ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
    ::setenv("XDG_STATE_HOME", (folder_ / "state").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("TMPDIR");
    ::unsetenv("XDG_STATE_HOME");
  }

  struct Answer {
    int exit_code = -1;
    json out;
  };

  static Answer Freshet(const std::string& arguments) {
    const std::string command =
        std::string(FRESHET_PROGRAM) + " " + arguments + " --output json 2>/dev/null";
    std::FILE* pipe = ::popen(command.c_str(), "r");
    std::string text;
    char buffer[4096];
    while (const size_t size = std::fread(buffer, 1, sizeof(buffer), pipe)) {
      text.append(buffer, size);
    }
    const int status = ::pclose(pipe);
    return {.exit_code = WEXITSTATUS(status), .out = json::parse(text, nullptr, false)};
  }

  /// Processes that name a folder of this test, and what is left in its temporary folder.
  bool NothingIsLeft() {
    const auto running = FindProcesses(folder_.path().string());
    for (const FoundProcess& process : running) {
      ADD_FAILURE() << "still runs: " << process.pid << " " << process.arguments.at(0);
    }
    return running.empty() && fs::is_empty(folder_ / "tmp");
  }

  /// Waits for `condition`. False after a minute.
  template <typename Condition>
  static bool Eventually(const Condition& condition) {
    const Clock& clock = SystemClock();
    const auto deadline = clock.Monotonic() + std::chrono::seconds(60);
    while (!condition()) {
      if (clock.Monotonic() > deadline) return false;
      clock.WaitFor(std::chrono::milliseconds(10), {});
    }
    return true;
  }

  test::TemporaryFolder folder_;
};

TEST_F(DemoTest, SurvivesItsKillAndProvesItsTargetsEqual) {
  const Answer demo = Freshet("demo --seconds 4 --rate 100");

  EXPECT_EQ(demo.exit_code, 0) << demo.out.dump(2);
  EXPECT_TRUE(demo.out.value("equal", false));
  EXPECT_GT(demo.out.value("recovery_seconds", 0.0), 0);
  ASSERT_EQ(demo.out["verify"]["sinks"].size(), 2U);
  EXPECT_EQ(demo.out["verify"]["sinks"][0]["tables"].size(), 6U);
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(DemoTest, WithS3ItLeavesNothingInTheBucket) {
  const auto store = test::S3Server::Start();
  ASSERT_TRUE(store.has_value()) << store.error();
  const auto access = (*store)->access();
  ::setenv("AWS_ACCESS_KEY_ID", access.access_key.Reveal().c_str(), 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", access.secret_key.Reveal().c_str(), 1);
  ::setenv("AWS_ENDPOINT_URL", access.endpoint.c_str(), 1);

  const Answer demo = Freshet("demo --seconds 4 --rate 50 --s3 s3://lake/demos");

  ::unsetenv("AWS_ENDPOINT_URL");
  EXPECT_EQ(demo.exit_code, 0) << demo.out.dump(2);
  EXPECT_EQ(demo.out.value("left_behind", "?"), "");
  const auto keys = (*store)->Keys("");
  ASSERT_TRUE(keys.has_value()) << keys.error();
  EXPECT_TRUE(keys->empty()) << keys->front();
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(DemoTest, KilledItselfItLeavesNoProcessAndTheNextOneTidiesUp) {
  auto demo = Process::Start({.arguments = {FRESHET_PROGRAM, "demo"},
                              .output = folder_ / "out",
                              .user = {},
                              .death_signal = SIGKILL});
  ASSERT_TRUE(demo.has_value()) << demo.error();
  const auto of_demo = [&] { return FindProcesses((folder_ / "tmp").c_str()).size(); };
  ASSERT_TRUE(Eventually([&] { return of_demo() == 2; })) << Tail(folder_ / "out", 2'000);

  demo->Signal(SIGKILL);

  EXPECT_TRUE(Eventually([&] { return of_demo() == 0; }));
  EXPECT_EQ(Freshet("demo --seconds 4 --rate 50").exit_code, 0);
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(DemoTest, UpStaysUntilDownAndBothMayBeRepeated) {
  const Answer up = Freshet("demo up");
  ASSERT_EQ(up.exit_code, 0) << Tail(folder_ / "state/freshet/demo/pipeline.log", 2'000);
  EXPECT_FALSE(up.out.value("was_up", true));
  EXPECT_TRUE(Freshet("demo up").out.value("was_up", false));
  const std::string config = up.out.value("folder", "") + "/freshet.yaml";
  EXPECT_EQ(Freshet("verify -c " + config).exit_code, 0);

  EXPECT_EQ(Freshet("demo down").out.value("processes_stopped", 0), 3);
  EXPECT_FALSE(Freshet("demo down").out.value("was_up", true));

  EXPECT_TRUE(NothingIsLeft());
  EXPECT_FALSE(fs::exists(folder_ / "state/freshet"));
}

TEST_F(DemoTest, UpBeginsAnewWhenAPartIsGone) {
  const Answer up = Freshet("demo up");
  ASSERT_EQ(up.exit_code, 0);
  for (const FoundProcess& process : FindProcesses((folder_ / "state").c_str())) {
    if (process.arguments.at(1) == "run") ::kill(process.pid, SIGKILL);
  }

  const Answer again = Freshet("demo up");

  EXPECT_EQ(again.exit_code, 0);
  EXPECT_FALSE(again.out.value("was_up", true));
  EXPECT_EQ(Freshet("demo down").out.value("processes_stopped", 0), 3);
  EXPECT_TRUE(NothingIsLeft());
}

}  // namespace
}  // namespace freshet::cli::demo
