// Transactions that the server sends while they still run.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "postgres/assembler.h"
#include "postgres/assembler_fixture.h"
#include "postgres/spool.h"
#include "support/manual_clock.h"
#include "support/memory_file_system.h"

namespace freshet::postgres {
namespace {

using change::Lsn;
using change::Position;
using change::Transaction;
using test::BeginBytes;
using test::CommitBytes;
using test::InsertBytes;
using test::InStream;
using test::LogicalMessageBytes;
using test::MessageBytes;
using test::RelationBytes;
using test::StreamAbortBytes;
using test::StreamCommitBytes;
using test::StreamStartBytes;
using test::StreamStopBytes;
using test::TruncateBytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint32_t kXid = 700;
constexpr uint32_t kSub = 701;

/// One more column than Items() has.
pgoutput::Relation WiderItems() {
  pgoutput::Relation out = Items();
  out.columns.push_back({.name = "more", .type_oid = kText});
  return out;
}

/// A chunk of transaction `xid`: each message with the part of the transaction it belongs to.
std::vector<MessageBytes> Chunk(uint32_t xid, bool first,
                                const std::vector<std::pair<uint32_t, MessageBytes>>& messages) {
  std::vector<MessageBytes> out = {StreamStartBytes(xid, first)};
  for (const auto& [part, message] : messages) out.push_back(InStream(part, message));
  out.push_back(StreamStopBytes());
  return out;
}

class AssemblerStreamingTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }

  void Start(AssemblerLimits limits = {}, Position resume = {},
             std::optional<Transaction> open = {}, int64_t memory_bytes = 1 << 20) {
    assembler_.reset();
    auto spool = Spool::Create(fs_, clock_, {.folder = "spool", .memory_bytes = memory_bytes});
    ASSERT_TRUE(spool.has_value()) << spool.error();
    spool_ = *std::move(spool);
    assembler_.emplace(limits, schemas_, resume, std::move(open), spool_.get());
  }

  Status Feed(const std::vector<MessageBytes>& messages) {
    for (const MessageBytes& message : messages) {
      FRESHET_RETURN_IF_ERROR(assembler_->Add(message));
      Take();
      while (assembler_->replaying()) {
        FRESHET_RETURN_IF_ERROR(assembler_->Replay());
        Take();
      }
    }
    return {};
  }

  void Take() {
    while (auto batch = assembler_->Take()) taken_.push_back(std::move(batch));
  }

  /// Feeds `messages`, cuts, and returns the batches finished since the last call.
  std::vector<BatchPtr> Batches(const std::vector<MessageBytes>& messages) {
    const Status fed = Feed(messages);
    EXPECT_TRUE(fed.has_value()) << fed.error();
    const Status cut = assembler_->Cut();
    EXPECT_TRUE(cut.has_value()) << cut.error();
    Take();
    return std::exchange(taken_, {});
  }

  test::MemoryFileSystem fs_;
  test::ManualClock clock_;
  test::MessageSchemaSource schemas_;
  std::unique_ptr<Spool> spool_;
  std::optional<Assembler> assembler_;
  std::vector<BatchPtr> taken_;
};

TEST_F(AssemblerStreamingTest, ARunningTransactionIsSeenAtItsCommitOnly) {
  EXPECT_THAT(
      Batches(Chunk(kXid, true,
                    {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "a"})}})),
      IsEmpty());
  EXPECT_TRUE(assembler_->idle());  // its commit comes after everything received so far
  EXPECT_THAT(Batches(Chunk(kXid, false,
                            {{kXid, InsertBytes(kItems, {"2", "b"})},
                             {kXid, LogicalMessageBytes(true, 90, "p", "c")},
                             {kXid, TruncateBytes({kItems})}})),
              IsEmpty());

  const auto batches = Batches({StreamCommitBytes(kXid, 100, 120, 5)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 0/1 insert 2 | b",
                                              "items 0/3 truncate NULL | NULL"));
  ASSERT_THAT(batches[0]->messages, SizeIs(1));
  EXPECT_EQ(batches[0]->messages[0].ordinal, 2);
  const Transaction& transaction = batches[0]->transactions.at(0);
  EXPECT_EQ(transaction.xid, change::Xid{kXid});
  EXPECT_EQ(transaction.commit_lsn, Lsn{100});
  EXPECT_EQ(transaction.end_lsn, Lsn{120});
  EXPECT_EQ(transaction.commit_time, 946'684'800'000'005);
  EXPECT_EQ(assembler_->received_end(), Lsn{120});
  EXPECT_TRUE(assembler_->idle());
}

