#include "change/change_batch.h"

#include <gmock/gmock.h>

#include "support/batches.h"

namespace freshet::change {
namespace {

using test::BatchBuilder;
using test::Exception;
using test::KeyOnly;
using test::MakeItemsSchema;
using test::Null;
using test::RowTexts;
using test::Unchanged;
using ::testing::ElementsAre;

TEST(DropAppliedTest, TransactionsBehindThePositionGoWithTheirRowsAndMarks) {
  const auto items = MakeItemsSchema();
  const auto batch = BatchBuilder()
                         .Begin(100)
                         .Insert(items, {"1", "nut", Exception("NaN")})
                         .Message("audit", "first")
                         .Begin(200)
                         .Update(items, {"1", Unchanged(), "2.50"})
                         .Message("audit", "second")
                         .Build();

  const auto rest = DropApplied(batch, Position{Lsn{100}, 0});

  ASSERT_NE(rest, nullptr);
  ASSERT_EQ(rest->transactions.size(), 1U);
  EXPECT_EQ(rest->transactions[0].end_lsn, Lsn{200});
  ASSERT_EQ(rest->tables.size(), 1U);
  EXPECT_THAT(RowTexts(*rest->tables[0].rows), ElementsAre("1 | NULL | 2.50"));
  EXPECT_THAT(rest->tables[0].unchanged, ElementsAre(UnchangedRows{.column = 1, .rows = {0}}));
  EXPECT_TRUE(rest->tables[0].exceptions.empty());
  ASSERT_EQ(rest->messages.size(), 1U);
  EXPECT_EQ(rest->messages[0].transaction, 0);
  EXPECT_EQ(rest->messages[0].content, "second");
}

TEST(DropAppliedTest, NothingToDropKeepsTheBatchAndAllToDropLeavesNone) {
  const auto items = MakeItemsSchema();
  const auto batch = BatchBuilder().Begin(100).Delete(items, {"1", Null(), Null()}).Build();

  EXPECT_EQ(DropApplied(batch, Position{Lsn{99}, 0}), batch);
  EXPECT_EQ(DropApplied(batch, Position{Lsn{100}, 0}), nullptr);
}

/// A sink may be ahead of a log that lost its unsynced end: the source sends a transaction again
/// which the sink has whole, and its parts must not reach it a second time.
TEST(DropAppliedTest, PartOfATransactionGoesWithTheWhole) {
  const auto items = MakeItemsSchema();
  const auto part =
      BatchBuilder().Part(300, true, false).Insert(items, {"1", "nut", "0.10"}).Build();

  EXPECT_EQ(DropApplied(part, Position{Lsn{200}, 0}), part);
  EXPECT_EQ(DropApplied(part, Position{Lsn{300}, 0}), nullptr);
}

TEST(DropAppliedTest, PartOfAnUnfinishedSnapshotIsKept) {
  const auto items = MakeItemsSchema();
  const auto part = BatchBuilder()
                        .Part(300, true, false, 0, TransactionKind::kSnapshot)
                        .Snapshot(items, {"1", "nut", "0.10"})
                        .Build();

  EXPECT_EQ(DropApplied(part, Position{Lsn{1000}, 0}), part);
}

/// Pieces of snapshots stand behind one commit and are told apart by their ordinals.
TEST(DropAppliedTest, PiecesBehindOneCommitGoOneByOne) {
  const auto items = MakeItemsSchema();
  const auto piece = [&](int64_t n) {
    return BatchBuilder().Piece(300, n).Snapshot(items, {"1", "nut", "0.10"}).Build();
  };

  EXPECT_EQ(DropApplied(piece(1), Position{Lsn{300}, 2}), nullptr);
  EXPECT_EQ(DropApplied(piece(2), Position{Lsn{300}, 2}), nullptr);
  const auto third = piece(3);
  EXPECT_EQ(DropApplied(third, Position{Lsn{300}, 2}), third);
  EXPECT_EQ(DropApplied(third, Position{Lsn{300}, 0}), third);
  EXPECT_EQ(DropApplied(third, Position{Lsn{301}, 0}), nullptr);
}

TEST(DropAppliedTest, PositionBehindAPieceDropsTheTransactionBeforeIt) {
  const auto items = MakeItemsSchema();
  const auto batch = BatchBuilder()
                         .Begin(300)
                         .Insert(items, {"1", "nut", "0.10"})
                         .Begin(400)
                         .Insert(items, {"2", "bolt", "0.20"})
                         .Build();

  const auto rest = DropApplied(batch, Position{Lsn{300}, 5});

  ASSERT_NE(rest, nullptr);
  ASSERT_EQ(rest->transactions.size(), 1U);
  EXPECT_EQ(PositionBehind(rest->transactions[0]), (Position{Lsn{400}, 0}));
}

TEST(CheckInvariantsDeathTest, WhatABatchPromisesIsChecked) {
  const auto items = MakeItemsSchema();
  const auto streamed = BatchBuilder().Begin(100).Insert(items, {"1", "nut", "0.10"}).Build();
  const auto piece = BatchBuilder().Piece(100, 1).Begun(items, false).Build();

  ChangeBatch counted = *streamed;
  counted.transactions[0].ordinal = 1;
  EXPECT_DEATH(CheckInvariants(counted), "ordinal");

  ChangeBatch not_ascending = *piece;
  not_ascending.snapshots.clear();
  not_ascending.transactions.push_back(not_ascending.transactions[0]);
  EXPECT_DEATH(CheckInvariants(not_ascending), "PositionBehind");

  ChangeBatch steps_in_the_stream = *streamed;
  steps_in_the_stream.snapshots = piece->snapshots;
  EXPECT_DEATH(CheckInvariants(steps_in_the_stream), "kSnapshot");

  ChangeBatch without_the_table = *piece;
  without_the_table.tables.clear();
  EXPECT_DEATH(CheckInvariants(without_the_table), "kBegun");
}

TEST(DropAppliedTest, TableWithoutRowsLeftIsLeftOut) {
  const auto items = MakeItemsSchema("items");
  const auto orders = MakeItemsSchema("orders");
  const auto batch = BatchBuilder()
                         .Begin(100)
                         .Insert(items, {"1", "nut", "0.10"})
                         .Begin(200)
                         .Insert(orders, {"7", "order", "1.00"})
                         .Build();

  const auto rest = DropApplied(batch, Position{Lsn{100}, 0});

  ASSERT_EQ(rest->tables.size(), 1U);
  EXPECT_EQ(rest->tables[0].schema, orders);
  EXPECT_THAT(rest->tables[0].transactions, ElementsAre(0));
}

}  // namespace
}  // namespace freshet::change
