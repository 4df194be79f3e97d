#include "postgres/batch_builder.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/batches.h"
#include "support/pgoutput_messages.h"

namespace freshet::postgres {
namespace {

using change::ChangeKind;
using change::LogicalKind;
using change::Transaction;
using ::testing::ElementsAre;
using ::testing::SizeIs;

TableSlot SlotOf(const char* table) {
  return {
      .schema = test::MakeSchema({"public", table}, {test::MakeColumn("v", LogicalKind::kText)}),
      .spare = nullptr};
}

Transaction EndingAt(uint64_t lsn) {
  return {.xid = {1}, .commit_lsn = {lsn - 1}, .end_lsn = {lsn}, .origin = ""};
}

class BatchBuilderTest : public ::testing::Test {
 protected:
  Status Insert(TableSlot& table, std::string value) {
    const test::MessageBytes message = test::InsertBytes(1, {std::move(value)});
    pgoutput::Row row;
    FRESHET_RETURN_IF_ERROR(pgoutput::Parser().ParseRow(message, row));
    return builder_.AddRow(table, ChangeKind::kInsert, ordinal_++, row.new_tuple);
  }

  BatchBuilder builder_;
  int64_t ordinal_ = 0;
};

std::vector<std::string> Rows(const change::ChangeBatch& batch) {
  std::vector<std::string> out;
  for (const change::TableChanges& table : batch.tables) {
    for (const std::string& row : test::RowTexts(*table.rows)) {
      out.push_back(table.schema->name().table + " " + row);
    }
  }
  return out;
}

TEST_F(BatchBuilderTest, TablesStandInTheOrderOfTheirFirstRow) {
  TableSlot a = SlotOf("a");
  TableSlot b = SlotOf("b");
  ASSERT_TRUE(Insert(b, "1").has_value());
  ASSERT_TRUE(Insert(a, "2").has_value());
  ASSERT_TRUE(Insert(b, "3").has_value());
  ASSERT_TRUE(builder_.EndTransaction(EndingAt(100)).has_value());

  const auto batch = builder_.TakeWhole();

  ASSERT_TRUE(batch.has_value());
  EXPECT_THAT(Rows(**batch), ElementsAre("b 1", "b 3", "a 2"));
  EXPECT_FALSE(builder_.has_whole());
}

TEST_F(BatchBuilderTest, TableOfTheOpenTransactionOnlyIsNotInTheBatch) {
  TableSlot a = SlotOf("a");
  TableSlot b = SlotOf("b");
  ASSERT_TRUE(Insert(a, "1").has_value());
  ASSERT_TRUE(builder_.EndTransaction(EndingAt(100)).has_value());
  ASSERT_TRUE(Insert(b, "2").has_value());

  const auto whole = builder_.TakeWhole();
  ASSERT_TRUE(builder_.EndTransaction(EndingAt(200)).has_value());
  const auto rest = builder_.TakeWhole();

  ASSERT_TRUE(whole.has_value() && rest.has_value());
  EXPECT_THAT(Rows(**whole), ElementsAre("a 1"));
  EXPECT_THAT(Rows(**rest), ElementsAre("b 2"));
}

TEST_F(BatchBuilderTest, ValuesOutliveTheArenaTheyWereIn) {
  TableSlot table = SlotOf("t");
  std::vector<std::string> expected;
  for (uint64_t i = 1; i <= 50; ++i) {
    const std::string value(BatchBuilder::kDecodeBytes / 10, static_cast<char>('a' + i % 26));
    ASSERT_TRUE(Insert(table, value).has_value());
    ASSERT_TRUE(builder_.EndTransaction(EndingAt(i * 10)).has_value());
    expected.push_back("t " + value);
  }

  const auto batch = builder_.TakeWhole();

  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(Rows(**batch), expected);
}

TEST_F(BatchBuilderTest, LargeOpenTransactionIsReadAsItArrives) {
  TableSlot table = SlotOf("t");
  ASSERT_TRUE(Insert(table, std::string(BatchBuilder::kAloneBytes, 'x')).has_value());
  ASSERT_TRUE(builder_.open_is_large());

  ASSERT_TRUE(builder_.DecodeOpen().has_value());

  EXPECT_FALSE(builder_.open_is_large());
  ASSERT_TRUE(Insert(table, "y").has_value());
  Transaction part = EndingAt(100);
  part.ends = false;
  part.end_lsn = {};
  const auto batch = builder_.TakePart(part);
  ASSERT_TRUE(batch.has_value());
  EXPECT_THAT(Rows(**batch), SizeIs(2));
  EXPECT_EQ(builder_.open_changes(), 0);
}

TEST_F(BatchBuilderTest, CountsOpenAndWholeChangesApart) {
  TableSlot table = SlotOf("t");
  ASSERT_TRUE(Insert(table, "1").has_value());
  builder_.AddEmptyRow(table, ChangeKind::kTruncate, ordinal_++);
  builder_.AddMessage({.ordinal = ordinal_++, .lsn = {}, .prefix = "p", .content = "c"});
  EXPECT_EQ(builder_.open_changes(), 3);
  const int64_t bytes = builder_.open_bytes();
  EXPECT_GT(bytes, 0);

  ASSERT_TRUE(builder_.EndTransaction(EndingAt(100)).has_value());

  EXPECT_EQ(builder_.open_changes(), 0);
  EXPECT_EQ(builder_.whole_changes(), 3);
  EXPECT_EQ(builder_.whole_bytes(), bytes);
}

TEST_F(BatchBuilderTest, NothingWholeIsNoBatch) {
  TableSlot table = SlotOf("t");
  ASSERT_TRUE(Insert(table, "1").has_value());

  const auto batch = builder_.TakeWhole();

  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(*batch, nullptr);
}

}  // namespace
}  // namespace freshet::postgres
