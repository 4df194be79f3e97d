#include "log/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/batches.h"
#include "support/log_fixture.h"

namespace freshet::log {
namespace {

using change::Lsn;
using change::Position;
using test::BatchBuilder;
using test::LogTest;
using test::MakeItemsSchema;
using test::MemoryFileSystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

change::SourceIdentity Source(uint64_t system_id) {
  change::SourceIdentity source;
  source.system_id = system_id;
  source.database = "shop";
  source.database_oid = 16384;
  source.slot = "freshet";
  return source;
}

TEST_F(LogTest, NewLogIsEmptyAndHasAnId) {
  const auto log = Open();

  EXPECT_EQ(log->id().value.size(), 32U);
  EXPECT_EQ(log->source(), std::nullopt);
  EXPECT_EQ(log->stats().appended.offset, LogOffset{0});
  EXPECT_EQ(log->stats().segments, 1);
}

TEST_F(LogTest, AppendedBatchReachesAReaderBeforeItIsDurable) {
  const auto log = Open();
  auto reader = NewReader(*log);
  const auto batch = Items(100, {"1", "nut", "0.10"});

  Append(*log, batch);

  const LogEntry entry = NextEntry(*reader);
  EXPECT_EQ(entry.batch, batch);  // from memory: the very same
  EXPECT_EQ(entry.end.offset, LogOffset{1});
  EXPECT_EQ(entry.end.position, (Position{Lsn{100}, 0}));
  EXPECT_EQ(log->stats().durable.offset, LogOffset{0});
  EXPECT_EQ(log->Sync()->offset, LogOffset{1});
}

TEST_F(LogTest, EndMovesOnlyWithTheEndOfATransaction) {
  const auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));

  Append(*log, ItemsPart(200, true, false, {"2", "bolt", "0.20"}));
  EXPECT_EQ(log->stats().appended.offset, LogOffset{2});
  EXPECT_EQ(log->stats().appended.position, (Position{Lsn{100}, 0}));

  Append(*log, ItemsPart(200, false, true, {"3", "gear", "0.30"}));
  EXPECT_EQ(log->stats().appended.position, (Position{Lsn{200}, 0}));
}

TEST_F(LogTest, SecondLogInTheSameFolderIsRefused) {
  const auto log = Open();

  const auto second = Log::Open(fs_, clock_, options_);

  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
}

TEST_F(LogTest, SourceIsKeptAndAnotherSystemIsRefused) {
  auto log = Open();
  ASSERT_TRUE(log->SetSource(Source(7)).has_value());

  log = CrashAndOpen(std::move(log));

  EXPECT_EQ(log->source(), Source(7));
  change::SourceIdentity promoted = Source(7);
  promoted.timeline = 2;
  EXPECT_TRUE(log->SetSource(promoted).has_value());
  const auto other = log->SetSource(Source(8));
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().kind, ErrorKind::kGap);
}

TEST_F(LogTest, SchemasInForceSurviveAndTheNewestOfATableCounts) {
  auto log = Open();
  const auto wider = test::MakeSchema({"public", "items"},
                                      {test::MakeColumn("id", change::LogicalKind::kInt64, true),
                                       test::MakeColumn("note", change::LogicalKind::kText)},
                                      change::ReplicaIdentity::kDefault, items_->id().value);
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  Append(*log, BatchBuilder().Begin(200).Insert(wider, {"2", "new"}).Build());
  ASSERT_TRUE(log->Sync().has_value());

  for (int i = 0; i < 3; ++i) {  // carried from checkpoint to checkpoint
    log = CrashAndOpen(std::move(log));
    ASSERT_EQ(log->schemas().size(), 1U);
    EXPECT_EQ(*log->schemas()[0], *wider);
  }
  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10", "200: 2 | new"));
}

TEST_F(LogTest, BatchThatDoesNotFollowIsRefused) {
  const auto log = Open();
  Append(*log, Items(200, {"1", "nut", "0.10"}));

  EXPECT_FALSE(log->Append(Items(200, {"2", "nut", "0.10"})).has_value());
  EXPECT_FALSE(log->Append(ItemsPart(300, false, true, {"2", "nut", "0.10"})).has_value());
  EXPECT_FALSE(log->Append(std::make_shared<change::ChangeBatch>()).has_value());
  EXPECT_EQ(log->stats().appended.offset, LogOffset{1});
}

TEST_F(LogTest, PiecesOfSnapshotsFollowByTheirOrdinals) {
  const auto log = Open();
  const auto piece = [&](uint64_t end, int64_t n) {
    return test::BatchBuilder().Piece(end, n).Snapshot(items_, {"1", "nut", "0.10"}).Build();
  };
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  Append(*log, piece(100, 1));
  EXPECT_EQ(log->stats().appended.position, (change::Position{Lsn{100}, 1}));

  EXPECT_EQ(log->Append(piece(100, 1)).error().kind, ErrorKind::kFatal);
  EXPECT_EQ(log->Append(piece(90, 2)).error().kind, ErrorKind::kFatal);
  EXPECT_EQ(log->Append(Items(100, {"1", "nut", "0.10"})).error().kind, ErrorKind::kFatal);
  Append(*log, piece(100, 2));
  Append(*log, ItemsPart(200, true, false, {"2", "bolt", "0.20"}));
  EXPECT_EQ(log->stats().appended.position, (change::Position{Lsn{100}, 2}));
}

