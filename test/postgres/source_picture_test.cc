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
  out.tables[1] = {
      .name = {"public", "a"}, .root = {1}, .filenode = 71, .published = true, .membership = 90};
  out.tables[2] = {.name = {"public", "b"}, .root = {2}, .published = true, .membership = 91};
  out.tables[3] = {.name = {"public", "b_1"}, .root = {2}, .filenode = 73};
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
  now.tables.erase(2);
  now.tables.erase(3);

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  EXPECT_EQ(drift.gap, "");
  EXPECT_THAT(drift.warnings, ElementsAre(HasSubstr("table \"public\".\"a\" was dropped"),
                                          HasSubstr("table \"public\".\"b\" was dropped")));
  EXPECT_THAT(drift.unsent_rows, IsEmpty());
}

TEST(SourcePictureTest, RowsOfAPartitionThatWasTakenAwayMayBeGone) {
  SourcePicture now = TwoTables();
  now.tables.erase(3);
  SourcePicture by_oid = TwoTables();  // as a log knows it
  by_oid.tables[3].name = {};

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");
  const SourceDrift unnamed = Compare(by_oid, now, "freshet");

  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_EQ(drift.unsent_rows[0].table.value, 2u);
  EXPECT_TRUE(drift.unsent_rows[0].vanished);
  EXPECT_THAT(drift.unsent_rows[0].why, HasSubstr("\"public\".\"b_1\" was detached or dropped"));
  ASSERT_EQ(unnamed.unsent_rows.size(), 1u);
  EXPECT_THAT(unnamed.unsent_rows[0].why, HasSubstr("with oid 3"));
}

TEST(SourcePictureTest, ATableTakenOutAndAddedAgainMissesWhatCameBetween) {
  SourcePicture now = TwoTables();
  now.tables[1].membership = 99;

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_EQ(drift.unsent_rows[0].table.value, 1u);
  EXPECT_TRUE(drift.unsent_rows[0].vanished);
  EXPECT_THAT(drift.unsent_rows[0].why, HasSubstr("added again"));
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
  now.tables[1].sent = 5;
  now.tables[1].membership = 99;  // made anew for it
  now.tables[2].sent = 6;

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");

  EXPECT_THAT(drift.warnings,
              ElementsAre(HasSubstr("of \"public\".\"a\""), HasSubstr("of \"public\".\"b\"")));
  EXPECT_THAT(drift.unsent_rows, IsEmpty());
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
  now.tables[1].row_type = 20;
  SourcePicture key = now;
  key.tables[1].key_type = 21;

  const SourceDrift drift = Compare(TwoTables(), now, "freshet");
  const SourceDrift other_key = Compare(TwoTables(), key, "freshet");

  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_EQ(drift.unsent_rows[0].table.value, 1u);
  EXPECT_FALSE(drift.unsent_rows[0].vanished);
  EXPECT_FALSE(drift.unsent_rows[0].unless_truncated);
  ASSERT_EQ(other_key.unsent_rows.size(), 1u);
  EXPECT_TRUE(other_key.unsent_rows[0].vanished) << "rows may have other keys";
}

TEST(SourcePictureTest, MovedRowsAreNotToBeReadAgain) {
  SourcePicture moved = TwoTables();
  for (const uint32_t oid : {1u, 3u}) {
    moved.tables[oid].filenode += 10;
    moved.tables[oid].older_rows = true;
  }

  EXPECT_THAT(Compare(TwoTables(), moved, "freshet").unsent_rows, IsEmpty());
}

TEST(SourcePictureTest, OtherRowsOfTheSameTypeAreUnsentUnlessTheStreamTellsOfATruncate) {
  for (const uint32_t oid : {1u, 3u}) {
    SourcePicture now = TwoTables();
    now.tables[oid].filenode = 78;

    const SourceDrift drift = Compare(TwoTables(), now, "freshet");

    ASSERT_EQ(drift.unsent_rows.size(), 1u);
    EXPECT_EQ(drift.unsent_rows[0].table, now.tables[oid].root);
    EXPECT_TRUE(drift.unsent_rows[0].unless_truncated);
    EXPECT_TRUE(drift.unsent_rows[0].vanished);
    now.left_out = "truncate";
    EXPECT_THAT(Compare(TwoTables(), now, "freshet").unsent_rows, IsEmpty()) << "as is wished";
  }
}

TEST(SourcePictureTest, APartitionThatCameWithRowsIsToldFromOneThatWasMade) {
  SourcePicture made = TwoTables();
  made.tables[4] = {.name = {"public", "b_2"}, .root = {2}, .filenode = 9};
  SourcePicture attached = made;
  attached.tables[4].older_rows = true;

  EXPECT_THAT(Compare(TwoTables(), made, "freshet").unsent_rows, IsEmpty());
  const SourceDrift drift = Compare(TwoTables(), attached, "freshet");
  ASSERT_EQ(drift.unsent_rows.size(), 1u);
  EXPECT_THAT(drift.unsent_rows[0].parts, ElementsAre(change::TableId{4}));
  EXPECT_FALSE(drift.unsent_rows[0].vanished);
}

TEST(SourcePictureTest, OfATableThatIsNotKnownYetNothingIsUnsent) {
  SourcePicture before = TwoTables();
  before.tables.erase(2);
  before.tables.erase(3);
  SourcePicture now = TwoTables();
  now.tables[3].older_rows = true;

  EXPECT_THAT(Compare(before, now, "freshet").unsent_rows, IsEmpty());
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
