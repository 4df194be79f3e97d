#include "http/problem.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace freshet::http {
namespace {

TEST(ProblemTest, CarriesKindStatusAndMessage) {
  const auto problem =
      nlohmann::json::parse(ProblemJson({ErrorKind::kDenied, "no rights on \"t\""}));

  EXPECT_EQ(problem["status"], 403);
  EXPECT_EQ(problem["kind"], "denied");
  EXPECT_EQ(problem["detail"], "no rights on \"t\"");
  EXPECT_EQ(problem["type"], "about:blank");
}

TEST(ProblemTest, EveryKindIsAnErrorOfHttp) {
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::kFatal); ++kind) {
    EXPECT_GE(HttpStatusOf(static_cast<ErrorKind>(kind)), 400);
  }
}

}  // namespace
}  // namespace freshet::http
