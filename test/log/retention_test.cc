#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "log/segment_reader.h"
#include "support/batches.h"
#include "support/log_fixture.h"

namespace freshet::log {
namespace {

using change::Lsn;
using change::Position;
using test::LogTest;
using testing::IsEmpty;

class RetentionTest : public LogTest {
 protected:
  RetentionTest() {
    options_.segment_size.bytes = 1;  // the least there is
    options_.retention = std::chrono::hours(1);
  }

  /// Appends `count` transactions behind the last one.
  void Fill(Log& log, int count) {
    for (int i = 0; i < count; ++i) Append(log, Items(++lsn_ * 100, {"1", "nut", "0.10"}));
  }

  uint64_t lsn_ = 0;
};

TEST_F(RetentionTest, YoungLogWithinItsBudgetKeepsEverything) {
  const auto log = Open();
  Fill(*log, 40);
  const int64_t segments = log->stats().segments;

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  EXPECT_EQ(log->stats().segments, segments);
}

TEST_F(RetentionTest, OldSegmentsGoAndTheStartSaysWhereReadersCanBegin) {
  const auto log = Open();
  Fill(*log, 40);
  clock_.Advance(std::chrono::hours(2));
  Fill(*log, 40);

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  const LogEnd start = log->stats().start;
  EXPECT_GT(start.offset.value, 25);
  EXPECT_LE(start.offset.value, 40);
  EXPECT_EQ(std::ssize(ReadTexts(*log, start.position.commit_end.value)), 80 - start.offset.value);
  EXPECT_EQ(std::ssize(*ListSegments(fs_, options_.path)), log->stats().segments);
}

TEST_F(RetentionTest, WhatASinkNeedsStaysHoweverOldOrBig) {
  options_.budget.bytes = 10'000;
  const auto log = Open();
  const auto reader = NewReader(*log);
  Fill(*log, 40);
  clock_.Advance(std::chrono::hours(2));

  ASSERT_TRUE(log->Retain(reader->next()).has_value());

  EXPECT_EQ(Drain(*reader).size(), 40U);
  EXPECT_TRUE(log->stats().over_budget);
  EXPECT_TRUE(log->ShouldPause());
}

TEST_F(RetentionTest, FullLogMakesRoomOnceNobodyNeedsIt) {
  options_.budget.bytes = 10'000;
  const auto log = Open();
  Fill(*log, 40);
  ASSERT_TRUE(log->ShouldPause());

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  EXPECT_FALSE(log->ShouldPause());
  EXPECT_LT(log->stats().size_bytes, 10'000);
}

/// A budget below one segment must not end in a pause for ever.
TEST_F(RetentionTest, FullLogOfOneSegmentMakesRoomToo) {
  options_.budget.bytes = 2'000;
  const auto log = Open();
  Fill(*log, 4);
  ASSERT_EQ(log->stats().segments, 1);
  ASSERT_TRUE(log->ShouldPause());

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  EXPECT_FALSE(log->ShouldPause());
}

TEST_F(RetentionTest, TransactionUnderWayIsWrittenWholeWhateverTheBudget) {
  options_.budget.bytes = 2'000;
  const auto log = Open();
  for (int i = 0; i < 10; ++i) {
    Append(*log, ItemsPart(900, i == 0, i == 9, {"1", "nut", "0.10"}));
    EXPECT_EQ(log->ShouldPause(), i == 9);
  }
  EXPECT_TRUE(log->stats().over_budget);
}

/// A log begins between transactions, so that whoever starts at its start reads whole ones.
TEST_F(RetentionTest, SegmentsThatShareATransactionGoTogether) {
  const auto log = Open();
  for (int i = 0; i < 40; ++i) {
    Append(*log, ItemsPart(900, i == 0, i == 39, {"1", "nut", "0.10"}));
  }
  const int64_t segments = log->stats().segments;
  ASSERT_GT(segments, 3);
  clock_.Advance(std::chrono::hours(2));

  ASSERT_TRUE(log->Retain(LogOffset{39}).has_value());
  EXPECT_EQ(log->stats().segments, segments);

  ASSERT_TRUE(log->Retain(LogOffset{40}).has_value());  // rolls the last one
  clock_.Advance(std::chrono::hours(2));
  ASSERT_TRUE(log->Retain(LogOffset{40}).has_value());
  EXPECT_EQ(log->stats().segments, 1);
  EXPECT_EQ(log->stats().start.position, (Position{Lsn{900}, 0}));
}

/// What is left of a run whose first segment went has no start to read from: it goes too.
TEST_F(RetentionTest, CrashWhileSegmentsThatShareATransactionGoIsMadeGood) {
  for (int64_t at = 0; at < 12; ++at) {
    fs_.Clear();
    auto log = Open();
    for (int i = 0; i < 40; ++i) {
      Append(*log, ItemsPart(900, i == 0, i == 39, {"1", "nut", "0.10"}));
    }
    ASSERT_TRUE(log->Retain(LogOffset{0}).has_value());
    Append(*log, Items(1000, {"2", "bolt", "0.20"}));
    ASSERT_TRUE(log->Sync().has_value());
    clock_.Advance(std::chrono::hours(2));
    ASSERT_TRUE(log->Retain(LogOffset{41}).has_value());  // rolls the last one
    clock_.Advance(std::chrono::hours(2));
    fs_.DieAfter(at);
    [[maybe_unused]] const Status dies = log->Retain(LogOffset{41});

    log = CrashAndOpen(std::move(log), static_cast<uint64_t>(at));

    ASSERT_NE(log, nullptr);
    EXPECT_EQ(log->stats().appended.position, (Position{Lsn{1000}, 0}));
    const auto start = log->stats().start.position.commit_end.value;
    EXPECT_THAT(start, testing::AnyOf(0U, 1000U)) << "died at " << at;
    EXPECT_EQ(std::ssize(ReadTexts(*log, start)), start == 0 ? 41 : 0);
  }
}

TEST_F(RetentionTest, AFullDiskDoesNotKeepOldSegmentsFromGoing) {
  const auto log = Open();
  Fill(*log, 40);
  ASSERT_TRUE(log->Sync().has_value());
  clock_.Advance(std::chrono::hours(2));
  fs_.SetCapacity(0);

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());
  EXPECT_EQ(log->stats().segments, 1);

  fs_.SetCapacity(int64_t{1} << 30);
  Fill(*log, 1);
  EXPECT_TRUE(log->Sync().has_value());
}

TEST_F(RetentionTest, QuietLogIsRolledWhenOldSoThatItsRowsDoNotStayForever) {
  const auto log = Open();
  Fill(*log, 2);
  clock_.Advance(std::chrono::hours(2));
  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());
  clock_.Advance(std::chrono::hours(2));

  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  EXPECT_EQ(log->stats().start.offset, LogOffset{2});
}

TEST_F(RetentionTest, PlaceBeforeTheStartIsAGap) {
  const auto log = Open();
  Fill(*log, 40);
  clock_.Advance(std::chrono::hours(2));
  Fill(*log, 20);
  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  const auto reader = log->NewReader({Lsn{100}, 0});
  const auto time = log->PositionAt(0);

  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().kind, ErrorKind::kGap);
  ASSERT_FALSE(time.has_value());
  EXPECT_EQ(time.error().kind, ErrorKind::kGap);
}

