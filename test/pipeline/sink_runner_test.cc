#include "pipeline/sink_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "support/batches.h"
#include "support/fake_log.h"
#include "support/fake_sink.h"
#include "support/manual_clock.h"

namespace freshet::pipeline {
namespace {

using test::BatchBuilder;
using test::FakeLog;
using test::FakeTarget;
using ::testing::ElementsAre;
using ::testing::Pair;

/// A runner on a fake log and target; the clock is turned by the test. Flushes as soon as the log
/// is drained unless told otherwise.
class SinkRunnerTest : public ::testing::Test {
 protected:
  ~SinkRunnerTest() override { Stop(); }

  void Start(std::chrono::microseconds interval = std::chrono::microseconds(0)) {
    SinkSpec spec;
    spec.options.name = "warehouse";
    spec.factory = std::make_shared<test::FakeFactory>(target_);
    spec.flush.interval = interval;
    spec.flush.rows = flush_rows_;
    spec.flush.snapshot_times = 4;
    runner_ = std::make_unique<SinkRunner>(spec, log_, ingest_, clock_);
    thread_ = std::jthread([this](std::stop_token stop) { result_ = runner_->Run(stop); });
  }

  void Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  void Append(std::shared_ptr<const change::ChangeBatch> batch) {
    ASSERT_TRUE(log_.Append(std::move(batch)).has_value());
  }

  std::shared_ptr<const change::ChangeBatch> Insert(uint64_t end_lsn) {
    return BatchBuilder().Begin(end_lsn).Insert(items_, {"1", "nut", "0.10"}).Build();
  }

  const std::shared_ptr<const change::TableSchema> items_ = test::MakeItemsSchema();
  test::ManualClock clock_;
  FakeLog log_;
  Ingest ingest_{log_, clock_};
  const std::shared_ptr<FakeTarget> target_ = std::make_shared<FakeTarget>();
  int64_t flush_rows_ = 100'000;
  std::unique_ptr<SinkRunner> runner_;
  Status result_;
  std::jthread thread_;
};

TEST_F(SinkRunnerTest, NewTargetGetsTheWholeLogAndItsPosition) {
  Append(Insert(100));
  Append(Insert(200));

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(200); });
  Stop();

  EXPECT_THAT(target_->transactions, ElementsAre(Pair(100, 1), Pair(200, 1)));
  EXPECT_EQ(target_->position->position.commit_end, change::Lsn{200});
  EXPECT_EQ(target_->position->source, change::SourceKey(test::FakeSource()));
}

TEST_F(SinkRunnerTest, WhatTheTargetHoldsInsideABatchIsNotWrittenAgain) {
  target_->position = sink::StoredPosition{.source = change::SourceKey(test::FakeSource()),
                                           .log_id = "another log",
                                           .log_offset = 99,
                                           .position = {change::Lsn{100}, 0}};
  Append(BatchBuilder()
             .Begin(100)
             .Insert(items_, {"1", "a", "1"})
             .Begin(200)
             .Insert(items_, {"2", "b", "2"})
             .Build());

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(200); });
  Stop();

  EXPECT_THAT(target_->transactions, ElementsAre(Pair(200, 1)));
}

TEST_F(SinkRunnerTest, TargetOfAnotherSourceIsRefused) {
  target_->position =
      sink::StoredPosition{.source = "8/other", .log_id = "", .log_offset = 0, .position = {}};

  Start();
  thread_.join();

  ASSERT_FALSE(result_.has_value());
  EXPECT_EQ(result_.error().kind, ErrorKind::kGap);
  EXPECT_THAT(result_.error().message, ::testing::HasSubstr("8/other"));
}

TEST_F(SinkRunnerTest, BrokenFlushIsRetriedAndNothingArrivesTwice) {
  target_->errors = {{"flush", {ErrorKind::kUnavailable, "gone"}},
                     {"write", {ErrorKind::kUnavailable, "gone"}}};
  Append(Insert(100));

  Start();
  for (int tries = 2; tries <= 3; ++tries) {
    while (runner_->status().retries_total < tries - 1) std::this_thread::yield();
    while (runner_->status().state == SinkState::kRetrying) {
      clock_.Advance(std::chrono::seconds(1));
      std::this_thread::yield();
    }
  }
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
  Stop();

  EXPECT_THAT(target_->transactions, ElementsAre(Pair(100, 1)));
  EXPECT_EQ(runner_->status().errors_by_kind["unavailable"], 2);
}