/// The log's end and its ledger are known again from checkpoints and from steps behind them,
/// however the records lie in segments and whatever the power failure left of the last one.
TEST_F(LogTest, SnapshotsGoOnWhereTheirRowsInTheLogEnd) {
  const change::TableId table = items_->id();
  const auto step = [&](int64_t n, change::SnapshotProgress progress) {
    return BatchBuilder()
        .Piece(100, n)
        .Snapshot(items_, {std::to_string(n), "nut", "0.10"})
        .Step(std::move(progress))
        .Build();
  };
  std::set<int64_t> ends;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    options_.path = fmt::format("log {}", seed);
    options_.segment_size.bytes = seed % 2 == 0 ? 1 : int64_t{1} << 20;
    auto log = Open();
    Append(*log, step(0, {.step = change::SnapshotStep::kWanted, .table = table}));
    Append(*log, step(1, {.step = change::SnapshotStep::kWanted, .table = {7}}));
    Append(*log, BatchBuilder().Piece(100, 2).Begun(items_, false).Build());
    for (int64_t n = 3; n <= 9; ++n) {
      Append(*log, step(n, {.step = change::SnapshotStep::kAdvanced,
                            .table = table,
                            .part = table,
                            .blocks = {{0, n}},
                            .part_rows = n}));
    }
    Append(*log, step(10, {.step = change::SnapshotStep::kFinished, .table = {7}}));
    ASSERT_TRUE(log->Sync().has_value());
    Append(*log, step(11, {.step = change::SnapshotStep::kFinished, .table = table}));
    EXPECT_TRUE(log->snapshots().unfinished().empty());

    log = CrashAndOpen(std::move(log), seed);
    const Position end = log->stats().appended.position;
    const auto snapshots = log->snapshots();
    log.reset();
    log = Open();

    EXPECT_EQ(end.commit_end, Lsn{100});
    EXPECT_EQ(snapshots.unfinished().size(), end.ordinal == 10 ? 1U : 0U);
    if (end.ordinal == 10) {
      EXPECT_THAT(snapshots.unfinished().at(table).parts.at(table).blocks,
                  ElementsAre(change::BlockRange{0, 9}));
    }
    EXPECT_EQ(log->snapshots(), snapshots);
    EXPECT_EQ(log->stats().appended.position, end);
    EXPECT_EQ(ReadTexts(*log).size(), static_cast<size_t>(end.ordinal));
    ends.insert(end.ordinal);
  }
  EXPECT_THAT(ends, ElementsAre(10, 11));
}

TEST_F(LogTest, FullDiskLosesNothingAndTheAppendMayBeRepeated) {
  auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  const int64_t used = log->stats().size_bytes;
  fs_.SetCapacity(used + 100);
  const auto batch = Items(200, {"2", "bolt", "0.20"});

  for (int i = 0; i < 2; ++i) {
    const auto full = log->Append(batch);
    ASSERT_FALSE(full.has_value());
    EXPECT_EQ(full.error().kind, ErrorKind::kNoSpace);
  }
  EXPECT_EQ(log->stats().appended.offset, LogOffset{1});

  fs_.SetCapacity(int64_t{1} << 30);
  Append(*log, batch);
  ASSERT_TRUE(log->Sync().has_value());
  log = CrashAndOpen(std::move(log));
  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10", "200: 2 | bolt | 0.20"));
}

TEST_F(LogTest, FullDiskWhileASegmentBeginsLosesNothing) {
  options_.segment_size.bytes = 1;  // the least there is
  auto log = Open();
  uint64_t lsn = 0;
  while (log->stats().size_bytes < 4096) Append(*log, Items(++lsn * 100, {"1", "nut", "0.10"}));
  fs_.SetCapacity(log->stats().size_bytes + 60);

  const auto full = log->Append(Items(++lsn * 100, {"2", "bolt", "0.20"}));
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().kind, ErrorKind::kNoSpace);
  EXPECT_EQ(log->stats().segments, 1);

  fs_.SetCapacity(int64_t{1} << 30);
  Append(*log, Items(lsn * 100, {"2", "bolt", "0.20"}));
  EXPECT_EQ(log->stats().segments, 2);
  ASSERT_TRUE(log->Sync().has_value());
  log = CrashAndOpen(std::move(log));
  EXPECT_EQ(ReadTexts(*log).size(), lsn);
}

