#include "http/query_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace freshet::http {
namespace {

using sink::duckdb::QueryResult;

TEST(QueryJsonTest, NumbersThatDoublesHoldAreNumbersAndOthersText) {
  const QueryResult result{
      .columns = {{"b", "BOOLEAN"},
                  {"i", "INTEGER"},
                  {"l", "BIGINT"},
                  {"d", "DOUBLE"},
                  {"n", "DECIMAL(5,2)"},
                  {"t", "VARCHAR"}},
      .rows = {{"true", "-7", "9007199254740993", "0.5", "1.10", "7"},
               {std::nullopt, std::nullopt, std::nullopt, "nan", std::nullopt, ""}}};

  EXPECT_THAT(QueryJson(result),
              ::testing::HasSubstr(R"("rows":[[true,-7,"9007199254740993",0.5,"1.10","7"],)"
                                   R"([null,null,null,"nan",null,""]])"));
}

TEST(QueryJsonTest, WhatIsWrittenIsReadBack) {
  const QueryResult result{.columns = {{"a", "BIGINT"}, {"b", "VARCHAR"}},
                           .rows = {{"1", "x\n\"y\""}, {std::nullopt, std::nullopt}},
                           .truncated = true};

  const auto read = ParseQueryJson(QueryJson(result));

  ASSERT_TRUE(read.has_value()) << read.error();
  EXPECT_EQ(*read, result);
}

TEST(QueryJsonTest, OtherDocumentsAreRefused) {
  for (const char* text : {"", "{}", "[]", R"({"columns":[],"rows":[[1]],"truncated":false})"}) {
    const auto read = ParseQueryJson(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::kMalformed);
  }
}

}  // namespace
}  // namespace freshet::http
