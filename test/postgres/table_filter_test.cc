#include "postgres/table_filter.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

TEST(GlobTest, StarsAndQuestionMarksMatchRunsAndSingles) {
  EXPECT_TRUE(GlobMatches("*", ""));
  EXPECT_TRUE(GlobMatches("a*c", "abbbc"));
  EXPECT_TRUE(GlobMatches("*a*b*", "xxaxxbxx"));
  EXPECT_TRUE(GlobMatches("a?c", "abc"));
  EXPECT_TRUE(GlobMatches("order_*", "order_items"));
  EXPECT_FALSE(GlobMatches("a?c", "ac"));
  EXPECT_FALSE(GlobMatches("a*c", "abcd"));
  EXPECT_FALSE(GlobMatches("", "a"));
}

TEST(GlobTest, ManyStarsTakeNoExponentialTime) {
  EXPECT_FALSE(GlobMatches("*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST(TableFilterTest, ExcludeTakesOffWhatTablesChose) {
  auto filter = TableFilter::Create({"public.*", "audit.log"}, {"public.tmp_*"});

  ASSERT_TRUE(filter.has_value()) << filter.error();
  EXPECT_TRUE(filter->Matches({"public", "orders"}));
  EXPECT_TRUE(filter->Matches({"audit", "log"}));
  EXPECT_TRUE(filter->Matches({"public", "odd.name"}));
  EXPECT_FALSE(filter->Matches({"public", "tmp_1"}));
  EXPECT_FALSE(filter->Matches({"audit", "other"}));
  EXPECT_EQ(filter->ExactNames(), (std::vector<change::TableName>{{"audit", "log"}}));
}

TEST(TableFilterTest, AGlobWithoutSchemaIsRefused) {
  auto filter = TableFilter::Create({"orders"}, {});

  ASSERT_FALSE(filter.has_value());
  EXPECT_EQ(filter.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(filter.error().message, testing::HasSubstr("public.*"));
}

TEST(TableFilterTest, NoGlobsAtAllAreRefused) {
  EXPECT_FALSE(TableFilter::Create({}, {}).has_value());
}

}  // namespace
}  // namespace freshet::postgres
