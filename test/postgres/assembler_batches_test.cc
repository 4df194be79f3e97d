// Where batches end, and where a stream goes on after a break.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "postgres/assembler.h"
#include "postgres/assembler_fixture.h"

namespace freshet::postgres {
namespace {

using AssemblerBatchesTest = AssemblerTest;
using change::Lsn;
using change::Position;
using change::Transaction;
using test::BeginBytes;
using test::CommitBytes;
using test::DeleteBytes;
using test::InsertBytes;
using test::LogicalMessageBytes;
using test::MessageBytes;
using test::NullField;
using test::RelationBytes;
using test::TruncateBytes;
using test::UpdateBytes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Transactions without changes.

TEST_F(AssemblerBatchesTest, EmptyTransactionsLeaveNoBatchButMoveTheEnd) {
  Start({}, Position{Lsn{50}, 0});

  EXPECT_THAT(Batches(Whole(100, {}) + Whole(200, {})), IsEmpty());

  EXPECT_EQ(assembler_->received_end(), Lsn{220});
  EXPECT_TRUE(assembler_->idle());
  EXPECT_EQ(assembler_->counters().transactions, 2);
}

TEST_F(AssemblerBatchesTest, OneEmptyTransactionIsEmittedWhenTheStreamWentFar) {
  Start({}, Position{Lsn{50}, 0});
  const uint64_t far = 50 + Assembler::kEmptyAdvanceBytes;

  const auto batches = Batches(Whole(100, {}) + Whole(far, {}));

  ASSERT_THAT(batches, SizeIs(1));
  ASSERT_THAT(batches[0]->transactions, SizeIs(1));
  EXPECT_EQ(batches[0]->transactions[0].end_lsn, Lsn{far + 20});
  EXPECT_EQ(batches[0]->num_rows(), 0);
  EXPECT_THAT(Batches(Whole(far + 100, {})), IsEmpty());
}

// Where batches end.

TEST_F(AssemblerBatchesTest, CutLeavesTheOpenTransactionForLater) {
  auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
              std::vector<MessageBytes>{BeginBytes(200, 8), InsertBytes(kItems, {"2", "b"}),
                                        LogicalMessageBytes(true, 190, "p", "c")});
  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a"));
  EXPECT_THAT(batches[0]->messages, IsEmpty());
  EXPECT_FALSE(assembler_->idle());

  EXPECT_THAT(Batches({InsertBytes(kItems, {"3", "c"})}), IsEmpty());
  batches = Batches({CommitBytes(200, 220)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 2 | b", "items 0/2 insert 3 | c"));
  EXPECT_THAT(batches[0]->messages, SizeIs(1));
  EXPECT_EQ(batches[0]->messages[0].transaction, 0);
}

TEST_F(AssemblerBatchesTest, BatchEndsByItselfAtTheRowLimit) {
  Start({.batch_rows = 3});
  ASSERT_TRUE(Feed(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"}),
                               InsertBytes(kItems, {"2", "a"})}) +
                   Whole(200, {InsertBytes(kItems, {"3", "a"}), InsertBytes(kItems, {"4", "a"})}))
                  .has_value());

  const BatchPtr batch = assembler_->Take();

  ASSERT_NE(batch, nullptr);
  EXPECT_THAT(batch->transactions, SizeIs(2));
  EXPECT_EQ(assembler_->Take(), nullptr);
}

TEST_F(AssemblerBatchesTest, TransactionBeyondTheLimitComesInParts) {
  Start({.batch_rows = 2});

  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
              Whole(200, {InsertBytes(kItems, {"2", "b"}), InsertBytes(kItems, {"3", "c"}),
                          InsertBytes(kItems, {"4", "d"})}) +
              Whole(300, {InsertBytes(kItems, {"5", "e"})}));