TEST_F(SinkRunnerTest, ErrorOnlyAnOperatorCanMendEndsAStart) {
  target_->errors = {{"open", {ErrorKind::kDenied, "no"}}};

  Start();
  thread_.join();

  EXPECT_EQ(result_.error().kind, ErrorKind::kDenied);
  EXPECT_EQ(runner_->status().state, SinkState::kFailed);
  EXPECT_FALSE(runner_->first_open().get().has_value());
}

TEST_F(SinkRunnerTest, NothingIsFlushedInsideATransaction) {
  Append(BatchBuilder().Part(300, true, false).Insert(items_, {"1", "a", "1"}).Build());

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 1; });
  Append(BatchBuilder().Part(300, false, true, 1).Insert(items_, {"2", "b", "2"}).Build());
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(300); });
  Stop();

  EXPECT_THAT(target_->calls,
              ElementsAre("open", "prepare public.items", "write", "write", "flush", "close"));
}

TEST_F(SinkRunnerTest, SnapshotIsFlushedOnlyOnceTheLogHasItForGood) {
  Append(BatchBuilder()
             .Begin(100, change::TransactionKind::kSnapshot)
             .Snapshot(items_, {"1", "a", "1"})
             .Build());
  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 1; });
  Stop();
  EXPECT_EQ(target_->Count("flush"), 0);

  ASSERT_TRUE(log_.Sync().has_value());
  Start();

  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
}

/// With a new log the tables are taken anew, and rows deleted meanwhile are in no change.
TEST_F(SinkRunnerTest, SnapshotTakenAnewReplacesWhatTheTargetHeld) {
  target_->position = sink::StoredPosition{.source = change::SourceKey(test::FakeSource()),
                                           .log_id = "another log",
                                           .log_offset = 99,
                                           .position = {change::Lsn{100}, 0}};
  const auto kind = change::TransactionKind::kSnapshot;
  Append(BatchBuilder().Part(300, true, false, 0, kind).Snapshot(items_, {"1", "a", "1"}).Build());
  Append(BatchBuilder().Part(300, false, true, 1, kind).Snapshot(items_, {"2", "b", "2"}).Build());
  Append(Insert(400));
  ASSERT_TRUE(log_.Sync().has_value());

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(400); });
  Stop();

  EXPECT_THAT(target_->images, ElementsAre("truncate public.items", "snapshot public.items",
                                           "snapshot public.items", "insert public.items"));
}

TEST_F(SinkRunnerTest, PieceIsFlushedOnlyOnceTheLogHasItForGood) {
  Append(Insert(100));
  Append(BatchBuilder().Piece(100, 1).Snapshot(items_, {"1", "a", "1"}).Build());
  Append(Insert(200));
  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 3; });
  Stop();
  EXPECT_EQ(target_->Count("flush"), 0);

  ASSERT_TRUE(log_.Sync().has_value());
  Start();

  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(200); });
}

TEST_F(SinkRunnerTest, SinkGoesOnBetweenPiecesBehindOneCommit) {
  target_->position = sink::StoredPosition{.source = change::SourceKey(test::FakeSource()),
                                           .log_id = log_.id().value,
                                           .log_offset = 2,
                                           .position = {change::Lsn{100}, 1}};
  Append(Insert(100));
  Append(BatchBuilder().Piece(100, 1).Snapshot(items_, {"1", "a", "1"}).Build());
  Append(BatchBuilder().Piece(100, 2).Build());
  Append(BatchBuilder().Piece(100, 3).Snapshot(items_, {"2", "b", "2"}).Build());
  ASSERT_TRUE(log_.Sync().has_value());

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.position->position.ordinal == 3; });
  Stop();

  EXPECT_THAT(target_->images, ElementsAre("snapshot public.items"));
  EXPECT_EQ(target_->position->position, (change::Position{change::Lsn{100}, 3}));
}

