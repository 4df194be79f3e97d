#include "log/log.h"

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
using testing::ElementsAre;
using testing::HasSubstr;

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

TEST_F(LogTest, WhatWasSyncedIsThereAfterAPowerLoss) {
  auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  Append(*log, Items(200, {"2", "bolt", "0.20"}));
  ASSERT_TRUE(log->Sync().has_value());
  const LogId id = log->id();

  log = CrashAndOpen(std::move(log));

  EXPECT_EQ(log->id(), id);
  EXPECT_EQ(log->stats().durable.position, (Position{Lsn{200}, 0}));
  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10", "200: 2 | bolt | 0.20"));
}

TEST_F(LogTest, ReaderOutsideOfTheMemoryTailReadsFromDiskWithoutGap) {
  options_.memory_tail.bytes = 1;
  const auto log = Open();
  auto reader = NewReader(*log);
  for (uint64_t i = 1; i <= 5; ++i) {
    Append(*log, Items(i * 100, {std::to_string(i), "nut", "0.10"}));
  }

  EXPECT_THAT(Drain(*reader),
              ElementsAre("100: 1 | nut | 0.10", "200: 2 | nut | 0.10", "300: 3 | nut | 0.10",
                          "400: 4 | nut | 0.10", "500: 5 | nut | 0.10"));
}

TEST_F(LogTest, SecondLogInTheSameFolderIsRefused) {
  const auto log = Open();

  const auto second = Log::Open(fs_, clock_, options_);

  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
}

}  // namespace
}  // namespace freshet::log
