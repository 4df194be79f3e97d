#include "postgres/copy_text.h"

#include <arrow/record_batch.h>
#include <arrow/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "support/batches.h"

namespace freshet::postgres {
namespace {

using change::ChangeKind;
using change::LogicalKind;
using change::ValueException;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const change::TableSchema> TextColumns(int count) {
  std::vector<change::Column> columns;
  for (int i = 0; i < count; ++i) {
    columns.push_back(test::MakeColumn(fmt::format("c{}", i), LogicalKind::kText));
  }
  return test::MakeSchema({"public", "t"}, std::move(columns));
}

Status Add(CopyTextReader& reader, std::string_view line) { return reader.Add(line); }

/// The rows that `lines` are read as.
std::vector<std::string> Rows(int columns, const std::vector<std::string_view>& lines) {
  CopyTextReader reader(TextColumns(columns));
  for (const std::string_view line : lines) {
    const Status added = Add(reader, line);
    EXPECT_TRUE(added.has_value()) << added.error();
  }
  auto changes = reader.Finish(0);
  EXPECT_TRUE(changes.has_value()) << changes.error();
  return test::RowTexts(*changes->rows);
}

TEST(CopyTextTest, FieldsNullsAndEmptyTexts) {
  EXPECT_THAT(Rows(3, {"a\tb\tc\n", "\\N\t\t\\N\n", "x\ty\tz"}),
              ElementsAre("a | b | c", "NULL |  | NULL", "x | y | z"));
  EXPECT_THAT(Rows(1, {"\n", "", "\\N\n"}), ElementsAre("", "", "NULL"));
}

TEST(CopyTextTest, EscapesAreUndone) {
  EXPECT_THAT(Rows(2, {"\\b\\f\\n\\r\\t\\v\\\\\t\\\\N\n"}), ElementsAre("\b\f\n\r\t\v\\ | \\N"));
}

TEST(CopyTextTest, RowsAreASnapshotWithRunningOrdinals) {
  CopyTextReader reader(test::MakeItemsSchema());
  ASSERT_TRUE(Add(reader, "1\tnut\t0.10\n").has_value());
  ASSERT_TRUE(Add(reader, "2\tbolt\tNaN\n").has_value());
  EXPECT_EQ(reader.rows(), 2);
  EXPECT_EQ(reader.bytes(), 22);

  const auto changes = reader.Finish(1000);

  ASSERT_TRUE(changes.has_value());
  EXPECT_THAT(changes->kinds, ElementsAre(ChangeKind::kSnapshot, ChangeKind::kSnapshot));
  EXPECT_THAT(changes->ordinals, ElementsAre(1000, 1001));
  EXPECT_THAT(changes->transactions, ElementsAre(0, 0));
  EXPECT_THAT(changes->exceptions,
              ElementsAre(ValueException{.row = 1, .column = 2, .text = "NaN"}));
  EXPECT_THAT(test::RowTexts(*changes->rows), ElementsAre("1 | nut | 0.10", "2 | bolt | NULL"));
  EXPECT_EQ(reader.rows(), 0);
  EXPECT_EQ(reader.bytes(), 0);
}

TEST(CopyTextTest, TableWithoutColumnsHasRowsAllTheSame) {
  CopyTextReader reader(TextColumns(0));
  ASSERT_TRUE(Add(reader, "\n").has_value());
  ASSERT_TRUE(Add(reader, "").has_value());
  EXPECT_FALSE(Add(reader, "x\n").has_value());

  CopyTextReader again(TextColumns(0));
  ASSERT_TRUE(Add(again, "\n").has_value());
  const auto changes = again.Finish(0);
  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(changes->rows->num_rows(), 1);
}

TEST(CopyTextTest, OddRowsAreMalformedAndNameTheTable) {
  for (const std::string_view line : {"a\n", "a\tb\tc\n", "a\\\tb\n", "a\t\\q\n", "a\tb\\\n"}) {
    CopyTextReader reader(TextColumns(2));
    const Status added = Add(reader, line);
    ASSERT_FALSE(added.has_value()) << line;
    EXPECT_EQ(added.error().kind, ErrorKind::kMalformed);
    EXPECT_THAT(added.error().message, HasSubstr("public.t"));
  }
}

TEST(CopyTextTest, ErrorOfAValueNamesTableAndColumn) {
  CopyTextReader reader(test::MakeItemsSchema());
  ASSERT_TRUE(Add(reader, "one\tnut\t0.10\n").has_value());

  const auto changes = reader.Finish(0);

  ASSERT_FALSE(changes.has_value());
  EXPECT_THAT(changes.error().message, HasSubstr("public.items, column id"));
}

/// Rows of all sizes, escaped as the server does, over many of the reader's blocks.
TEST(CopyTextTest, RandomRowsSurviveTheRoundTrip) {
  std::mt19937 random(3);
  constexpr std::string_view kAlphabet = "ab\t\n\\\r\v\b\f N";
  CopyTextReader reader(TextColumns(3));
  std::vector<std::string> expected;
  for (int i = 0; i < 5000; ++i) {
    std::string line;
    std::string row;
    for (int column = 0; column < 3; ++column) {
      if (column > 0) line += '\t';
      if (column > 0) row += " | ";
      if (random() % 8 == 0) {
        line += "\\N";
        row += "NULL";
        continue;
      }
      for (size_t size = random() % 60; size > 0; --size) {
        const char c = kAlphabet[random() % kAlphabet.size()];
        constexpr std::string_view kEscaped = "\b\f\n\r\t\v\\";
        constexpr std::string_view kLetters = "bfnrtv\\";
        const size_t escape = kEscaped.find(c);
        if (escape == std::string_view::npos) {
          line += c;
        } else {
          line += {'\\', kLetters[escape]};
        }
        row += c;
      }
    }
    expected.push_back(row);
    ASSERT_TRUE(Add(reader, line + "\n").has_value());
  }

  const auto changes = reader.Finish(0);

  ASSERT_TRUE(changes.has_value());
  EXPECT_TRUE(changes->rows->ValidateFull().ok());
  EXPECT_EQ(test::RowTexts(*changes->rows), expected);
}

}  // namespace
}  // namespace freshet::postgres