/// What a table's target must be emptied for when its rows begin to be read.
class BegunTest : public SinkRunnerTest {
 protected:
  /// Runs a sink whose target was at 100 in the log `log_id`, or is new, over a kBegun behind an
  /// insert that ends at 200. Returns the images it got.
  std::vector<std::string> Run(bool replaces, const std::string& log_id) {
    if (!log_id.empty()) {
      target_->position = sink::StoredPosition{.source = change::SourceKey(test::FakeSource()),
                                               .log_id = log_id,
                                               .log_offset = 0,
                                               .position = {change::Lsn{100}, 0}};
    }
    Append(before_);
    Append(BatchBuilder()
               .Piece(200, 1)
               .Begun(items_, replaces)
               .Snapshot(items_, {"1", "a", "1"})
               .Build());
    Append(BatchBuilder().Piece(200, 2).Snapshot(items_, {"2", "b", "2"}).Build());
    Append(BatchBuilder().Begin(300).Build());
    EXPECT_TRUE(log_.Sync().has_value());
    Start();
    runner_->Hurry({change::Lsn{300}, 0});
    target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(300); });
    Stop();
    return target_->images;
  }

  std::shared_ptr<const change::ChangeBatch> before_ = BatchBuilder().Begin(200).Build();
  const std::string own_log_ = log_.id().value;
};

TEST_F(BegunTest, NewTargetHasNothingToEmpty) {
  EXPECT_THAT(Run(true, ""), ElementsAre("snapshot public.items", "snapshot public.items"));
}

TEST_F(BegunTest, RowsOfTheSameSessionAreReplaced) {
  before_ = Insert(200);
  EXPECT_THAT(Run(true, ""), ElementsAre("insert public.items", "truncate public.items",
                                         "snapshot public.items", "snapshot public.items"));
}

TEST_F(BegunTest, RowsOfAnEarlierSessionAreReplaced) {
  EXPECT_THAT(Run(true, own_log_), ElementsAre("truncate public.items", "snapshot public.items",
                                               "snapshot public.items"));
}

TEST_F(BegunTest, RowsThatAreReadAgainWithoutReplacingStay) {
  EXPECT_THAT(Run(false, own_log_), ElementsAre("snapshot public.items", "snapshot public.items"));
}

/// With a new log the tables are taken anew, and rows deleted meanwhile are in no change.
TEST_F(BegunTest, RowsOfAnotherLogAreReplacedInAnyCase) {
  EXPECT_THAT(
      Run(false, "another log"),
      ElementsAre("truncate public.items", "snapshot public.items", "snapshot public.items"));
}

/// A table without rows is emptied all the same.
TEST_F(BegunTest, TableWithoutRowsIsEmptied) {
  target_->position = sink::StoredPosition{.source = change::SourceKey(test::FakeSource()),
                                           .log_id = own_log_,
                                           .log_offset = 0,
                                           .position = {change::Lsn{100}, 0}};
  Append(BatchBuilder().Piece(200, 1).Begun(items_, true).Build());
  ASSERT_TRUE(log_.Sync().has_value());

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(200); });
  Stop();

  EXPECT_THAT(target_->images, ElementsAre("truncate public.items"));
}

TEST_F(SinkRunnerTest, TargetThatCouldBeOpenedIsWaitedForHoweverLateItFails) {
  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.Count("open") == 1; });
  while (runner_->status().state != SinkState::kRunning) std::this_thread::yield();
  clock_.Advance(2 * kStartGrace);
  {
    const std::lock_guard lock(target_->mutex);
    target_->errors = {{"flush", {ErrorKind::kUnavailable, "gone"}}};
  }
  Append(Insert(100));

  while (runner_->status().retries_total == 0) std::this_thread::yield();
  while (runner_->status().state == SinkState::kRetrying) {
    clock_.Advance(std::chrono::seconds(1));
    std::this_thread::yield();
  }

  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
}

/// Nobody waits for the position of WAL without changes: it says nothing of latency.
TEST_F(SinkRunnerTest, PositionsWithoutChangesAreNotMeasured) {
  Append(BatchBuilder().Begin(100).Build());

  Start();
  runner_->Hurry({change::Lsn{100}, 0});
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
  Stop();

  EXPECT_EQ(runner_->status().latency.count, 0);
}

