#include "base/logging.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "base/logging_guard.h"

namespace freshet::logging {
namespace {

/// What `write` puts on standard error.
template <typename Write>
std::string Captured(const Write& write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

/// The last test leaves the process's logging in JSON; each test of ctest has a process of its own.
TEST(LoggingTest, TextLineHasTimeLevelAndFields) {
  const std::string line = Captured([] { Warning("it is late", {{"by", "2 s"}, {"n", 3}}); });

  EXPECT_TRUE(std::regex_match(
      line,
      std::regex(
          R"re(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z warning +it is late by="2 s" n=3\n)re")))
      << line;
}

TEST(LoggingTest, GuardStandsAroundEveryLineUntilItIsTakenAway) {
  std::string order;
  SetGuard([&](const std::function<void()>& write) {
    order += "before ";
    write();
    order += "after";
  });

  const std::string guarded = Captured([] { Info("one"); });
  SetGuard({});
  const std::string free = Captured([] { Info("two"); });

  EXPECT_EQ(order, "before after");
  EXPECT_NE(guarded.find("one\n"), std::string::npos);
  EXPECT_NE(free.find("two\n"), std::string::npos);
}

TEST(LoggingTest, JsonLineIsOneObjectWithItsTime) {
  Configure(Level::kInfo, Format::kJson);

  const std::string line = Captured([] { Info("a \"quoted\" line", {{"key", "value"}}); });
  Configure(Level::kInfo, Format::kText);

  const auto json = nlohmann::json::parse(line, nullptr, false);
  ASSERT_TRUE(json.is_object()) << line;
  EXPECT_TRUE(json["time"].get<std::string>().ends_with("Z"));
  EXPECT_EQ(json["level"], "info");
  EXPECT_EQ(json["message"], "a \"quoted\" line");
  EXPECT_EQ(json["key"], "value");
}

}  // namespace
}  // namespace freshet::logging