TEST_F(RetentionTest, ReaderWhoseNextSegmentWentIsToldOfTheGap) {
  options_.memory_tail.bytes = 1;
  const auto log = Open();
  const auto reader = NewReader(*log);
  Fill(*log, 40);
  NextEntry(*reader);
  clock_.Advance(std::chrono::hours(2));
  ASSERT_TRUE(log->Retain(log->stats().appended.offset).has_value());

  const auto next = reader->Next(std::chrono::nanoseconds(0), {});

  ASSERT_FALSE(next.has_value());
  EXPECT_EQ(next.error().kind, ErrorKind::kGap);
}

/// The file behind the reader goes, the one it needs next stays: that is no gap.
TEST_F(RetentionTest, ReaderAtTheEndOfADeletedSegmentGoesOnInTheNext) {
  options_.memory_tail.bytes = 1;
  const auto log = Open();
  const auto reader = NewReader(*log);
  Fill(*log, 1);
  while (log->stats().segments == 1) {
    NextEntry(*reader);
    Fill(*log, 1);
  }
  clock_.Advance(std::chrono::hours(2));
  ASSERT_TRUE(log->Retain(reader->next()).has_value());
  ASSERT_EQ(log->stats().segments, 1);
  Fill(*log, 1);

  EXPECT_EQ(Drain(*reader).size(), 2U);
}

TEST_F(RetentionTest, CrashWhileSegmentsAreDeletedLeavesNoHole) {
  for (int64_t at = 0; at < 8; ++at) {
    fs_.Clear();
    lsn_ = 0;
    auto log = Open();
    Fill(*log, 60);
    ASSERT_TRUE(log->Sync().has_value());
    clock_.Advance(std::chrono::hours(2));
    fs_.DieAfter(at);
    [[maybe_unused]] const Status dies = log->Retain(LogOffset{59});
    ASSERT_EQ(fs_.dead(), at < 6);

    log = CrashAndOpen(std::move(log), static_cast<uint64_t>(at));

    ASSERT_NE(log, nullptr);
    EXPECT_EQ(log->stats().appended.offset, LogOffset{60});
    const LogEnd start = log->stats().start;
    EXPECT_EQ(std::ssize(ReadTexts(*log, start.position.commit_end.value)),
              60 - start.offset.value);
  }
}

}  // namespace
}  // namespace freshet::log
