#include "log/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "support/batches.h"
#include "support/log_fixture.h"

namespace freshet::log {
namespace {

using change::Lsn;
using change::Position;
using test::BatchBuilder;
using test::LogTest;
using testing::ElementsAre;
using testing::IsEmpty;

/// Long enough that a test which waits it out has failed anyway.
constexpr std::chrono::minutes kForever{10};

class ReaderTest : public LogTest {
 protected:
  /// Twenty transactions that end at 100, 200, ... in several segments, nothing kept in memory.
  std::unique_ptr<Log> WriteTwenty() {
    options_.segment_size.bytes = 1;
    options_.memory_tail.bytes = 1;
    auto log = Open();
    for (uint64_t i = 1; i <= 20; ++i) {
      Append(*log, Items(i * 100, {std::to_string(i), "nut", "0.10"}));
    }
    return log;
  }

  std::string Line(int i) { return fmt::format("{}: {} | nut | 0.10", i * 100, i); }
};

TEST_F(ReaderTest, ReaderOutsideOfTheMemoryTailReadsFromDiskWithoutGap) {
  options_.memory_tail.bytes = 1;
  const auto log = Open();
  const auto reader = NewReader(*log);
  for (int i = 1; i <= 5; ++i) {
    Append(*log, Items(static_cast<uint64_t>(i) * 100, {std::to_string(i), "nut", "0.10"}));
  }

  EXPECT_THAT(Drain(*reader), ElementsAre(Line(1), Line(2), Line(3), Line(4), Line(5)));
}

TEST_F(ReaderTest, ReaderChangesBetweenMemoryAndDiskAtEveryPlaceWithoutGap) {
  options_.segment_size.bytes = 1;
  options_.memory_tail.bytes = 3 * Items(100, {"1", "nut", "0.10"})->size_bytes();
  const auto log = Open();
  const auto reader = NewReader(*log);
  uint64_t appended = 0;
  uint64_t read = 0;
  for (const uint64_t burst : {1U, 2U, 3U, 4U, 1U, 9U, 2U, 30U, 1U, 3U}) {
    for (uint64_t i = 0; i < burst; ++i) {
      ++appended;
      Append(*log, Items(appended * 100, {std::to_string(appended), "nut", "0.10"}));
    }
    for (uint64_t i = 0; i < (burst + 2) / 2 && read < appended; ++i) {
      EXPECT_EQ(NextEntry(*reader).end.position.commit_end, Lsn{++read * 100});
      EXPECT_EQ(reader->next().value, static_cast<int64_t>(read));
    }
  }
  EXPECT_EQ(Drain(*reader).size(), appended - read);
}

TEST_F(ReaderTest, ReaderStartsBehindAnyPosition) {
  const auto log = WriteTwenty();

  for (const uint64_t after : {0U, 50U, 100U, 150U, 1000U, 1950U, 1999U, 2000U, 5000U}) {
    const auto texts = ReadTexts(*log, after);
    EXPECT_EQ(texts.size(), after >= 2000 ? 0 : 20 - after / 100) << "after " << after;
    if (!texts.empty()) {
      EXPECT_EQ(texts[0], Line(static_cast<int>(after / 100) + 1));
    }
  }
}

TEST_F(ReaderTest, ReaderStartsBetweenPiecesBehindOneCommit) {
  for (const int64_t segment_bytes : {int64_t{1}, int64_t{1} << 20}) {
    options_.path = fmt::format("log of {}", segment_bytes);
    options_.segment_size.bytes = segment_bytes;
    options_.memory_tail.bytes = 1;
    const auto log = Open();
    Append(*log, Items(100, {"0", "nut", "0.10"}));
    for (int64_t n = 1; n <= 5; ++n) {
      Append(*log,
             BatchBuilder().Piece(100, n).Snapshot(items_, {std::to_string(n), "p", "1"}).Build());
    }
    Append(*log, Items(200, {"9", "nut", "0.10"}));

    for (int64_t n = 0; n <= 5; ++n) {
      const auto reader = log->NewReader(Position{Lsn{100}, n});
      ASSERT_TRUE(reader.has_value()) << reader.error();
      EXPECT_EQ(Drain(**reader).size(), static_cast<size_t>(5 - n + 1));
    }
  }
}

TEST_F(ReaderTest, PositionInsideABatchLeavesOutItsFirstTransactions) {
  const auto log = Open();
  Append(*log, BatchBuilder()
                   .Begin(100)
                   .Insert(items_, {"1", "nut", "0.10"})
                   .Begin(200)
                   .Insert(items_, {"2", "nut", "0.10"})
                   .Build());

  EXPECT_THAT(ReadTexts(*log, 100), ElementsAre(Line(2)));
}

/// A sink that ran ahead of an fsync knows more than the log that lost it.
TEST_F(ReaderTest, PositionBehindTheEndSkipsWhatTheSourceSendsAgain) {
  const auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  const auto reader = NewReader(*log, 300);

  Append(*log, Items(200, {"2", "nut", "0.10"}));
  Append(*log, ItemsPart(300, true, false, {"3", "nut", "0.10"}));
  Append(*log, ItemsPart(300, false, true, {"3", "nut", "0.10"}));
  Append(*log, Items(400, {"4", "nut", "0.10"}));

  EXPECT_THAT(Drain(*reader), ElementsAre(Line(4)));
}

TEST_F(ReaderTest, ReaderStartsWithTheFirstPartOfATransactionOverSeveralSegments) {
  options_.segment_size.bytes = 1;
  options_.memory_tail.bytes = 1;
  const auto log = Open();
  Append(*log, Items(100, {"1", "nut", "0.10"}));
  for (int i = 0; i < 30; ++i) {
    Append(*log, ItemsPart(200, i == 0, i == 29, {std::to_string(i), "bolt", "0.20"}));
  }
  Append(*log, Items(300, {"3", "nut", "0.10"}));
  ASSERT_GT(log->stats().segments, 3);

  EXPECT_EQ(ReadTexts(*log, 100).size(), 31U);
  EXPECT_EQ(ReadTexts(*log, 190).size(), 31U);
  EXPECT_THAT(ReadTexts(*log, 200), ElementsAre(Line(3)));
}

TEST_F(ReaderTest, DamageOnDiskIsToldAndNotSkipped) {
  const auto log = WriteTwenty();
  fs_.Flip(SegmentPath(0), 1500);

  const auto texts = ReadTexts(*log);

  ASSERT_FALSE(texts.empty());
  EXPECT_LT(texts.size(), 6U);
  EXPECT_THAT(texts.back(), testing::HasSubstr("is damaged at byte"));
}

TEST_F(ReaderTest, WaitingReaderWakesWithAnAppend) {
  const auto log = Open();
  const auto reader = NewReader(*log);
  std::atomic<bool> waits = false;
  Result<std::optional<LogEntry>> got;
  std::jthread thread([&] {
    waits = true;
    got = reader->Next(kForever, {});
  });
  while (!waits) std::this_thread::yield();

  Append(*log, Items(100, {"1", "nut", "0.10"}));
  thread.join();

  ASSERT_TRUE(got.has_value() && got->has_value());
  EXPECT_EQ((*got)->end.offset, LogOffset{1});
}

TEST_F(ReaderTest, WaitingReaderWakesWhenStopped) {
  const auto log = Open();
  const auto reader = NewReader(*log);
  Result<std::optional<LogEntry>> got;
  {
    std::jthread thread([&](const std::stop_token& stop) { got = reader->Next(kForever, stop); });
  }

  ASSERT_TRUE(got.has_value());
  EXPECT_FALSE(got->has_value());
}

TEST_F(ReaderTest, ReaderOutlivesItsLog) {
  auto log = WriteTwenty();
  const auto reader = NewReader(*log);
  log.reset();

  EXPECT_EQ(Drain(*reader).size(), 20U);
}

/// Readers that keep up, fall behind and come late, beside a writer that rolls segments: run under
/// TSan too.
TEST_F(ReaderTest, ConcurrentReadersGetEverythingInOrder) {
  constexpr uint64_t kTransactions = 2000;
  options_.segment_size.bytes = 64 << 10;
  options_.memory_tail.bytes = 20 * Items(100, {"1", "nut", "0.10"})->size_bytes();
  const auto log = Open();
  const auto batch = Items(100, {"1", "nut", "0.10"});
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(NewReader(*log));
  std::latch half_written(1);
  std::latch all_written(1);
  std::latch* const begins[] = {nullptr, &half_written, &all_written};
  std::vector<uint64_t> read(readers.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < readers.size(); ++i) {
      threads.emplace_back([&, i] {
        if (begins[i] != nullptr) begins[i]->wait();
        while (read[i] < kTransactions) {
          const auto entry = readers[i]->Next(kForever, {});
          ASSERT_TRUE(entry.has_value() && entry->has_value());
          ASSERT_EQ((*entry)->end.position.commit_end, Lsn{++read[i] * 100});
        }
      });
    }
    for (uint64_t i = 1; i <= kTransactions; ++i) {
      auto copy = std::make_shared<change::ChangeBatch>(*batch);
      copy->transactions[0].end_lsn = Lsn{i * 100};
      Append(*log, std::move(copy));
      if (i % 100 != 0) continue;
      ASSERT_TRUE(log->Sync().has_value());
      ASSERT_TRUE(log->PositionAt(0).has_value());
      if (i == kTransactions / 2) half_written.count_down();
    }
    all_written.count_down();
  }
  EXPECT_THAT(read, testing::Each(kTransactions));
  EXPECT_GT(log->stats().segments, 5);
}

}  // namespace
}  // namespace freshet::log