  ASSERT_THAT(batches, SizeIs(4));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a"));
  EXPECT_THAT(Lines(*batches[1]), ElementsAre("items 0/0 insert 2 | b", "items 0/1 insert 3 | c"));
  EXPECT_TRUE(batches[1]->transactions[0].begins);
  EXPECT_FALSE(batches[1]->transactions[0].ends);
  EXPECT_EQ(batches[1]->transactions[0].end_lsn, Lsn{});
  EXPECT_EQ(batches[1]->transactions[0].commit_lsn, Lsn{200});
  EXPECT_THAT(Lines(*batches[2]), ElementsAre("items 0/2 insert 4 | d"));
  EXPECT_FALSE(batches[2]->transactions[0].begins);
  EXPECT_TRUE(batches[2]->transactions[0].ends);
  EXPECT_EQ(batches[2]->transactions[0].end_lsn, Lsn{220});
  EXPECT_THAT(Lines(*batches[3]), ElementsAre("items 0/0 insert 5 | e"));
}

/// The last part may have nothing left to say but that the transaction ended.
TEST_F(AssemblerBatchesTest, TransactionThatEndsAtTheLimitClosesWithAnEmptyPart) {
  Start({.batch_rows = 1});

  const auto batches =
      Batches(Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}));

  ASSERT_THAT(batches, SizeIs(2));
  EXPECT_FALSE(batches[0]->ends_transaction());
  EXPECT_TRUE(batches[1]->ends_transaction());
  EXPECT_EQ(batches[1]->num_rows(), 0);
}

/// Messages of random transactions over three tables, one of which changes its columns.
std::vector<MessageBytes> RandomStream(uint32_t seed, int transactions) {
  std::mt19937 random(seed);
  auto wide = Items(3, "t3");
  std::vector<MessageBytes> out;
  for (int t = 1; t <= transactions; ++t) {
    std::vector<MessageBytes> changes;
    if (t == 1) {
      for (const uint32_t id : {1U, 2U}) {
        changes.push_back(RelationBytes(Items(id, fmt::format("t{}", id))));
      }
      changes.push_back(RelationBytes(wide));
    }
    for (auto n = random() % 40; n > 0; --n) {
      const uint32_t table = 1 + static_cast<uint32_t>(random() % 3);
      test::TupleFields row = {std::to_string(random() % 1000), std::string(random() % 300, 'x')};
      if (random() % 10 == 0) row[1] = NullField();
      if (table == 3) {
        for (size_t i = 2; i < wide.columns.size(); ++i) row.emplace_back("w");
      }
      test::TupleFields old = row;
      for (size_t i = 1; i < old.size(); ++i) old[i] = NullField();
      switch (random() % 6) {
        case 0:
          changes.push_back(UpdateBytes(table, 'K', old, row));
          break;
        case 1:
          changes.push_back(DeleteBytes(table, 'K', old));
          break;
        case 2:
          changes.push_back(LogicalMessageBytes(true, 1, "p", "content"));
          break;
        case 3:
          if (random() % 4 == 0) changes.push_back(TruncateBytes({1, 3}));
          if (random() % 8 == 0) {
            wide.columns.push_back(
                {.name = fmt::format("w{}", wide.columns.size()), .type_oid = kText});
            changes.push_back(RelationBytes(wide));
          }
          break;
        default:
          changes.push_back(InsertBytes(table, row));
      }
    }
    out = std::move(out) + Whole(static_cast<uint64_t>(t) * 1000, changes);
  }
  return out;
}

