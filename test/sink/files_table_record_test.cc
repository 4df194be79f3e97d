#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sink/files/table_record.h"
#include "support/batches.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

change::Column Numbered(const char* name, int16_t attnum) {
  change::Column column = test::MakeColumn(name, LogicalKind::kInt64);
  column.attnum = attnum;
  return column;
}

/// A version of s.t whose columns keep the numbers they are given.
std::shared_ptr<const change::TableSchema> Version(std::vector<change::Column> columns) {
  return std::make_shared<change::TableSchema>(change::TableId{7}, change::TableName{"s", "t"},
                                               change::ReplicaIdentity::kDefault,
                                               std::move(columns));
}

TEST(TableRecordTest, KnownColumnNumbersAreTheIdsAndSurviveARename) {
  const auto before = Version({Numbered("a", 1), Numbered("b", 3)});
  const auto after = Version({Numbered("a", 1), Numbered("renamed", 3)});
  TableRecord record({"s", "t"});

  record.Add(*before);
  record.Add(*after);

  EXPECT_THAT(record.FieldIds(*before), ElementsAre(1, 3));
  EXPECT_THAT(record.FieldIds(*after), ElementsAre(1, 3));
}

TEST(TableRecordTest, UnknownColumnNumbersGetIdsByNameThatStayOverARestart) {
  const auto first = Version({Numbered("b", 0), Numbered("a", 0)});
  const auto second = Version({Numbered("c", 0), Numbered("a", 0), Numbered("b", 0)});
  TableRecord record({"s", "t"});
  record.Add(*first);

  auto restarted = TableRecord::Parse(record.ToJson());
  ASSERT_TRUE(restarted.has_value()) << restarted.error();
  restarted->Add(*second);

  constexpr int32_t kFirst = TableRecord::kFirstNamedId;
  EXPECT_THAT(record.FieldIds(*first), ElementsAre(kFirst, kFirst + 1));
  EXPECT_THAT(restarted->FieldIds(*second), ElementsAre(kFirst + 2, kFirst + 1, kFirst));
}

TEST(TableRecordTest, KnownVersionChangesNothing) {
  const auto items = test::MakeItemsSchema();
  TableRecord record(items->name());

  EXPECT_TRUE(record.Add(*items));
  EXPECT_FALSE(record.Add(*items));
}

/// The differences of `next` from `old`, as "class: text".
std::vector<std::string> Differences(const change::TableSchema& old,
                                     const change::TableSchema& next) {
  TableRecord record(old.name());
  record.Add(old);
  std::vector<std::string> out;
  for (const TableRecord::Difference& d : record.Differences(next)) {
    out.push_back(std::string(SchemaChangeName(d.change)) + ": " + d.what);
  }
  return out;
}

TEST(TableRecordTest, DifferencesAreToldByClass) {
  const auto old = Version({Numbered("a", 1), Numbered("b", 2)});
  change::Column text = test::MakeColumn("b", LogicalKind::kText);
  text.attnum = 2;

  EXPECT_THAT(Differences(*old, *old), ElementsAre());
  EXPECT_THAT(Differences(*old, *Version({Numbered("a", 1), Numbered("b", 2), Numbered("c", 3)})),
              ElementsAre("add_column: column 'c' was added"));
  EXPECT_THAT(Differences(*old, *Version({Numbered("a", 1)})),
              ElementsAre("drop_column: column 'b' was dropped"));
  EXPECT_THAT(Differences(*old, *Version({Numbered("a", 1), Numbered("c", 2)})),
              ElementsAre("rename_column: column 'b' was renamed to 'c'"));
  EXPECT_THAT(Differences(*old, *Version({Numbered("a", 1), text})),
              ElementsAre("change_type: column 'b' changed from int64 to text"));
  EXPECT_THAT(
      Differences(*old, *Version({Numbered("a", 1), Numbered("b", 3)})),
      ElementsAre("drop_column: column 'b' was dropped", "add_column: column 'b' was added"));
}

TEST(TableRecordTest, ColumnsAreFoundInOlderFilesByTheirNumber) {
  const auto old = Version({Numbered("a", 1), Numbered("b", 2)});
  change::Column added = Numbered("a", 4);
  added.missing_value = "7";
  const auto now = Version({Numbered("b", 1), added});
  TableRecord record({"s", "t"});
  record.Add(*old);
  record.Add(*now);

  const auto restarted = TableRecord::Parse(record.ToJson());

  ASSERT_TRUE(restarted.has_value()) << restarted.error();
  EXPECT_THAT(restarted->NamesIn(old->fingerprint(), *now), ElementsAre("a", ""));
  EXPECT_EQ(restarted->MissingValue(Numbered("a", 4)), "7");
  EXPECT_EQ(restarted->MissingValue(Numbered("b", 1)), std::nullopt);
  EXPECT_EQ(restarted->id(), change::TableId{7});
}

TEST(TableRecordTest, VersionThatReturnsIsTheLast) {
  const auto narrow = Version({Numbered("a", 1)});
  const auto wide = Version({Numbered("a", 1), Numbered("b", 2)});
  TableRecord record({"s", "t"});
  record.Add(*narrow);
  record.Add(*wide);

  EXPECT_TRUE(record.Add(*narrow));

  EXPECT_TRUE(record.Differences(*narrow).empty());
}

TEST(TableRecordTest, TextThatIsNoRecordIsCorrupt) {
  for (const char* text : {"", "{}", "[]", "{\"schema\":1,\"table\":\"t\",\"versions\":[]}"}) {
    const auto record = TableRecord::Parse(text);
    ASSERT_FALSE(record.has_value()) << text;
    EXPECT_EQ(record.error().kind, ErrorKind::kCorrupt);
  }
}

TEST(TableRecordTest, PathKeepsOddNamesApart) {
  EXPECT_EQ(TableRecord::PathOf({"public", "a.b"}), "_freshet/tables/public.a%2Eb.json");
  EXPECT_NE(TableRecord::PathOf({"a.b", "c"}), TableRecord::PathOf({"a", "b.c"}));
}

}  // namespace
}  // namespace freshet::sink::files