TEST_F(AssemblerStreamingTest, OthersCommitBetweenItsChunks) {
  const auto batches = Batches(
      Chunk(kXid, true,
            {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "long"})}}) +
      Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"2", "short"})}) +
      Chunk(800, true, {{800, RelationBytes(Items())}, {800, InsertBytes(kItems, {"3", "x"})}}) +
      Chunk(kXid, false, {{kXid, InsertBytes(kItems, {"4", "long"})}}) +
      std::vector<MessageBytes>{StreamCommitBytes(800, 200, 220),
                                StreamCommitBytes(kXid, 300, 320)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 2 | short", "items 1/0 insert 3 | x",
                          "items 2/0 insert 1 | long", "items 2/1 insert 4 | long"));
}

TEST_F(AssemblerStreamingTest, AnAbortedTransactionLeavesNoTrace) {
  const auto batches = Batches(
      Chunk(kXid, true, {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "a"})}}) +
      std::vector<MessageBytes>{StreamAbortBytes(kXid, kXid)} +
      Whole(100, {RelationBytes(Items()), InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(batches[0]->transactions, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 2 | b"));
  EXPECT_EQ(spool_->figures().bytes, 0);
}

/// Ordinals count what is left, as they do when the server sends the transaction after its commit.
TEST_F(AssemblerStreamingTest, AnAbortedSubtransactionIsLeftOutAndNotCounted) {
  const auto batches =
      Batches(Chunk(kXid, true,
                    {{kXid, RelationBytes(Items())},
                     {kXid, InsertBytes(kItems, {"1", "a"})},
                     {kSub, InsertBytes(kItems, {"2", "gone"})}}) +
              std::vector<MessageBytes>{StreamAbortBytes(kXid, kSub)} +
              Chunk(kXid, false,
                    {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"3", "c"})}}) +
              std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 0/1 insert 3 | c"));
}

/// What a rolled back subtransaction did to the table goes with it.
/// The server names the transaction as theirs, not the savepoint, so they cannot be left out.
TEST_F(AssemblerStreamingTest, MessagesBeforeAnAbortedSubtransactionAreLeftToTheServer) {
  const auto add = [&](const std::vector<MessageBytes>& messages) {
    Status status;
    for (const MessageBytes& message : messages) {
      status = assembler_->Add(message);
      if (!status.has_value()) break;
    }
    return status;
  };
  ASSERT_TRUE(add(Chunk(kXid, true, {{kXid, LogicalMessageBytes(true, 90, "app", "rolled back")}}))
                  .has_value());

  const Status aborted = add({StreamAbortBytes(kXid, kSub)});

  ASSERT_FALSE(aborted.has_value());
  EXPECT_EQ(aborted.error().kind, ErrorKind::kNoSpace);
  EXPECT_TRUE(spool_->full());
}

/// So that they are the same when other tables are chosen before it is sent again.
TEST_F(AssemblerStreamingTest, OrdinalsCountWhatTheGateTurnedAway) {
  const MessageBytes turned_away{std::byte{'#'}, std::byte{2}};
  const auto batches =
      Batches(Chunk(kXid, true,
                    {{kXid, RelationBytes(Items())},
                     {kXid, InsertBytes(kItems, {"1", "a"})},
                     {kXid, turned_away},
                     {kXid, InsertBytes(kItems, {"2", "b"})}}) +
              std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)} +
              Whole(200, {RelationBytes(Items()), turned_away, InsertBytes(kItems, {"3", "c"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 0/3 insert 2 | b",
                                              "items 1/2 insert 3 | c"));
}

TEST_F(AssemblerStreamingTest, ATableAlteredInAnAbortedSubtransactionIsAsBefore) {
  const auto batches =
      Batches(Chunk(kXid, true,
                    {{kXid, RelationBytes(Items())},
                     {kXid, InsertBytes(kItems, {"1", "a"})},
                     {kSub, RelationBytes(WiderItems())},
                     {kSub, InsertBytes(kItems, {"2", "b", "wide"})}}) +
              std::vector<MessageBytes>{StreamAbortBytes(kXid, kSub)} +
              Chunk(kXid, false,
                    {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"3", "c"})}}) +
              std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 0/1 insert 3 | c"));
}