TEST_F(LogTest, FailedSyncIsRepeatedUntilTheLogIsOpenedAgain) {
  const auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  fs_.FailNext(MemoryFileSystem::Operation::kSync);

  const auto first = log->Sync();
  const auto second = log->Sync();
  const auto append = log->Append(Items(200, {"2", "bolt", "0.20"}));

  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().kind, ErrorKind::kIo);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().message, first.error().message);
  EXPECT_FALSE(append.has_value());
  EXPECT_EQ(log->stats().durable.offset, LogOffset{0});
}

/// After a failed fsync the pages can be read but were never written. A log opened again says of
/// them that they are durable, so it has to make them so.
TEST_F(LogTest, WhatAFailedSyncLeftReadableIsDurableOnceOpenedAgain) {
  auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  fs_.FailNext(MemoryFileSystem::Operation::kSync);
  ASSERT_FALSE(log->Sync().has_value());

  log.reset();
  log = Open();
  ASSERT_EQ(log->stats().durable.position, (Position{Lsn{100}, 0}));

  log = CrashAndOpen(std::move(log));
  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10"));
}

TEST_F(LogTest, RestartsWithoutBatchesDoNotPileUpSegments) {
  auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  ASSERT_TRUE(log->Sync().has_value());

  for (int i = 0; i < 5; ++i) {
    log.reset();
    log = Open();
  }

  EXPECT_EQ(log->stats().segments, 2);
}

/// The schemas alone may be larger than a segment is to be.
TEST_F(LogTest, SegmentsThatBeginFullOfSchemasStillHoldBatchesAndOpenAgain) {
  options_.segment_size.bytes = 1;  // the least there is
  {
    const auto log = Open();
    BatchBuilder wide;
    wide.Begin(100);
    for (uint32_t id = 1; id <= 100; ++id) {
      wide.Insert(test::MakeSchema({"public", "t" + std::to_string(id)}, items_->columns(),
                                   change::ReplicaIdentity::kDefault, 20'000 + id),
                  {"1", "nut", "0.10"});
    }
    Append(*log, wide.Build());
  }

  for (uint64_t round = 1; round <= 3; ++round) {
    const auto log = Open();
    ASSERT_NE(log, nullptr);
    for (uint64_t i = 1; i <= 5; ++i) {
      Append(*log, Items(round * 1000 + i, {"1", "nut", "0.10"}));
    }
  }

  const auto log = Open();
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(ReadTexts(*log, 100).size(), 15U);
  EXPECT_LT(log->stats().segments, 8);
}

TEST_F(LogTest, CompressedLogIsSmallerAndReadsTheSame) {
  const std::string text(5000, 'x');
  for (const Compression compression :
       {Compression::kNone, Compression::kLz4, Compression::kZstd}) {
    options_.path = "log" + std::to_string(static_cast<int>(compression));
    options_.compression = compression;
    options_.memory_tail.bytes = 1;
    const auto log = Open();
    Append(*log, Items(100, {"1", text, "0.10"}));
    Append(*log, Items(200, {"2", "nut", "0.10"}));

    EXPECT_THAT(ReadTexts(*log),
                ElementsAre("100: 1 | " + text + " | 0.10", "200: 2 | nut | 0.10"));
    EXPECT_EQ(log->stats().appended_bytes_total > 5000, compression == Compression::kNone);
  }
}

TEST_F(LogTest, PositionAtATimeIsBeforeTheFirstCommitOfThatTimeOrLater) {
  options_.segment_size.bytes = 1;
  const auto log = Open();
  const UnixMicros noon = 1'700'000'000'000'000;
  for (int i = 1; i <= 40; ++i) {  // several segments; two transactions a batch
    auto batch = *BatchBuilder()
                      .Begin(static_cast<uint64_t>(i) * 100)
                      .Insert(items_, {"1", "nut", "0.10"})
                      .Begin(static_cast<uint64_t>(i) * 100 + 50)
                      .Insert(items_, {"2", "nut", "0.10"})
                      .Build();
    batch.transactions[0].commit_time = noon + i * 10;
    batch.transactions[1].commit_time = noon + i * 10 + 5;
    Append(*log, std::make_shared<change::ChangeBatch>(std::move(batch)));
  }
  ASSERT_GT(log->stats().segments, 3);

  EXPECT_EQ(log->PositionAt(noon)->commit_end, Lsn{0});
  EXPECT_EQ(log->PositionAt(noon + 10)->commit_end, Lsn{0});
  EXPECT_EQ(log->PositionAt(noon + 11)->commit_end, Lsn{100});
  EXPECT_EQ(log->PositionAt(noon + 200)->commit_end, Lsn{1950});
  EXPECT_EQ(log->PositionAt(noon + 201)->commit_end, Lsn{2000});
  EXPECT_EQ(log->PositionAt(noon + 9999)->commit_end, Lsn{4050});
}

}  // namespace
}  // namespace freshet::log
