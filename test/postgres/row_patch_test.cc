#include "postgres/row_patch.h"

#include <arrow/record_batch.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "postgres/row_key.h"
#include "support/batches.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;
using change::LogicalType;
using test::Exception;
using test::List;
using test::MakeColumn;
using test::Null;
using test::Row;
using testing::ElementsAre;
using Schema = std::shared_ptr<const change::TableSchema>;

/// A key of every kind of Arrow layout.
Schema WideKey() {
  const auto key = [](const char* name, LogicalType type) { return MakeColumn(name, type, true); };
  return test::MakeSchema(
      {"public", "wide"},
      {key("flag", {.kind = LogicalKind::kBool}), key("small", {.kind = LogicalKind::kInt16}),
       MakeColumn("note", LogicalKind::kText), key("code", {.kind = LogicalKind::kText}),
       key("price", {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2}),
       key("day", {.kind = LogicalKind::kDate}), key("at", {.kind = LogicalKind::kTimestampTz}),
       key("id", {.kind = LogicalKind::kUuid}), key("raw", {.kind = LogicalKind::kBytes}),
       key("tags", {.kind = LogicalKind::kList, .element = LogicalKind::kText})});
}

Row WideRow(const char* code, const char* day = "2024-02-29") {
  return {"true",
          "-7",
          "a note",
          code,
          "12.50",
          day,
          "2024-02-29 12:00:00.5Z",
          "00112233-4455-6677-8899-aabbccddeeff",
          "\x01\x02",
          List({"x", Null(), ""})};
}

change::TableChanges Pieces(const Schema& schema, const std::vector<Row>& rows) {
  test::BatchBuilder builder;
  builder.Begin(1000, change::TransactionKind::kSnapshot);
  for (const Row& row : rows) builder.Snapshot(schema, row);
  return builder.Build()->tables.at(0);
}

std::string KeyOf(const change::TableChanges& rows, int64_t row) {
  std::string key;
  EXPECT_TRUE(RowKeyReader(rows).Append(row, std::nullopt, key));
  return key;
}

TEST(RowKeyTest, EqualKeysHaveEqualBytesAndOthersNot) {
  Row null_tag = WideRow("a");
  null_tag.back() = List({"x", "", Null()});
  Row infinite = WideRow("a");
  infinite[5] = Exception("infinity");
  Row no_day = WideRow("a");
  no_day[5] = Null();
  Row other_note = WideRow("a");
  other_note[2] = "b note";
  const auto rows = Pieces(WideKey(), {WideRow("a"), WideRow("b"), WideRow("a", "2024-03-01"),
                                       null_tag, infinite, no_day, other_note});

  for (int64_t i = 1; i < 6; ++i) {
    for (int64_t j = 0; j < i; ++j) EXPECT_NE(KeyOf(rows, i), KeyOf(rows, j)) << i << " " << j;
  }
  EXPECT_EQ(KeyOf(rows, 0), KeyOf(rows, 6));
}

TEST(RowKeyTest, ColumnsDoNotRunIntoEachOther) {
  const auto pair = test::MakeSchema(
      {"public", "pair"},
      {MakeColumn("a", LogicalKind::kText, true), MakeColumn("b", LogicalKind::kText, true)});
  const auto rows = Pieces(pair, {{"ab", "c"}, {"a", "bc"}, {"", "abc"}, {Null(), "abc"}});

  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < i; ++j) EXPECT_NE(KeyOf(rows, i), KeyOf(rows, j)) << i << " " << j;
  }
}

TEST(RowPatchTest, KeepsTheWantedRowsAndTheirExceptions) {
  const auto items = test::MakeItemsSchema();
  auto rows = Pieces(items, {{"1", "nut", "0.10"},
                             {"2", "bolt", Exception("NaN")},
                             {"3", Null(), "0.30"},
                             {"4", "gear", Exception("NaN")}});

  const change::TableChanges out = Patch(rows, {{.row = 0}, {.row = 2}, {.row = 3}});

  EXPECT_THAT(test::RowTexts(*out.rows),
              ElementsAre("1 | nut | 0.10", "3 | NULL | 0.30", "4 | gear | NULL"));
  EXPECT_THAT(out.exceptions, ElementsAre(change::ValueException{2, 2, "NaN"}));
  EXPECT_THAT(out.ordinals, ElementsAre(0, 2, 3));
  EXPECT_TRUE(out.unchanged.empty());
}

TEST(RowPatchTest, MarksWhatIsNotWantedUnchanged) {
  const auto items = test::MakeItemsSchema();
  const auto rows = Pieces(items, {{"1", "nut", "0.10"}, {"2", "bolt", Exception("NaN")}});
  const std::vector<int32_t> name = {1};

  const change::TableChanges out = Patch(rows, {{.row = 0}, {.row = 1, .only = &name}});

  EXPECT_THAT(test::RowTexts(*out.rows), ElementsAre("1 | nut | 0.10", "2 | bolt | NULL"));
  EXPECT_THAT(out.unchanged, ElementsAre(change::UnchangedRows{2, {1}}));
  EXPECT_TRUE(out.exceptions.empty());
}

TEST(RowPatchTest, WritesANewKeyOfAnyType) {
  Row target = WideRow("moved", "1999-12-31");
  target[5] = Exception("-infinity");
  target[0] = "false";
  const auto targets = Pieces(WideKey(), {target});
  const auto rows = Pieces(WideKey(), {WideRow("a"), WideRow("b")});
  const std::string key = KeyOf(targets, 0);
  const std::vector<int32_t> note = {2};

  const change::TableChanges out =
      Patch(rows, {{.row = 0, .only = &note, .new_key = key}, {.row = 1}});

  const auto expected = test::RowTexts(*targets.rows);
  EXPECT_EQ(test::RowTexts(*out.rows).at(0), expected.at(0));
  EXPECT_EQ(KeyOf(out, 0), key);
  EXPECT_EQ(KeyOf(out, 1), KeyOf(rows, 1));
  EXPECT_THAT(out.exceptions, ElementsAre(change::ValueException{0, 5, "-infinity"}));
}

}  // namespace
}  // namespace freshet::postgres