/// What a stream of batches says, independent of where they were cut: per transaction, its changes
/// by ordinal.
std::vector<std::string> Story(const std::vector<BatchPtr>& batches) {
  std::vector<std::string> story;
  for (const BatchPtr& batch : batches) {
    std::vector<std::vector<std::pair<int64_t, std::string>>> by_transaction(
        batch->transactions.size());
    for (const change::TableChanges& table : batch->tables) {
      const auto rows = test::RowTexts(*table.rows);
      for (size_t i = 0; i < rows.size(); ++i) {
        by_transaction[static_cast<size_t>(table.transactions[i])].emplace_back(
            table.ordinals[i], fmt::format("{} {} {}", table.schema->name().table,
                                           change::ChangeKindName(table.kinds[i]), rows[i]));
      }
    }
    for (const change::LogicalMessage& m : batch->messages) {
      by_transaction[static_cast<size_t>(m.transaction)].emplace_back(m.ordinal, m.content);
    }
    for (size_t t = 0; t < by_transaction.size(); ++t) {
      std::sort(by_transaction[t].begin(), by_transaction[t].end());
      const Transaction& transaction = batch->transactions[t];
      for (const auto& [ordinal, text] : by_transaction[t]) {
        story.push_back(fmt::format("{}+{} {}", transaction.commit_lsn.value, ordinal, text));
      }
      if (transaction.ends) story.push_back(fmt::format("end {}", transaction.end_lsn.value));
    }
  }
  return story;
}

/// Random limits and cuts change where batches end, never what they say.
TEST_F(AssemblerBatchesTest, PartsSayTheSameAsTheWhole) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const auto messages = RandomStream(seed, 30);
    Start({.batch_rows = 1'000'000});
    const auto whole = Story(Batches(messages));

    std::mt19937 random(seed);
    Start({.batch_rows = 1 + static_cast<int64_t>(random() % 50),
           .batch_bytes = 500 + static_cast<int64_t>(random() % 20'000)});
    std::vector<BatchPtr> batches;
    for (const MessageBytes& message : messages) {
      ASSERT_TRUE(assembler_->Add(message).has_value());
      if (random() % 20 == 0) {
        ASSERT_TRUE(assembler_->Cut().has_value());
      }
      while (auto batch = assembler_->Take()) batches.push_back(std::move(batch));
    }
    ASSERT_TRUE(assembler_->Cut().has_value());
    while (auto batch = assembler_->Take()) batches.push_back(std::move(batch));

    ASSERT_EQ(Story(batches), whole) << "seed " << seed;
    for (const BatchPtr& batch : batches) change::CheckInvariants(*batch);
  }
}

/// A transaction of several megabytes leaves the cache-sized path: a batch of its own, parts.
TEST_F(AssemblerBatchesTest, LargeTransactionStandsAlone) {
  std::vector<MessageBytes> changes;
  for (int i = 0; i < 3000; ++i) {
    changes.push_back(InsertBytes(kItems, {std::to_string(i), std::string(1000, 'x')}));
  }
  const auto messages = Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"1", "a"})}) +
                        Whole(200, changes) + Whole(300, {InsertBytes(kItems, {"1", "a"})});

  const auto unsplit = Batches(messages);
  Start({.batch_rows = 100'000, .batch_bytes = 1'500'000});
  const auto split = Batches(messages);

  ASSERT_THAT(unsplit, SizeIs(2));
  EXPECT_THAT(unsplit[0]->transactions, SizeIs(1));
  EXPECT_THAT(unsplit[1]->transactions, SizeIs(2));
  ASSERT_THAT(split, SizeIs(5));
  EXPECT_EQ(Story(split), Story(unsplit));
}

// Resume.

/// Where the log stands after `batches`, as its reader would compute it.
std::pair<Position, std::optional<Transaction>> PositionAfter(
    const std::vector<BatchPtr>& batches) {
  Position position;
  std::optional<Transaction> open;
  for (const BatchPtr& batch : batches) {
    const Transaction& last = batch->transactions.back();
    if (last.ends) {
      position = {last.end_lsn, 0};
      open.reset();
      continue;
    }
    if (batch->transactions.size() > 1) position.commit_end = batch->transactions.end()[-2].end_lsn;
    open = last;
    for (const auto& table : batch->tables) {
      for (const int64_t ordinal : table.ordinals) {
        position.ordinal = std::max(position.ordinal, ordinal + 1);
      }
    }
    for (const auto& m : batch->messages)
      position.ordinal = std::max(position.ordinal, m.ordinal + 1);
  }
  return {position, open};
}

/// Breaking off after any batch and beginning the stream anew yields exactly the rest.
TEST_F(AssemblerBatchesTest, ResumeAnywhereGivesTheIdenticalTail) {
  const auto messages = RandomStream(77, 12);
  const AssemblerLimits limits{.batch_rows = 7};
  Start(limits);
  const auto all = Batches(messages);
  ASSERT_GT(all.size(), 20U);

  for (size_t taken = 0; taken <= all.size(); ++taken) {
    const std::vector<BatchPtr> log(all.begin(), all.begin() + static_cast<int64_t>(taken));
    const auto [position, open] = PositionAfter(log);
    Start(limits, position, open);
    const auto rest = Batches(messages);

    std::vector<std::string> story = Story(log);
    const auto tail = Story(rest);
    story.insert(story.end(), tail.begin(), tail.end());
    ASSERT_EQ(story, Story(all)) << "after " << taken << " batches, " << ToString(position);
    for (const BatchPtr& batch : rest) {
      change::CheckInvariants(*batch);
      const bool goes_on = open.has_value() && batch == rest.front();
      EXPECT_TRUE(!goes_on || !batch->transactions[0].begins);
    }
  }
}

TEST_F(AssemblerBatchesTest, SinkThatDropsWhatItHasSeesTheTail) {
  const auto all = Batches(RandomStream(5, 10));
  ASSERT_THAT(all, SizeIs(1));
  const Lsn third = all[0]->transactions[2].end_lsn;

  const auto rest = change::DropApplied(all[0], Position{third, 0});

  const auto whole = Story(all);
  const auto tail = Story({rest});
  const auto end = std::find(whole.begin(), whole.end(), fmt::format("end {}", third.value));
  EXPECT_EQ(tail, std::vector<std::string>(end + 1, whole.end()));
}

/// The transaction 7, left open in the log.
Transaction OpenOne() {
  return {.xid = {7}, .commit_lsn = {100}, .end_lsn = {}, .origin = "", .ends = false};
}

TEST_F(AssemblerBatchesTest, AnotherTransactionThanTheOpenOneIsAGap) {
  Start({}, Position{Lsn{50}, 3}, OpenOne());

  const Status fed = Feed({BeginBytes(100, 8)});

  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().kind, ErrorKind::kGap);
}

