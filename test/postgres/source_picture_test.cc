#include "postgres/source_picture.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

using change::Lsn;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Two published tables, 1 and 2, the second with a partition, 3.
SourcePicture TwoTables() {
  SourcePicture out;
  out.seen_at = Lsn{0x100};
  out.tables[1] = {.name = {"public", "a"}, .root = {1}, .published = true};
  out.tables[2] = {.name = {"public", "b"}, .root = {2}, .published = true};
  out.tables[3] = {.name = {"public", "b_1"}, .root = {2}, .published = false};
  return out;
}

TEST(SourcePictureTest, WhatIsAsBeforeIsNoDrift) {
  const SourceDrift drift = Compare(TwoTables(), TwoTables(), "freshet");

  EXPECT_THAT(drift.warnings, IsEmpty());
  EXPECT_EQ(drift.gap, "");
}

TEST(SourcePictureTest, ATableThatIsNoLongerSentIsAGapFromTheLastPictureOn) {
  SourcePicture now = TwoTables();
  now.seen_at = Lsn{0x200};
  now.tables[1].published = false;

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  EXPECT_THAT(drift.gap, AllOf(HasSubstr("no longer sends \"public\".\"a\""),
                               HasSubstr("complete up to 0/100"), HasSubstr("ADD TABLE")));
}

TEST(SourcePictureTest, ADroppedTableIsAWarningOnly) {
  SourcePicture now = TwoTables();
  now.tables.erase(1);
  now.tables.erase(3);

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  EXPECT_EQ(drift.gap, "");
  EXPECT_THAT(drift.warnings, ElementsAre(HasSubstr("table \"public\".\"a\" was dropped"),
                                          HasSubstr("partition \"public\".\"b_1\"")));
}

TEST(SourcePictureTest, ARenamedTableIsTheSame) {
  SourcePicture now = TwoTables();
  now.tables[1].name = {"attic", "z"};

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  EXPECT_THAT(drift.warnings, IsEmpty());
  EXPECT_EQ(drift.gap, "");
}

TEST(SourcePictureTest, OperationsLeftOutAreWarnedOfHoweverLongTheyAre) {
  SourcePicture narrow = TwoTables();
  narrow.left_out = "update, delete";

  EXPECT_THAT(Compare(narrow, narrow, "freshet").warnings,
              ElementsAre(HasSubstr("update, delete")));
}

TEST(SourcePictureTest, AChangedFilterOrColumnListIsWarnedOf) {
  SourcePicture now = TwoTables();
  now.tables[1].row_filter = "(id > 10)";
  now.tables[2].sent_columns = "{id}";

  EXPECT_THAT(Compare(TwoTables(), now, "freshet").warnings,
              ElementsAre(HasSubstr("of \"public\".\"a\""), HasSubstr("of \"public\".\"b\"")));
}

TEST(SourcePictureTest, APublicationWithMoreTablesIsToldUnlessItTakesInAll) {
  SourcePicture before = TwoTables();
  SourcePicture now = TwoTables();
  EXPECT_FALSE(Compare(before, now, "freshet").tables_joined);

  before.listed = 2;
  now.listed = 3;

  EXPECT_TRUE(Compare(before, now, "freshet").tables_joined);
}

TEST(SourcePictureTest, PartitionsThatJoinAreNoDrift) {
  SourcePicture now = TwoTables();
  now.tables[4] = {.name = {"public", "b_2"}, .root = {2}};

  EXPECT_THAT(Compare(TwoTables(), now, "freshet").warnings, IsEmpty());
}

TEST(SourcePictureTest, ARewrittenTableOfAnotherRowTypeIsToBeReadAgain) {
  SourcePicture now = TwoTables();
  now.tables[1].filenode = 77;
  now.tables[1].row_type = "id 20";

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_EQ(drift.unsent_rows[0].table.value, 1u);
  EXPECT_THAT(drift.unsent_rows[0].what, HasSubstr("freshet table resnapshot public.a"));
}

/// The stream tells of a TRUNCATE; VACUUM FULL keeps the rows as they are.
TEST(SourcePictureTest, ATruncatedTableAndMovedRowsAreNotToBeReadAgain) {
  SourcePicture truncated = TwoTables();
  truncated.tables[1].filenode = 77;
  SourcePicture moved = TwoTables();
  moved.tables[3].filenode = 78;
  moved.tables[3].older_rows = true;

  EXPECT_THAT(Compare(TwoTables(), truncated, "freshet").unsent_rows, IsEmpty());
  EXPECT_THAT(Compare(TwoTables(), moved, "freshet").unsent_rows, IsEmpty());
}

TEST(SourcePictureTest, OfATruncatedPartitionTheWholeTableIsToBeReadAgain) {
  SourcePicture now = TwoTables();
  now.tables[3].filenode = 78;

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_EQ(drift.unsent_rows[0].table.value, 2u);
  EXPECT_THAT(drift.unsent_rows[0].what, HasSubstr("partition \"public\".\"b_1\" was truncated"));
}

TEST(SourcePictureTest, APartitionThatCameWithRowsIsToldFromOneThatWasMade) {
  SourcePicture made = TwoTables();
  made.tables[4] = {.name = {"public", "b_2"}, .root = {2}, .filenode = 9};
  SourcePicture attached = made;
  attached.tables[4].older_rows = true;

  EXPECT_THAT(Compare(TwoTables(), made, "freshet").unsent_rows, IsEmpty());
  ASSERT_EQ(Compare(TwoTables(), attached, "freshet").unsent_rows.size(), 1u);
}

/// The walsender reports it, for the rows that it could not send.
TEST(SourcePictureTest, APublicationThatIsGoneIsLeftToTheStream) {
  SourcePicture now = TwoTables();
  now.published = false;
  for (auto& [oid, table] : now.tables) table.published = false;

  EXPECT_EQ(Compare(TwoTables(), now, "freshet").gap, "");
}

}  // namespace
}  // namespace freshet::postgres