TEST_F(AssemblerStreamingTest, DescriptionsOfACommittedOneHoldForThoseAfterIt) {
  const auto batches = Batches(
      Chunk(kXid, true, {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "a"})}}) +
      std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)} +
      Whole(200, {InsertBytes(kItems, {"2", "b"})}));  // the server does not repeat itself

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 1 | a", "items 1/0 insert 2 | b"));
}

/// ALTER PUBLICATION needs no lock that a running transaction holds: the server may have described
/// the table anew to others meanwhile.
TEST_F(AssemblerStreamingTest, AnOlderDescriptionDoesNotOutliveItsTransaction) {
  const auto batches = Batches(
      Chunk(kXid, true, {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "a"})}}) +
      Whole(100, {RelationBytes(WiderItems()), InsertBytes(kItems, {"2", "b", "x"})}) +
      std::vector<MessageBytes>{StreamCommitBytes(kXid, 200, 220)} +
      Whole(300, {InsertBytes(kItems, {"3", "c", "y"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]),
              ElementsAre("items 0/0 insert 2 | b | x", "items 1/0 insert 1 | a",
                          "items 2/0 insert 3 | c | y"));
}

TEST_F(AssemblerStreamingTest, ALargeOneComesInPartsAndInSlices) {
  Start({.batch_rows = 100, .batch_bytes = 1 << 20}, {}, {}, 1'000);
  std::vector<std::pair<uint32_t, MessageBytes>> rows = {{kXid, RelationBytes(Items())}};
  for (int i = 0; i < 950; ++i) {
    rows.emplace_back(kXid, InsertBytes(kItems, {std::to_string(i), "x"}));
  }
  ASSERT_TRUE(Feed(Chunk(kXid, true, rows)).has_value());

  ASSERT_TRUE(assembler_->Add(StreamCommitBytes(kXid, 100, 120)).has_value());
  EXPECT_TRUE(assembler_->replaying());
  EXPECT_FALSE(assembler_->idle());
  Take();
  EXPECT_THAT(taken_, SizeIs(1));  // no more in memory at a time
  while (assembler_->replaying()) {
    ASSERT_TRUE(assembler_->Replay().has_value());
    const size_t before = taken_.size();
    Take();
    EXPECT_LE(taken_.size(), before + 1);
  }

  ASSERT_THAT(taken_, SizeIs(10));
  int64_t rows_taken = 0;
  for (size_t i = 0; i < taken_.size(); ++i) {
    const Transaction& part = taken_[i]->transactions.at(0);
    EXPECT_EQ(part.begins, i == 0);
    EXPECT_EQ(part.ends, i == 9);
    EXPECT_EQ(part.commit_lsn, Lsn{100});
    EXPECT_EQ(taken_[i]->tables.at(0).ordinals.front(), rows_taken);
    rows_taken += taken_[i]->num_rows();
  }
  EXPECT_EQ(rows_taken, 950);
  EXPECT_TRUE(assembler_->idle());
}

/// The log has its first changes; it may come back streamed or not.
TEST_F(AssemblerStreamingTest, ABrokenOffTransactionIsCompleted) {
  const Transaction open{.xid = change::Xid{kXid},
                         .commit_lsn = Lsn{100},
                         .end_lsn = {},
                         .origin = {},
                         .begins = true,
                         .ends = false};
  Start({}, Position{Lsn{50}, 2}, open);
  const auto batches = Batches(
      Chunk(kXid, true,
            {{kXid, RelationBytes(Items())},
             {kXid, InsertBytes(kItems, {"1", "a"})},
             {kSub, InsertBytes(kItems, {"9", "gone"})},
             {kXid, InsertBytes(kItems, {"2", "b"})},
             {kXid, InsertBytes(kItems, {"3", "c"})}}) +
      std::vector<MessageBytes>{StreamAbortBytes(kXid, kSub), StreamCommitBytes(kXid, 100, 120)});

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/2 insert 3 | c"));
  EXPECT_FALSE(batches[0]->transactions[0].begins);
}

TEST_F(AssemblerStreamingTest, WhatTheLogHasIsDroppedButItsDescriptionsCount) {
  Start({}, Position{Lsn{150}, 0});
  const auto batches = Batches(
      Chunk(kXid, true, {{kXid, RelationBytes(Items())}, {kXid, InsertBytes(kItems, {"1", "a"})}}) +
      std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)} +
      Whole(200, {InsertBytes(kItems, {"2", "b"})}));

  ASSERT_THAT(batches, SizeIs(1));
  EXPECT_THAT(Lines(*batches[0]), ElementsAre("items 0/0 insert 2 | b"));
}

