#include "sink/duckdb/upsert_run.h"

#include <gmock/gmock.h>

#include "support/batches.h"

namespace freshet::sink::duckdb {
namespace {

using change::LogicalKind;
using test::BatchBuilder;
using test::Exception;
using test::MakeColumn;
using test::MakeItemsSchema;
using test::MakeSchema;
using test::Null;
using test::Unchanged;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

/// A run of one batch, and what is to be done for it.
class Collapsed {
 public:
  Collapsed(const change::TableSchema& schema, BatchBuilder& builder, bool rows_may_exist = false)
      : run_(schema) {
    const auto batch = builder.Build();
    for (const auto& table : batch->tables) run_.Add(batch, table, rows_may_exist);
    result_ = run_.Collapse();
  }

  /// Rows of the batch, by number, that are deleted for and added.
  std::vector<int> deletions() const {
    std::vector<int> out;
    for (const auto& d : result_.deletions) out.push_back(d.key.row);
    return out;
  }
  std::vector<int> rows() const {
    std::vector<int> out;
    for (const RowRef& row : result_.rows) out.push_back(row.row);
    return out;
  }
  const UpsertRun::Result& result() const { return result_; }

 private:
  UpsertRun run_;
  UpsertRun::Result result_;
};

TEST(UpsertRunTest, InsertsAloneDeleteNothing) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100).Insert(items, {"2", "b", "1"}).Insert(items, {"1", "a", "1"});

  const Collapsed collapsed(*items, builder);

  EXPECT_THAT(collapsed.deletions(), IsEmpty());
  EXPECT_THAT(collapsed.rows(), ElementsAre(0, 1));
}

TEST(UpsertRunTest, RowBornAndUpdatedInTheRunIsNotDeletedFor) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Insert(items, {"1", "a", "1"})
      .Update(items, {"1", "b", "2"})
      .Insert(items, {"2", "gone", "1"})
      .Delete(items, {"2", Null(), Null()});

  const Collapsed collapsed(*items, builder);

  EXPECT_THAT(collapsed.deletions(), IsEmpty());
  EXPECT_THAT(collapsed.rows(), ElementsAre(1));
}

TEST(UpsertRunTest, ManyUpdatesOfAKeyAreOneDeletionAndOneRow) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Update(items, {"1", "a", "1"})
      .Update(items, {"1", "b", "2"})
      .Delete(items, {"1", Null(), Null()})
      .Insert(items, {"1", "c", "3"});

  const Collapsed collapsed(*items, builder);

  EXPECT_THAT(collapsed.deletions(), ElementsAre(0));
  EXPECT_THAT(collapsed.rows(), ElementsAre(3));
}

TEST(UpsertRunTest, NothingBeforeATruncateCounts) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Update(items, {"1", "a", "1"})
      .Insert(items, {"2", "b", "1"})
      .Truncate({items})
      .Update(items, {"3", "the target is empty now", "1"});

  const Collapsed collapsed(*items, builder);

  EXPECT_TRUE(collapsed.result().truncate);
  EXPECT_THAT(collapsed.deletions(), IsEmpty());
  EXPECT_THAT(collapsed.rows(), ElementsAre(3));
}

TEST(UpsertRunTest, SnapshotRowsReplaceOnlyWhereTheTargetHadRows) {
  const auto items = MakeItemsSchema();
  BatchBuilder empty_target;
  empty_target.Begin(100).Snapshot(items, {"1", "a", "1"});
  BatchBuilder filled_target;
  filled_target.Begin(100).Snapshot(items, {"1", "a", "1"});

  EXPECT_THAT(Collapsed(*items, empty_target, false).deletions(), IsEmpty());
  EXPECT_THAT(Collapsed(*items, filled_target, true).deletions(), ElementsAre(0));
}

TEST(UpsertRunTest, SnapshotRowTakesWhatItLeavesUnchangedFromTheRowBefore) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Insert(items, {"1", "a", "1"})
      .Snapshot(items, {"1", "b", Unchanged()})
      .Snapshot(items, {"2", "c", Unchanged()});

  const Collapsed collapsed(*items, builder, true);

  EXPECT_THAT(collapsed.rows(), IsEmpty());
  ASSERT_THAT(collapsed.result().merged, SizeIs(2));
  EXPECT_THAT(collapsed.result().merged[0].from_run, ElementsAre(Pair("amount", RowRef{0, 0})));
  EXPECT_THAT(collapsed.result().merged[1].from_target, ElementsAre("amount"));
}

