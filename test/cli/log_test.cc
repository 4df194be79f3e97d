#include "log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/file_system.h"
#include "cli/run_freshet.h"
#include "support/batches.h"
#include "support/fake_log.h"
#include "support/temporary_folder.h"

namespace freshet::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// `freshet log` on a folder with three transactions.
class LogCommandTest : public ::testing::Test {
 protected:
  LogCommandTest() {
    log::Options options;
    options.path = folder_ / "log";
    auto log = log::Log::Open(LocalFileSystem(), SystemClock(), options);
    EXPECT_TRUE(log.has_value()) << log.error();
    EXPECT_TRUE((*log)->SetSource(test::FakeSource()).has_value());
    const auto items = test::MakeItemsSchema();
    for (const uint64_t lsn : {100U, 200U, 300U}) {
      EXPECT_TRUE((*log)
                      ->Append(test::BatchBuilder()
                                   .Begin(lsn)
                                   .Insert(items, {std::to_string(lsn), "private", "0.10"})
                                   .Build())
                      .has_value());
    }
    EXPECT_TRUE((*log)->Sync().has_value());
  }

  Outcome Log(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "log");
    arguments.insert(arguments.end(), {"--path", folder_ / "log"});
    return RunFreshet(arguments);
  }

  /// The lines of a dump that are batches.
  static std::vector<nlohmann::json> Batches(const std::string& out) {
    std::vector<nlohmann::json> batches;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      auto record = nlohmann::json::parse(line);
      if (record.contains("transactions")) batches.push_back(std::move(record));
    }
    return batches;
  }

  test::TemporaryFolder folder_;
};

TEST_F(LogCommandTest, InspectSaysWhatIsThere) {
  const Outcome text = Log({"inspect"});
  const Outcome json = Log({"inspect", "--output", "json"});

  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, HasSubstr("3 rows in 3 transactions, 3 batches"));
  EXPECT_THAT(text.out, HasSubstr("database shop"));
  const auto report = nlohmann::json::parse(json.out);
  EXPECT_EQ(report["rows"], "3");
  EXPECT_EQ(report["damaged"], false);
  EXPECT_THAT(Log({"inspect", "--quick"}).out, HasSubstr("database shop"));
}

TEST_F(LogCommandTest, DamageIsShownAndIsTheExitCode) {
  std::string segment;
  for (const std::string& file : test::FilesBelow(folder_ / "log")) {
    if (file.ends_with(".segment")) segment = (folder_ / "log") + "/" + file;
  }
  std::string bytes = test::ReadText(segment);
  bytes[60] = static_cast<char>(~bytes[60]);  // in its checkpoint
  test::WriteText(segment, bytes);

  const Outcome text = Log({"inspect"});

  EXPECT_EQ(text.code, 10);
  EXPECT_THAT(text.out, HasSubstr("damaged at byte"));
  EXPECT_EQ(nlohmann::json::parse(Log({"inspect", "--output", "json"}).out)["damaged"], true);
}

TEST_F(LogCommandTest, DumpTakesItsFilters) {
  EXPECT_EQ(Batches(Log({"dump"}).out).size(), 3U);
  EXPECT_EQ(Batches(Log({"dump", "--from", "1"}).out).size(), 2U);
  EXPECT_EQ(Batches(Log({"dump", "--from-lsn", "0/12C"}).out).size(), 1U);
  EXPECT_EQ(Batches(Log({"dump", "--limit", "2"}).out).size(), 2U);
  EXPECT_EQ(Batches(Log({"dump", "--limit", "0"}).out).size(), 3U);
  EXPECT_EQ(Log({"dump", "--from-lsn", "twelve"}).code, 2);
}

TEST_F(LogCommandTest, ValuesAreShownOnlyWhenAskedFor) {
  EXPECT_THAT(Log({"dump"}).out, Not(HasSubstr("private")));
  EXPECT_THAT(Log({"dump", "--rows"}).out, HasSubstr("private"));
}

TEST_F(LogCommandTest, AFolderWithoutALogIsNamed) {
  std::filesystem::remove_all(folder_ / "log");
  std::filesystem::create_directory(folder_ / "log");

  const Outcome outcome = Log({"inspect"});

  EXPECT_EQ(outcome.code, 7);
  EXPECT_THAT(outcome.err, HasSubstr("there is no log in"));
}

}  // namespace
}  // namespace freshet::cli
