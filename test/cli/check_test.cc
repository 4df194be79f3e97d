#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/file_system.h"
#include "cli/run_freshet.h"
#include "log/log.h"
#include "support/temporary_folder.h"

namespace freshet::cli {
namespace {

using ::testing::HasSubstr;

/// What `freshet check` finds on this machine; the source it names is away. With a server:
/// test/integration/bad_input_test.cc.
class CheckTest : public ::testing::Test {
 protected:
  /// Runs the command; the checks by name.
  std::map<std::string, nlohmann::json> Check() {
    test::WriteText(
        folder_ / "freshet.yaml",
        "source: { postgres: { url: postgres://nobody@127.0.0.1:1/x, tables: [a.*] } }\n"
        "log: { path: '" +
            log_.path + "', budget: " + budget_ + " }\nsinks: " + sinks_ + "\n");
    const Outcome outcome =
        RunFreshet({"check", "-c", folder_ / "freshet.yaml", "--output", "json"});
    code_ = outcome.code;
    std::map<std::string, nlohmann::json> checks;
    const auto answer = nlohmann::json::parse(outcome.out);
    for (const auto& check : answer["checks"]) checks[check["name"]] = check;
    return checks;
  }

  test::TemporaryFolder folder_;
  log::Options log_{.path = folder_ / "log"};
  std::string budget_ = "1MiB";
  std::string sinks_ = "{ w: { duckdb: { path: '" + (folder_ / "w.duckdb") +
                       "' } }, f: { files: { url: '" + (folder_ / "f") + "' } } }";
  int code_ = 0;
};

TEST_F(CheckTest, ASourceThatIsAwayDoesNotHideTheRest) {
  auto checks = Check();

  EXPECT_EQ(code_, 4);
  EXPECT_EQ(checks["connection"]["result"], "fail");
  EXPECT_EQ(checks["log folder"]["result"], "ok");
  EXPECT_EQ(checks["log"]["found"], "there is none yet");
  EXPECT_EQ(checks["sink w"]["result"], "ok");
  EXPECT_EQ(checks["sink f"]["result"], "ok");
}

TEST_F(CheckTest, LeavesNothingButFolders) {
  Check();

  std::vector<std::string> left = test::FilesBelow(folder_.path());
  std::erase_if(left, [](const std::string& file) { return file.ends_with("lock"); });
  EXPECT_EQ(left, std::vector<std::string>{"freshet.yaml"});
}

TEST_F(CheckTest, ABudgetBeyondTheDiskIsAWarning) {
  budget_ = "1000000GiB";

  EXPECT_EQ(Check()["log disk"]["result"], "warn");
}

TEST_F(CheckTest, ALogThatAnotherProcessWritesIsBusy) {
  const auto log = log::Log::Open(LocalFileSystem(), SystemClock(), log_);
  ASSERT_TRUE(log.has_value()) << log.error();

  auto checks = Check();

  EXPECT_EQ(checks["log folder"]["kind"], "busy");
  EXPECT_THAT(checks["log folder"]["found"].get<std::string>(), HasSubstr("is held by process"));
}

TEST_F(CheckTest, AFileInTheWayOfAFolderIsNamed) {
  test::WriteText(folder_ / "log", "");
  test::WriteText(folder_ / "f", "");
  sinks_ = "{ w: { duckdb: { path: '" + (folder_ / "f/w.duckdb") + "' } }, f: { files: { url: '" +
           (folder_ / "f") + "' } } }";

  auto checks = Check();

  for (const char* name : {"log folder", "sink w", "sink f"}) {
    EXPECT_EQ(checks[name]["result"], "fail") << name;
    EXPECT_THAT(checks[name]["found"].get<std::string>(), HasSubstr(folder_.path().string()));
  }
}

}  // namespace
}  // namespace freshet::cli
