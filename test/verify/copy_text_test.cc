#include "verify/copy_text.h"

#include <gtest/gtest.h>

namespace freshet::verify {
namespace {

using change::LogicalKind;
using change::LogicalType;

std::vector<LogicalType> Texts(size_t count) {
  return std::vector<LogicalType>(count, LogicalType{.kind = LogicalKind::kText});
}

TEST(ReadCopyLineTest, SplitsAtTabsAndTellsNullFromEmpty) {
  Row row;

  ASSERT_TRUE(ReadCopyLine("a\t\\N\t\tb c\n", Texts(4), row).has_value());

  EXPECT_EQ(row.text(0), "a");
  EXPECT_TRUE(row.is_null(1));
  EXPECT_FALSE(row.is_null(2));
  EXPECT_EQ(row.text(2), "");
  EXPECT_EQ(row.text(3), "b c");
}

TEST(ReadCopyLineTest, EscapesAreTakenBack) {
  Row row;

  ASSERT_TRUE(ReadCopyLine("\\b\\f\\n\\r\\t\\v\\\\N\t\\\\x00ff", Texts(2), row).has_value());

  EXPECT_EQ(row.text(0), "\b\f\n\r\t\v\\N");
  EXPECT_EQ(row.text(1), "\\x00ff");
}

TEST(ReadCopyLineTest, FloatsComeInTheirCanonicalSpelling) {
  Row row;
  const std::vector<LogicalType> types = {
      {.kind = LogicalKind::kFloat64},
      {.kind = LogicalKind::kList, .element = LogicalKind::kFloat64}};

  ASSERT_TRUE(ReadCopyLine("100000\t{1e+05,NULL,0.10}", types, row).has_value());

  EXPECT_EQ(row.text(0), "1e+05");
  EXPECT_EQ(row.text(1), "{1e+05,NULL,0.1}");
}

/// What is ASCII is the same everywhere, unless it may stand for bytes.
TEST(ReadCopyLineTest, OnlyWhatMayBeOtherThanItLooksIsTranslated) {
  Row row;
  const auto translate = [](size_t column, std::string_view bytes) -> Result<std::string_view> {
    EXPECT_EQ(bytes, column == 1 ? "\xE9" : "\\x61");
    return column == 1 ? "first" : "second";
  };

  ASSERT_TRUE(ReadCopyLine("a\t\xE9\t\\\\x61\t\\N", Texts(4), row, translate).has_value());

  EXPECT_EQ(row.text(0), "a");
  EXPECT_EQ(row.text(1), "first");
  EXPECT_EQ(row.text(2), "second");
  EXPECT_TRUE(row.is_null(3));
}

TEST(ReadCopyLineTest, TooFewAndTooManyValuesAreRefused) {
  Row row;

  EXPECT_FALSE(ReadCopyLine("a", Texts(2), row).has_value());
  EXPECT_FALSE(ReadCopyLine("a\tb\tc", Texts(2), row).has_value());
}

TEST(ReadCopyLineTest, ATableWithoutColumnsSendsEmptyLines) {
  Row row;

  ASSERT_TRUE(ReadCopyLine("\n", {}, row).has_value());

  EXPECT_EQ(row.size(), 0U);
}

}  // namespace
}  // namespace freshet::verify
