#include "postgres/assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "postgres/assembler_fixture.h"

namespace freshet::postgres {
namespace {

using change::Lsn;
using change::Position;
using change::ReplicaIdentity;
using change::Transaction;
using change::TransactionKind;
using test::BeginBytes;
using test::CommitBytes;
using test::DeleteBytes;
using test::InsertBytes;
using test::LogicalMessageBytes;
using test::MessageBytes;
using test::NullField;
using test::RelationBytes;
using test::TruncateBytes;
using test::UnchangedField;
using test::UpdateBytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(AssemblerTest, OneTransactionBecomesOneBatch) {
  const auto batches = Batches(
      {BeginBytes(100, 7, 1'000'000), RelationBytes(Items()), InsertBytes(kItems, {"1", "nut"}),
       InsertBytes(kItems, {"-2", NullField()}), CommitBytes(100, 120, 1'000'000)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 1 | nut", "items 0/1 insert -2 | NULL"));
  EXPECT_THAT(batches[0]->transactions, ElementsAre(Transaction{.xid = {7},
                                                                .commit_lsn = {100},
                                                                .end_lsn = {120},
                                                                .commit_time = 946'684'801'000'000,
                                                                .origin = ""}));
  EXPECT_TRUE(assembler_->idle());
  EXPECT_EQ(assembler_->received_end(), Lsn{120});
}

TEST_F(AssemblerTest, TransactionsBetweenTwoCutsShareABatch) {
  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
              Whole(200, {InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 1/0 insert 2 | b"));
  EXPECT_EQ(assembler_->counters().rows, 2);
  EXPECT_EQ(assembler_->counters().transactions, 2);
}

TEST_F(AssemblerTest, EveryShapeOfChangeBecomesItsImages) {
  auto full = Items(kOrders, "orders");
  full.identity = ReplicaIdentity::kFull;
  const auto batches = Batches(Whole(
      100,
      {RelationBytes(Items()), RelationBytes(full), UpdateBytes(kItems, 0, {}, {"1", "new"}),
       UpdateBytes(kItems, 'K', {"1", NullField()}, {"2", UnchangedField()}),
       UpdateBytes(kOrders, 'O', {"7", "old"}, {"7", "new"}),
       DeleteBytes(kItems, 'K', {"2", NullField()}), DeleteBytes(kOrders, 'O', {"7", "new"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(
      Lines(*batches[0]),
      ElementsAre("items 0/0 update_postimage 1 | new", "items 0/1 update_preimage 1 | NULL",
                  "items 0/2 update_postimage 2 | NULL", "items 0/5 delete 2 | NULL",
                  "orders 0/3 update_preimage 7 | old", "orders 0/4 update_postimage 7 | new",
                  "orders 0/6 delete 7 | new"));
  EXPECT_THAT(batches[0]->tables[0].unchanged,
              ElementsAre(change::UnchangedRows{.column = 1, .rows = {2}}));
  EXPECT_THAT(batches[0]->tables[1].unchanged, IsEmpty());
}

TEST_F(AssemblerTest, TablesTruncatedTogetherShareAnOrdinal) {
  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), RelationBytes(Items(kOrders, "orders")),
                          InsertBytes(kItems, {"1", "a"}), TruncateBytes({kItems, kOrders}),
                          InsertBytes(kOrders, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 1 | a", "items 0/1 truncate NULL | NULL",
                          "orders 0/1 truncate NULL | NULL", "orders 0/2 insert 2 | b"));
}

TEST_F(AssemblerTest, OriginIsTheTransactions) {
  const auto batches =
      Batches(Whole(100, {test::MessageWriter('O').U64(1).CString("elsewhere").bytes(),
                          RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_EQ(batches[0]->transactions[0].origin, "elsewhere");
}

TEST_F(AssemblerTest, ExceptionsAreOrderedByRowThenColumn) {
  constexpr uint32_t kDate = 1082;
  auto relation = Items();
  relation.columns = {{.name = "a", .type_oid = kDate}, {.name = "b", .type_oid = kDate}};
  const auto batches =
      Batches(Whole(100, {RelationBytes(relation), InsertBytes(kItems, {"2024-01-01", "infinity"}),
                          InsertBytes(kItems, {"infinity", "-infinity"}),
                          InsertBytes(kItems, {"-infinity", "2024-01-01"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(batches[0]->tables[0].exceptions,
              ElementsAre(change::ValueException{0, 1, "infinity"},
                          change::ValueException{1, 0, "infinity"},
                          change::ValueException{1, 1, "-infinity"},
                          change::ValueException{2, 0, "-infinity"}));
}

// Relations.

TEST_F(AssemblerTest, RepeatedRelationIsNoNewVersion) {
  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"}),
                          RelationBytes(Items()), InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(batches[0]->tables, SizeIs(1));
  EXPECT_EQ(schemas_.calls(), 2);  // the catalog may know of another version by then
}

TEST_F(AssemblerTest, ChangedRelationOpensAnotherTableMidTransaction) {
  auto wider = Items();
  wider.columns.push_back({.name = "more", .type_oid = kText});
  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"}),
                          RelationBytes(wider), InsertBytes(kItems, {"2", "b", "c"}),
                          RelationBytes(Items()), InsertBytes(kItems, {"3", "d"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 1 | a", "items 0/1 insert 2 | b | c",
                          "items 0/2 insert 3 | d"));
  EXPECT_THAT(batches[0]->tables, SizeIs(3));
}

TEST_F(AssemblerTest, RowsOfAnotherWidthAreMalformed) {
  const Status fed = Feed({BeginBytes(100, 1), RelationBytes(Items()), InsertBytes(kItems, {"1"})});

  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().kind, ErrorKind::kMalformed);
  EXPECT_THAT(fed.error().message, HasSubstr("public.items"));
}

// Messages.

TEST_F(AssemblerTest, TransactionalMessageHasItsPlaceAmongTheRows) {
  const auto batches = Batches(Whole(
      100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"}),
            LogicalMessageBytes(true, 90, "audit", "hello"), InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(batches[0]->messages, ElementsAre(change::LogicalMessage{.transaction = 0,
                                                                       .ordinal = 1,
                                                                       .transactional = true,
                                                                       .lsn = {90},
                                                                       .prefix = "audit",
                                                                       .content = "hello"}));
  EXPECT_THAT(batches[0]->tables[0].ordinals, ElementsAre(0, 2));
}

/// Its LSN is the end of its record, so a commit record may begin right there: the position after
/// the message must not cover that one.
TEST_F(AssemblerTest, NonTransactionalMessageIsATransactionThatEndsAtItsLsn) {
  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
              std::vector<MessageBytes>{LogicalMessageBytes(false, 150, "audit", "hello")} +
              Whole(150, {InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  ASSERT_THAT(batches[0]->transactions, SizeIs(3));
  EXPECT_EQ(batches[0]->transactions[1], (Transaction{.kind = TransactionKind::kMessage,
                                                      .xid = {},
                                                      .commit_lsn = {150},
                                                      .end_lsn = {150},
                                                      .origin = ""}));
  EXPECT_EQ(batches[0]->messages[0].transaction, 1);
  EXPECT_THAT(batches[0]->tables[0].transactions, ElementsAre(0, 2));

  Start({}, Position{Lsn{150}, 0});
  const auto again =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
              std::vector<MessageBytes>{LogicalMessageBytes(false, 150, "audit", "hello")} +
              Whole(150, {InsertBytes(kItems, {"2", "b"})}));
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_THAT(Lines(*again[0]), ElementsAre("items 0/0 insert 2 | b"));
  EXPECT_THAT(again[0]->messages, IsEmpty());
}

// Hostile streams.

TEST_F(AssemblerTest, MessagesOutOfPlaceAreMalformed) {
  const MessageBytes relation = RelationBytes(Items());
  const MessageBytes insert = InsertBytes(kItems, {"1", "a"});
  const std::vector<std::vector<MessageBytes>> streams = {
      {CommitBytes(100, 120)},
      {BeginBytes(100, 1), BeginBytes(200, 2)},
      {relation, insert},
      {BeginBytes(100, 1), insert},
      {BeginBytes(100, 1), CommitBytes(101, 120)},
      {BeginBytes(100, 1), CommitBytes(100, 100)},
      {BeginBytes(100, 1), CommitBytes(100, 120), BeginBytes(50, 2), CommitBytes(50, 60)},
      {relation, TruncateBytes({kItems})},
      {BeginBytes(100, 1), TruncateBytes({kItems})},
      {BeginBytes(100, 1), relation, TruncateBytes({kItems, kItems})},
      {LogicalMessageBytes(true, 90, "p", "c")},
      {BeginBytes(100, 1), LogicalMessageBytes(false, 90, "p", "c")},
      {LogicalMessageBytes(false, 90, "p", "c"), LogicalMessageBytes(false, 90, "p", "c")},
      {test::MessageWriter('O').U64(1).CString("o").bytes()},
      {{}},
  };
  for (size_t i = 0; i < streams.size(); ++i) {
    assembler_.reset();
    const Status fed = Feed(streams[i]);
    ASSERT_FALSE(fed.has_value()) << "stream " << i;
    EXPECT_EQ(fed.error().kind, ErrorKind::kMalformed) << fed.error();
  }
}

TEST_F(AssemblerTest, WhatWasNotAskedForIsUnsupported) {
  const std::vector<std::vector<MessageBytes>> streams = {
      {test::MessageWriter('S').U32(1).U8(1).bytes()},
      {test::MessageWriter('b').U64(1).U64(2).U64(3).U32(4).CString("g").bytes()},
      {BeginBytes(100, 1), RelationBytes(Items()), InsertBytes(kItems, {"1", {'b', "x"}})},
  };
  for (const auto& stream : streams) {
    assembler_.reset();
    const Status fed = Feed(stream);
    ASSERT_FALSE(fed.has_value());
    EXPECT_EQ(fed.error().kind, ErrorKind::kUnsupported);
  }
}

TEST_F(AssemblerTest, MoreTablesThanTheLimitAreRefused) {
  constexpr uint32_t kLimit = 100'000;
  Start();
  auto relation = Items();
  relation.columns.clear();
  for (relation.id.value = 1; relation.id.value <= kLimit; ++relation.id.value) {
    ASSERT_TRUE(assembler_->Add(RelationBytes(relation)).has_value());
  }

  const Status added = assembler_->Add(RelationBytes(relation));

  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().kind, ErrorKind::kUnsupported);
}

TEST_F(AssemblerTest, MessageBeyondOneGibibyteIsRefusedUnread) {
  Start();
  const std::byte first{'I'};

  const Status added = assembler_->Add(std::span(&first, (size_t{1} << 30) + 1));

  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().kind, ErrorKind::kUnsupported);
}

TEST_F(AssemblerTest, ValueThatIsNoValueNamesTableAndColumnOnly) {
  ASSERT_TRUE(
      Feed(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"secret", "a"})})).has_value());

  const Status cut = assembler_->Cut();

  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().kind, ErrorKind::kMalformed);
  EXPECT_THAT(cut.error().message, HasSubstr("public.items, column id"));
  EXPECT_THAT(cut.error().message, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace freshet::postgres
