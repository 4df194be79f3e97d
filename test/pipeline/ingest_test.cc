#include "pipeline/ingest.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/batches.h"
#include "support/fake_log.h"
#include "support/manual_clock.h"

namespace freshet::pipeline {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using test::BatchBuilder;
using test::FakeLog;

class IngestTest : public ::testing::Test {
 protected:
  ~IngestTest() override { Finish(); }

  void StartLogThread() {
    log_thread_ = std::jthread([this](std::stop_token stop) {
      result_ = ingest_.WriteLog([this] { return needed_.load(); }, stop);
    });
  }

  void Finish() {
    ingest_.Close();
    if (log_thread_.joinable()) log_thread_.join();
  }

  std::shared_ptr<const change::ChangeBatch> Insert(uint64_t end_lsn) {
    return BatchBuilder().Begin(end_lsn).Insert(items_, {"1", "nut", "0.10"}).Build();
  }

  bool OfferNow(const std::shared_ptr<const change::ChangeBatch>& batch) {
    return ingest_.Offer(batch, nanoseconds(0)).value();
  }

  const std::shared_ptr<const change::TableSchema> items_ = test::MakeItemsSchema();
  test::ManualClock clock_;
  FakeLog log_;
  Ingest ingest_{log_, clock_};
  std::atomic<log::LogOffset> needed_{};
  Status result_;
  std::jthread log_thread_;
};

TEST_F(IngestTest, OfferedIsNotDurableBeforeTheLogHasIt) {
  ASSERT_TRUE(OfferNow(Insert(100)));
  EXPECT_EQ(ingest_.Durable(), change::Position{});

  StartLogThread();
  Finish();

  EXPECT_EQ(ingest_.Durable().commit_end, change::Lsn{100});
}

TEST_F(IngestTest, FullQueueTakesNothingAndForgetsNothing) {
  uint64_t offered = 0;
  while (OfferNow(Insert(100 * (offered + 1)))) ++offered;

  EXPECT_EQ(ingest_.resume_point().appended.commit_end, change::Lsn{100 * offered});
}

TEST_F(IngestTest, CaptureGoesOnInsideAnOpenTransaction) {
  ASSERT_TRUE(OfferNow(Insert(100)));
  ASSERT_TRUE(
      OfferNow(BatchBuilder().Part(300, true, false).Insert(items_, {"1", "a", "1"}).Build()));
  ASSERT_TRUE(
      OfferNow(BatchBuilder().Part(300, false, false, 1).Insert(items_, {"2", "b", "2"}).Build()));

  const auto resume = ingest_.resume_point();

  EXPECT_EQ(resume.appended, (change::Position{change::Lsn{100}, 2}));
  EXPECT_EQ(resume.open->commit_lsn, change::Lsn{292});
  EXPECT_FALSE(ingest_.snapshot_is_open());
}

TEST_F(IngestTest, CaptureGoesOnBehindThePiecesOfASnapshot) {
  ASSERT_TRUE(OfferNow(Insert(100)));
  ASSERT_TRUE(OfferNow(BatchBuilder().Piece(100, 1).Begun(items_, true).Build()));
  ASSERT_TRUE(OfferNow(BatchBuilder().Piece(100, 2).Snapshot(items_, {"1", "a", "1"}).Build()));

  EXPECT_EQ(ingest_.resume_point().appended, (change::Position{change::Lsn{100}, 2}));
  EXPECT_TRUE(ingest_.resume_point().snapshots.unfinished().at(items_->id()).replaces);

  // An open transaction's changes are counted from none, whatever pieces stand before it.
  ASSERT_TRUE(
      OfferNow(BatchBuilder().Part(300, true, false).Insert(items_, {"2", "b", "2"}).Build()));
  EXPECT_EQ(ingest_.resume_point().appended, (change::Position{change::Lsn{100}, 1}));
}

TEST_F(IngestTest, SnapshotsAreDoneOnceTheirEndIsDurable) {
  const auto step = [&](int64_t n, change::SnapshotStep kind) {
    return BatchBuilder().Piece(100, n).Step({.step = kind, .table = items_->id()}).Build();
  };
  EXPECT_TRUE(ingest_.SnapshotsAreDone());
  ASSERT_TRUE(OfferNow(step(1, change::SnapshotStep::kWanted)));
  EXPECT_FALSE(ingest_.SnapshotsAreDone());
  StartLogThread();
  while (ingest_.Durable().ordinal < 1) std::this_thread::yield();
  EXPECT_FALSE(ingest_.SnapshotsAreDone());

  ASSERT_TRUE(OfferNow(step(2, change::SnapshotStep::kFinished)));
  Finish();

  EXPECT_TRUE(ingest_.SnapshotsAreDone());
}

TEST_F(IngestTest, UnfinishedSnapshotIsKnown) {
  ASSERT_TRUE(OfferNow(BatchBuilder()
                           .Part(300, true, false, 0, change::TransactionKind::kSnapshot)
                           .Snapshot(items_, {"1", "a", "1"})
                           .Build()));
  EXPECT_TRUE(ingest_.snapshot_is_open());

  ASSERT_TRUE(OfferNow(BatchBuilder()
                           .Part(300, false, true, 1, change::TransactionKind::kSnapshot)
                           .Snapshot(items_, {"2", "b", "2"})
                           .Build()));
  EXPECT_FALSE(ingest_.snapshot_is_open());
}

TEST_F(IngestTest, FullDiskIsWaitedForAndSaid) {
  log_.FailAppend({ErrorKind::kNoSpace, "disk full"});
  ASSERT_TRUE(OfferNow(Insert(100)));

  StartLogThread();
  while (ingest_.blocked_reason().empty()) std::this_thread::yield();
  while (log_.stats().durable.offset.value == 0) {
    clock_.Advance(seconds(1));
    std::this_thread::yield();
  }
  Finish();

  EXPECT_TRUE(result_.has_value());
  EXPECT_EQ(ingest_.blocked_reason(), "");
}

TEST_F(IngestTest, DamagedLogEndsTheThread) {
  log_.FailAppend({ErrorKind::kCorrupt, "segment 3"});
  ASSERT_TRUE(OfferNow(Insert(100)));

  StartLogThread();
  log_thread_.join();

  EXPECT_EQ(result_.error().kind, ErrorKind::kCorrupt);
  EXPECT_FALSE(OfferNow(Insert(200)));
}

TEST_F(IngestTest, FullLogPausesUntilASinkCatchesUp) {
  log_.PauseUntilNeeded(log::LogOffset{1});
  ASSERT_TRUE(OfferNow(Insert(100)));
  StartLogThread();
  while (ingest_.blocked_reason().empty()) std::this_thread::yield();

  needed_ = log::LogOffset{1};
  while (!ingest_.blocked_reason().empty()) {
    clock_.Advance(seconds(1));
    std::this_thread::yield();
  }

  EXPECT_EQ(log_.retained(), log::LogOffset{1});
}

TEST(IngestOfANewLogTest, SinksWaitUntilTheSourceIsRecorded) {
  test::ManualClock clock;
  FakeLog log(false);
  Ingest ingest(log, clock);
  std::jthread log_thread([&](std::stop_token stop) {
    EXPECT_TRUE(ingest.WriteLog([] { return log::LogOffset{}; }, stop).has_value());
  });
  std::jthread waiter([&](std::stop_token stop) { EXPECT_TRUE(ingest.WaitForSource(stop)); });

  ASSERT_TRUE(ingest.SourceKnown(test::FakeSource()).has_value());
  waiter.join();
  ingest.Close();

  EXPECT_EQ(log.source(), test::FakeSource());
}

}  // namespace
}  // namespace freshet::pipeline