TEST_F(AssemblerStreamingTest, AnEmptyOneLeavesNoBatch) {
  EXPECT_THAT(
      Batches(Chunk(kXid, true, {}) + std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)}),
      IsEmpty());
  EXPECT_EQ(assembler_->received_end(), Lsn{120});
}

TEST_F(AssemblerStreamingTest, ABrokenProtocolIsNamed) {
  const std::vector<std::vector<MessageBytes>> cases = {
      {StreamStartBytes(kXid, false)},  // never begun
      Chunk(kXid, true, {}) +
          std::vector<MessageBytes>{StreamStartBytes(kXid, true)},   // begun twice
      {StreamCommitBytes(kXid, 100, 120)},                           // never begun
      {BeginBytes(100, 7), StreamStartBytes(kXid, true)},            // inside another
      {BeginBytes(100, 7), StreamAbortBytes(kXid, kXid)},            // likewise
      {StreamStartBytes(kXid, true), BeginBytes(100, 7)},            // inside a chunk
      {StreamStartBytes(kXid, true), MessageBytes{std::byte{'I'}}},  // cut off
      Chunk(kXid, true, {{kXid, InsertBytes(1, {"1"})}}) +           // unknown table
          std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)},
      Chunk(kXid, true, {{kXid, LogicalMessageBytes(false, 90, "p", "c")}}) +  // out of place
          std::vector<MessageBytes>{StreamCommitBytes(kXid, 100, 120)},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    Start();
    const Status status = Feed(cases[i]);
    ASSERT_FALSE(status.has_value()) << i;
    EXPECT_EQ(status.error().kind, ErrorKind::kMalformed) << i;
  }
}

TEST_F(AssemblerStreamingTest, AnAbortOfWhatNeverCameIsNothing) {
  EXPECT_THAT(Batches({StreamAbortBytes(kXid, kXid), StreamAbortBytes(kXid, kSub)}), IsEmpty());
}

TEST_F(AssemblerStreamingTest, AFullSpoolIsNoSpace) {
  auto spool = Spool::Create(fs_, clock_, {.folder = "spool", .budget_bytes = 100});
  ASSERT_TRUE(spool.has_value());
  Assembler assembler({}, schemas_, {}, {}, spool->get());
  ASSERT_TRUE(assembler.Add(StreamStartBytes(kXid, true)).has_value());

  const Status status =
      assembler.Add(InStream(kXid, InsertBytes(kItems, {"1", std::string(200, 'x')})));

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kNoSpace);
}