TEST(UpsertRunTest, ValueNotSentComesFromTheRunWhereItCan) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Insert(items, {"1", "known", "1"})
      .Update(items, {"1", Unchanged(), "2"})
      .Update(items, {"1", Null(), Null()}, {"5", Unchanged(), Unchanged()});

  const Collapsed collapsed(*items, builder);

  ASSERT_THAT(collapsed.result().merged, SizeIs(1));
  const MergedRow& row = collapsed.result().merged[0];
  EXPECT_EQ(row.image, (RowRef{0, 3}));
  EXPECT_THAT(row.from_run, ElementsAre(Pair("name", RowRef{0, 0}), Pair("amount", RowRef{0, 1})));
  EXPECT_THAT(row.from_target, IsEmpty());
}

TEST(UpsertRunTest, ValueTheRunNeverHadComesFromTheTargetsOldKey) {
  const auto items = MakeItemsSchema();
  BatchBuilder builder;
  builder.Begin(100)
      .Update(items, {"1", Null(), Null()}, {"2", Unchanged(), "1"})
      .Update(items, {"2", Null(), Null()}, {"3", Unchanged(), "2"});

  const Collapsed collapsed(*items, builder);

  EXPECT_THAT(collapsed.deletions(), ElementsAre(0));
  ASSERT_THAT(collapsed.result().merged, SizeIs(1));
  EXPECT_EQ(collapsed.result().merged[0].target_key, (RowRef{0, 0}));
  EXPECT_THAT(collapsed.result().merged[0].from_target, ElementsAre("name"));
}

TEST(UpsertRunTest, KeysAreComparedExactly) {
  const auto table = MakeSchema({"public", "t"}, {MakeColumn("a", LogicalKind::kText, true),
                                                  MakeColumn("b", LogicalKind::kText, true),
                                                  MakeColumn("day", LogicalKind::kDate, true)});
  BatchBuilder builder;
  builder.Begin(100)
      .Insert(table, {"x", "", "2024-01-01"})
      .Insert(table, {"", "x", "2024-01-01"})
      .Insert(table, {"x", "", Exception("infinity")})
      .Insert(table, {"x", "", Exception("-infinity")})
      .Delete(table, {"x", "", Exception("infinity")});

  const Collapsed collapsed(*table, builder);

  EXPECT_THAT(collapsed.rows(), ElementsAre(0, 1, 3));
}

TEST(UpsertRunTest, ManyKeysAreFoundAgain) {
  const auto items = MakeItemsSchema();
  constexpr int kKeys = 5'000;  // the table of keys grows several times
  BatchBuilder builder;
  builder.Begin(100);
  for (int i = 0; i < kKeys; ++i) builder.Insert(items, {std::to_string(i), "a", "1"});
  for (int i = 0; i < kKeys; i += 2) builder.Delete(items, {std::to_string(i), Null(), Null()});

  const Collapsed collapsed(*items, builder);

  EXPECT_THAT(collapsed.rows(), SizeIs(kKeys / 2));
  EXPECT_THAT(collapsed.deletions(), IsEmpty());
}

TEST(UpsertRunTest, OldHalfOfAnUpdateWaitsForTheNewOne) {
  const auto items = MakeItemsSchema();
  const auto whole =
      BatchBuilder().Begin(100).Update(items, {"1", Null(), Null()}, {"2", "b", "1"}).Build();
  change::TableChanges first = whole->tables[0];
  first.rows = test::MakeRows(*items, {{"1", Null(), Null()}});
  first.kinds.resize(1);
  UpsertRun run(*items);

  run.Add(whole, first, false);

  EXPECT_TRUE(run.inside_update());
}

TEST(UpsertRunTest, RowsWithoutKeyAddUp) {
  const auto bag = MakeSchema({"public", "bag"}, {MakeColumn("a", LogicalKind::kInt32)},
                              change::ReplicaIdentity::kFull);
  BatchBuilder builder;
  builder.Begin(100)
      .Insert(bag, {"1"})
      .Insert(bag, {"1"})
      .Insert(bag, {"1"})
      .Delete(bag, {"1"})
      .Delete(bag, {"2"})
      .Delete(bag, {"2"})
      .Insert(bag, {"3"})
      .Delete(bag, {"3"});

  const Collapsed collapsed(*bag, builder);

  EXPECT_THAT(collapsed.rows(), ElementsAre(0, 0));
  ASSERT_THAT(collapsed.result().deletions, SizeIs(1));
  EXPECT_EQ(collapsed.result().deletions[0].key, (RowRef{0, 4}));
  EXPECT_EQ(collapsed.result().deletions[0].count, 2);
}

}  // namespace
}  // namespace freshet::sink::duckdb