TEST_F(SinkRunnerTest, StopInsideATransactionDropsItsParts) {
  Append(BatchBuilder().Part(300, true, false).Insert(items_, {"1", "a", "1"}).Build());
  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 1; });

  Stop();

  EXPECT_EQ(target_->Count("flush"), 0);
  EXPECT_FALSE(target_->position.has_value());
}

TEST_F(SinkRunnerTest, ChangesWaitForTheFlushInterval) {
  Start(std::chrono::seconds(5));
  Append(Insert(100));
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 1; });
  EXPECT_EQ(target_->Count("flush"), 0);

  clock_.Advance(std::chrono::seconds(5));

  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
}

TEST_F(SinkRunnerTest, LimitsAreLargerWhileOnlyRowsOfSnapshotsWait) {
  flush_rows_ = 2;
  Append(Insert(100));
  Append(Insert(200));
  for (int64_t n = 1; n <= 7; ++n) {
    Append(BatchBuilder().Piece(200, n).Snapshot(items_, {std::to_string(n), "a", "1"}).Build());
  }
  ASSERT_TRUE(log_.Sync().has_value());

  Start(std::chrono::seconds(5));

  target_->WaitFor(
      [](const FakeTarget& t) { return t.position && t.position->position.ordinal == 7; });
  EXPECT_EQ(target_->Count("flush"),
            2);  // of the stream's rows, and of the others at the log's end
}

TEST_F(SinkRunnerTest, HurryFlushesWithoutTheInterval) {
  Start(std::chrono::hours(1));
  Append(Insert(100));
  target_->WaitFor([](const FakeTarget& t) { return t.Count("write") == 1; });

  runner_->Hurry({change::Lsn{100}, 0});

  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
}

/// Under steady traffic there is always more to read.
TEST_F(SinkRunnerTest, HurriedSinkDoesNotWaitForTheLogToRunDry) {
  constexpr uint64_t kLast = 1'000'000;
  for (uint64_t end = 100; end <= kLast; end += 100) Append(Insert(end));

  Start(std::chrono::hours(1));
  runner_->Hurry({change::Lsn{100}, 0});

  target_->WaitFor([&](const FakeTarget& t) { return t.transactions.contains(kLast); });
  Stop();
  EXPECT_GT(target_->Count("flush"), 1);
}

TEST_F(SinkRunnerTest, RowsAndTablesAreCountedOnceDurable) {
  Append(Insert(100));

  Start();
  target_->WaitFor([](const FakeTarget& t) { return t.transactions.contains(100); });
  Stop();

  const SinkStatus status = runner_->status();
  EXPECT_EQ(status.rows_total, 1);
  EXPECT_EQ(status.transactions_total, 1);
  ASSERT_EQ(status.tables.size(), 1U);
  EXPECT_EQ(status.tables[0].rows, 1);
  EXPECT_EQ(status.latency.count, 1);
  EXPECT_EQ(runner_->needed(), log::LogOffset{1});
}

TEST(SplitByTableVersionTest, EveryPartHoldsOneVersionOfATable) {
  const auto v1 = test::MakeItemsSchema();
  auto columns = v1->columns();
  columns.push_back(test::MakeColumn("color", change::LogicalKind::kText));
  const auto v2 =
      test::MakeSchema(v1->name(), columns, change::ReplicaIdentity::kDefault, v1->id().value);
  const auto batch = BatchBuilder()
                         .Begin(100)
                         .Insert(v1, {"1", "a", "1"})
                         .Insert(v2, {"2", "b", "2", "red"})
                         .Build();

  const auto parts = SplitByTableVersion(batch);

  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(*parts[0]->tables[0].schema, *v1);
  EXPECT_EQ(*parts[1]->tables[0].schema, *v2);
  EXPECT_EQ(parts[1]->transactions.size(), 1U);
}

TEST(SplitByTableVersionTest, OrdinaryBatchIsNotCopied) {
  const auto batch =
      BatchBuilder().Begin(100).Insert(test::MakeItemsSchema(), {"1", "a", "1"}).Build();

  EXPECT_EQ(SplitByTableVersion(batch).front(), batch);
}

}  // namespace
}  // namespace freshet::pipeline
