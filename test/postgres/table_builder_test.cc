#include "postgres/table_builder.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "support/batches.h"

namespace freshet::postgres {
namespace {

using change::ChangeKind;
using change::LogicalKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A table of one text column, and the text its rows point into.
class TableBuilderTest : public ::testing::Test {
 protected:
  void Add(int32_t transaction, int64_t ordinal, std::string_view value) {
    Cell* cell = builder_.AddRow(ChangeKind::kInsert, transaction, ordinal);
    *cell = {.offset = static_cast<uint32_t>(text_.size()),
             .size = static_cast<int32_t>(value.size())};
    text_ += value;
  }

  TableBuilder builder_{
      test::MakeSchema({"public", "t"}, {test::MakeColumn("v", LogicalKind::kText)})};
  std::string text_;
};

TEST_F(TableBuilderTest, RowsOfLaterTransactionsStayNoted) {
  Add(0, 0, "a");
  ASSERT_TRUE(builder_.Decode(text_.data()).has_value());
  Add(1, 0, "b");
  Add(2, 5, "c");

  const auto first = builder_.TakeBefore(2, text_.data());
  Add(0, 6, "d");
  const auto rest = builder_.TakeAll(text_.data());

  ASSERT_TRUE(first.has_value() && rest.has_value());
  EXPECT_THAT(test::RowTexts(*first->rows), ElementsAre("a", "b"));
  EXPECT_THAT(first->transactions, ElementsAre(0, 1));
  EXPECT_THAT(test::RowTexts(*rest->rows), ElementsAre("c", "d"));
  EXPECT_THAT(rest->transactions, ElementsAre(0, 0));
  EXPECT_THAT(rest->ordinals, ElementsAre(5, 6));
  EXPECT_EQ(builder_.rows(), 0);
}

TEST_F(TableBuilderTest, TextMayGoOnceItIsDecoded) {
  Add(0, 0, "kept");
  ASSERT_TRUE(builder_.Decode(text_.data()).has_value());
  text_.assign(text_.size(), '?');

  const auto changes = builder_.TakeAll(text_.data());

  ASSERT_TRUE(changes.has_value());
  EXPECT_THAT(test::RowTexts(*changes->rows), ElementsAre("kept"));
}

TEST_F(TableBuilderTest, NothingTakenIsAnEmptyTable) {
  Add(3, 0, "a");

  const auto none = builder_.TakeBefore(3, text_.data());

  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->num_rows(), 0);
  EXPECT_EQ(none->rows->num_rows(), 0);
  EXPECT_EQ(builder_.rows(), 1);
}

TEST_F(TableBuilderTest, UnfilledCellsAreNull) {
  builder_.AddRow(ChangeKind::kTruncate, 0, 0);

  const auto changes = builder_.TakeAll(text_.data());

  ASSERT_TRUE(changes.has_value());
  EXPECT_THAT(test::RowTexts(*changes->rows), ElementsAre("NULL"));
  EXPECT_THAT(changes->unchanged, IsEmpty());
}

TEST(TableBuilderErrorTest, ErrorNamesTableAndColumn) {
  TableBuilder builder(
      test::MakeSchema({"public", "t"}, {test::MakeColumn("v", LogicalKind::kInt32)}));
  const std::string text = "x";
  *builder.AddRow(ChangeKind::kInsert, 0, 0) = {.offset = 0, .size = 1};

  const Status decoded = builder.Decode(text.data());

  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().kind, ErrorKind::kMalformed);
  EXPECT_THAT(decoded.error().message, HasSubstr("public.t, column v"));
}

TEST(TableWithoutColumnsTest, HasRowsAllTheSame) {
  TableBuilder builder(test::MakeSchema({"public", "t"}, {}));
  builder.AddRow(ChangeKind::kInsert, 0, 0);
  builder.AddRow(ChangeKind::kDelete, 0, 1);

  const auto changes = builder.TakeAll(nullptr);

  ASSERT_TRUE(changes.has_value());
  EXPECT_EQ(changes->rows->num_rows(), 2);
  EXPECT_THAT(changes->kinds, ElementsAre(ChangeKind::kInsert, ChangeKind::kDelete));
}

}  // namespace
}  // namespace freshet::postgres