/// Random transactions with savepoints, sent in one piece each after their commit, and in chunks
/// while they run: all that comes out is the same.
TEST_F(AssemblerStreamingTest, StreamedOrNotTheBatchesSayTheSame) {
  struct Running {
    uint32_t xid;
    uint32_t next_part;
    std::vector<uint32_t> parts;  ///< open savepoints, innermost last
    std::vector<std::pair<uint32_t, MessageBytes>> kept;
    std::vector<std::pair<uint32_t, MessageBytes>> unsent;
    bool streamed = false;
  };
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    const auto dice = [&](uint32_t sides) { return static_cast<uint32_t>(random() % sides); };
    std::vector<MessageBytes> plain;     // protocol 1
    std::vector<MessageBytes> streamed;  // protocol 2
    std::vector<Running> running;
    uint32_t next_xid = 1'000;
    uint64_t lsn = 1'000;
    int next_id = 0;
    const MessageBytes relation = RelationBytes(Items());
    const auto send = [&](Running& t) {
      if (t.unsent.empty()) return;
      std::vector<std::pair<uint32_t, MessageBytes>> chunk = {{t.unsent[0].first, relation}};
      chunk.insert(chunk.end(), t.unsent.begin(), t.unsent.end());
      streamed = streamed + Chunk(t.xid, !t.streamed, chunk);
      t.streamed = true;
      t.unsent.clear();
    };
    for (int step = 0; step < 400 || !running.empty(); ++step) {
      const bool more = step < 400;
      if (more && (running.empty() || (running.size() < 4 && dice(8) == 0))) {
        running.push_back({next_xid, next_xid + 1, {next_xid}, {}, {}, false});
        next_xid += 100;
      }
      const size_t which = dice(static_cast<uint32_t>(running.size()));
      Running& t = running[which];
      const uint32_t what = more ? dice(20) : 18;
      if (what < 11) {
        const std::string id = std::to_string(next_id++);
        const auto message = InsertBytes(kItems, {id, std::string(dice(30), 'v')});
        t.kept.emplace_back(t.parts.back(), message);
        t.unsent.emplace_back(t.parts.back(), message);
      } else if (what < 13 && t.next_part < t.xid + 100) {
        t.parts.push_back(t.next_part++);  // SAVEPOINT
      } else if (what < 15 && t.parts.size() > 1) {
        // ROLLBACK TO SAVEPOINT: what was sent is taken back, the rest is never sent.
        const uint32_t part = t.parts.back();
        t.parts.pop_back();
        std::erase_if(t.kept, [&](const auto& m) { return m.first == part; });
        if (dice(2) == 0) send(t);
        std::erase_if(t.unsent, [&](const auto& m) { return m.first == part; });
        if (t.streamed) streamed.push_back(StreamAbortBytes(t.xid, part));
      } else if (what < 17) {
        send(t);
      } else if (what == 17 && t.streamed) {  // ROLLBACK
        streamed.push_back(StreamAbortBytes(t.xid, t.xid));
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
      } else if (what >= 18) {  // COMMIT
        lsn += 100;
        std::vector<MessageBytes> whole = {relation};
        for (const auto& [part, message] : t.kept) whole.push_back(message);
        std::vector<MessageBytes> now = {BeginBytes(lsn, t.xid)};
        now = now + whole;
        now.push_back(CommitBytes(lsn, lsn + 20));
        plain = plain + now;
        if (t.streamed) {
          send(t);
          streamed.push_back(StreamCommitBytes(t.xid, lsn, lsn + 20));
        } else {
          streamed = streamed + now;
        }
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(which));
      }
    }
    const AssemblerLimits limits{.batch_rows = 7, .batch_bytes = 1 << 20};
    const auto lines_of = [&](const std::vector<MessageBytes>& messages) {
      Start(limits, {}, {}, dice(2) == 0 ? 1 : 1 << 20);
      std::vector<std::string> lines;
      for (const auto& batch : Batches(messages)) {
        for (const Transaction& transaction : batch->transactions) {
          lines.push_back(fmt::format("{} {} {} {}", transaction.xid.value, transaction.begins,
                                      transaction.ends, transaction.end_lsn.value));
        }
        for (std::string& line : Lines(*batch)) lines.push_back(std::move(line));
      }
      return lines;
    };
    const auto expected = lines_of(plain);
    EXPECT_GT(expected.size(), 50u);
    EXPECT_EQ(lines_of(streamed), expected) << "seed " << seed;
    EXPECT_EQ(spool_->figures().bytes, 0);
  }
}

}  // namespace
}  // namespace freshet::postgres