TEST_F(AssemblerBatchesTest, OpenTransactionThatCameShorterIsAGap) {
  Start({}, Position{Lsn{50}, 3}, OpenOne());

  const Status fed = Feed({BeginBytes(100, 7), RelationBytes(Items()),
                           InsertBytes(kItems, {"1", "a"}), CommitBytes(100, 120)});

  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().kind, ErrorKind::kGap);
}

/// Keepalives may pass by before its rest comes. Their positions stand inside it, so none of them
/// may become one of the log.
TEST_F(AssemblerBatchesTest, NothingIsIdleUntilTheOpenTransactionHasCome) {
  Start({}, Position{Lsn{50}, 1}, OpenOne());
  ASSERT_TRUE(Feed(Whole(60, {})).has_value());
  EXPECT_FALSE(assembler_->idle());

  const auto batches = Batches({BeginBytes(100, 7), RelationBytes(Items()),
                                InsertBytes(kItems, {"1", "a"}), CommitBytes(100, 120)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_TRUE(assembler_->idle());
}

TEST_F(AssemblerBatchesTest, EmptyTransactionsBeforeTheOpenOneAreNoGap) {
  Start({}, Position{Lsn{50}, 1}, OpenOne());

  const auto batches =
      Batches(Whole(60, {}) +
              std::vector<MessageBytes>{LogicalMessageBytes(false, 90, "p", "in the log already"),
                                        BeginBytes(100, 7), RelationBytes(Items()),
                                        InsertBytes(kItems, {"1", "a"}), CommitBytes(100, 120)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_EQ(batches[0]->num_rows(), 0);
  EXPECT_FALSE(batches[0]->transactions[0].begins);
}

}  // namespace
}  // namespace freshet::postgres
