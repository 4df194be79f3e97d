#include "log/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "support/batches.h"
#include "support/log_fixture.h"

namespace freshet::log {
namespace {

using change::Lsn;
using change::Position;
using test::BatchBuilder;
using test::LogTest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RecoveryTest : public LogTest {
 protected:
  /// Three synced transactions, one sync each, so that each record vouches for the one before.
  void WriteThreeAndClose() {
    const auto log = Open();
    for (uint64_t i = 1; i <= 3; ++i) {
      Append(*log, Items(i * 100, {std::to_string(i), "nut", "0.10"}));
      ASSERT_TRUE(log->Sync().has_value());
    }
  }

  /// Where the batch of this offset begins in the first segment.
  int64_t PlaceOfBatch(int64_t offset) {
    const auto segment = SegmentReader::Open(fs_, options_.path, {0});
    const int64_t size = *(*segment)->SizeBytes();
    int64_t at = (*segment)->begin();
    while (true) {
      const auto header = (*segment)->HeaderAt(at, size);
      if ((*header)->kind == RecordKind::kBatch && offset-- == 0) return at;
      at += RecordBytes(**header);
    }
  }

  Error OpenError() {
    const auto log = Log::Open(fs_, clock_, options_);
    if (log.has_value()) {
      ADD_FAILURE() << "the log opened";
      return {};
    }
    return log.error();
  }
};

TEST_F(RecoveryTest, TornTailIsCutAfterTheLastWholeRecord) {
  WriteThreeAndClose();
  fs_.CutTail(SegmentPath(0), 9);

  const auto log = Open();

  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10", "200: 2 | nut | 0.10"));
  EXPECT_EQ(log->stats().durable.position, (Position{Lsn{200}, 0}));
}

TEST_F(RecoveryTest, ZerosBehindTheLastRecordAreATornTail) {
  WriteThreeAndClose();
  auto content = fs_.Content(SegmentPath(0));
  content.resize(content.size() + 100'000);
  fs_.SetContent(SegmentPath(0), content);

  EXPECT_EQ(ReadTexts(*Open()).size(), 3U);
}

TEST_F(RecoveryTest, UnfinishedTransactionIsCutOverSeveralSegments) {
  options_.segment_size.bytes = 1;
  {
    const auto log = Open();
    Append(*log, Items(100, {"1", "nut", "0.10"}));
    for (int i = 0; i < 30; ++i) {
      Append(*log, ItemsPart(200, i == 0, false, {std::to_string(i), "bolt", "0.20"}));
    }
    ASSERT_TRUE(log->Sync().has_value());
    ASSERT_GT(log->stats().segments, 3);
  }

  const auto log = Open();

  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10"));
  EXPECT_EQ(log->stats().appended.offset, LogOffset{1});
  Append(*log, Items(150, {"2", "gear", "0.30"}));
  EXPECT_THAT(ReadTexts(*log), ElementsAre("100: 1 | nut | 0.10", "150: 2 | gear | 0.30"));
}

TEST_F(RecoveryTest, LogThatIsOneUnfinishedTransactionBecomesEmptyAndKeepsItsSource) {
  options_.segment_size.bytes = 1;
  change::SourceIdentity source;
  source.system_id = 7;
  {
    const auto log = Open();
    ASSERT_TRUE(log->SetSource(source).has_value());
    for (int i = 0; i < 30; ++i) {
      Append(*log, ItemsPart(200, i == 0, false, {std::to_string(i), "bolt", "0.20"}));
    }
  }

  const auto log = Open();

  EXPECT_THAT(ReadTexts(*log), IsEmpty());
  EXPECT_EQ(log->stats().segments, 1);
  EXPECT_EQ(log->source(), source);
}

TEST_F(RecoveryTest, DamagedRecordThatWasDurableIsNamedAndNotSkipped) {
  WriteThreeAndClose();
  const int64_t place = PlaceOfBatch(1);
  fs_.Flip(SegmentPath(0), place + 100);
  const auto before = fs_.Content(SegmentPath(0));

  const Error error = OpenError();

  EXPECT_EQ(error.kind, ErrorKind::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(SegmentPath(0)));
  EXPECT_THAT(error.message, HasSubstr("byte " + std::to_string(place)));
  EXPECT_THAT(error.message, HasSubstr("Restore this file from a copy"));
  EXPECT_EQ(fs_.Content(SegmentPath(0)), before);
}

TEST_F(RecoveryTest, DamagedLengthOfADurableRecordIsFoundByTheRecordBehind) {
  WriteThreeAndClose();
  fs_.Flip(SegmentPath(0), PlaceOfBatch(1));  // the record's length

  EXPECT_EQ(OpenError().kind, ErrorKind::kCorrupt);
}

/// Without a sync between them the disk may write the second of two records and not the first.
TEST_F(RecoveryTest, WholeRecordBehindATornOneIsCutWhenNeitherWasSynced) {
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 3; ++i) {
      Append(*log, Items(i * 100, {std::to_string(i), "nut", "0.10"}));
    }
  }
  fs_.Flip(SegmentPath(0), PlaceOfBatch(1) + 100);

  EXPECT_THAT(ReadTexts(*Open()), ElementsAre("100: 1 | nut | 0.10"));
}

TEST_F(RecoveryTest, SealedSegmentThatLostBytesIsCorrupt) {
  WriteThreeAndClose();
  {
    const auto log = Open();  // seals the first segment
    Append(*log, Items(400, {"4", "nut", "0.10"}));
    ASSERT_TRUE(log->Sync().has_value());
  }
  fs_.CutTail(SegmentPath(0), 8);

  const Error error = OpenError();

  EXPECT_EQ(error.kind, ErrorKind::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(SegmentPath(0)));
}

TEST_F(RecoveryTest, MissingSegmentIsNamed) {
  options_.segment_size.bytes = 1;
  int64_t second = 0;
  {
    const auto log = Open();
    for (uint64_t i = 1; i <= 30; ++i) Append(*log, Items(i * 100, {"1", "nut", "0.10"}));
    ASSERT_TRUE(log->Sync().has_value());
    const auto firsts = ListSegments(fs_, options_.path);
    ASSERT_GT(firsts->size(), 3U);
    second = (*firsts)[1].value;
  }
  ASSERT_TRUE(fs_.Remove(SegmentPath(second)).has_value());

  const Error error = OpenError();

  EXPECT_EQ(error.kind, ErrorKind::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(SegmentName({second})));
}

TEST_F(RecoveryTest, SegmentOfANewerFormatIsRefusedWithoutCallingItDamaged) {
  WriteThreeAndClose();
  auto content = fs_.Content(SegmentPath(0));
  content[8] = std::byte{2};
  fs_.SetContent(SegmentPath(0), content);

  EXPECT_EQ(OpenError().kind, ErrorKind::kUnsupported);
}

/// A run of random batches and syncs, as a pipeline makes them.
class CrashTest : public LogTest {
 protected:
  CrashTest() {
    options_.segment_size.bytes = 1;  // the least: several segments a run
    options_.memory_tail.bytes = 1;
    std::mt19937_64 random(42);
    uint64_t lsn = 0;
    for (int i = 0; i < 24; ++i) {
      lsn += 100;
      const uint64_t parts = random() % 4 == 0 ? 2 + random() % 8 : 1;
      for (uint64_t part = 0; part < parts; ++part) {
        const test::Row row = {std::to_string(random() % 100), std::string(random() % 1200, 'a'),
                               "0.10"};
        batches_.push_back(ItemsPart(lsn, part == 0, part + 1 == parts, row));
        sync_behind_.push_back(random() % 3 == 0);
      }
    }
  }

  /// Appends from `first` on until the end or an error.
  void Fill(Log& log, size_t first) {
    for (size_t i = first; i < batches_.size(); ++i) {
      if (!log.Append(batches_[i]).has_value()) return;
      if (sync_behind_[i] && !log.Sync().has_value()) return;
      if (i % 7 == 6 && !log.Retain({0}).has_value()) return;
    }
    [[maybe_unused]] const auto end = log.Sync();
  }

  std::vector<std::string> TextsOf(size_t count) const {
    std::vector<std::string> texts;
    for (size_t i = 0; i < count; ++i) {
      const auto& batch = *batches_[i];
      for (const std::string& row : test::RowTexts(*batch.tables[0].rows)) {
        texts.push_back(fmt::format("{}: {}", batch.transactions[0].end_lsn.value, row));
      }
    }
    return texts;
  }

  /// Batches before the last end of a transaction within the first `count`.
  size_t WholeWithin(size_t count) const {
    while (count > 0 && !batches_[count - 1]->ends_transaction()) --count;
    return count;
  }

  std::vector<std::shared_ptr<const change::ChangeBatch>> batches_;
  std::vector<bool> sync_behind_;
};

/// Power fails after any number of written bytes; half of the times again while the log recovers.
/// Whatever the disk kept of it: a prefix of whole transactions, with all that was synced.
TEST_F(CrashTest, AnyCrashLeavesAPrefixOfWholeTransactionsWithAllThatWasSynced) {
  int64_t changes = 0;
  {
    const auto log = Open();
    Fill(*log, 0);
    ASSERT_EQ(log->stats().appended.offset.value, std::ssize(batches_));
    ASSERT_GT(log->stats().segments, 5);
    changes = fs_.changes();
  }
  constexpr int64_t kStep = 53;
  for (int64_t at = 0; at < changes; at += kStep) {
    SCOPED_TRACE(fmt::format("crash after {} changes", at));
    fs_.Clear();
    int64_t durable = 0;
    {
      fs_.DieAfter(at);
      auto log = Log::Open(fs_, clock_, options_);
      if (log.has_value()) {
        Fill(**log, 0);
        durable = (*log)->stats().durable.offset.value;
      }
    }
    const auto seed = static_cast<uint64_t>(at);
    fs_.Crash(seed);
    if (at % 2 == 0) {
      fs_.DieAfter(static_cast<int64_t>(seed % 400));
      { const auto dies = Log::Open(fs_, clock_, options_); }
      fs_.Crash(seed + 1);
    }

    const auto log = Open();
    ASSERT_NE(log, nullptr);
    const auto kept = static_cast<size_t>(log->stats().appended.offset.value);
    ASSERT_GE(kept, WholeWithin(static_cast<size_t>(durable)));
    ASSERT_LE(kept, batches_.size());
    ASSERT_EQ(kept, WholeWithin(kept));
    ASSERT_EQ(ReadTexts(*log), TextsOf(kept));

    Fill(*log, kept);
    ASSERT_EQ(ReadTexts(*log), TextsOf(batches_.size()));
  }
}

TEST_F(CrashTest, EveryIoErrorLeavesALogThatOpensAgainWithAllThatWasSynced) {
  using Operation = test::MemoryFileSystem::Operation;
  for (const Operation operation : {Operation::kWrite, Operation::kSync, Operation::kTruncate,
                                    Operation::kRename, Operation::kSyncFolder}) {
    for (size_t begin = 0; begin < batches_.size(); begin += 5) {
      SCOPED_TRACE(fmt::format("operation {} from batch {}", static_cast<int>(operation), begin));
      fs_.Clear();
      auto log = Open();
      for (size_t i = 0; i < begin; ++i) Append(*log, batches_[i]);
      fs_.FailNext(operation);
      Fill(*log, begin);
      const auto durable = static_cast<size_t>(log->stats().durable.offset.value);
      fs_.FailNext(operation, 0);
      log.reset();
      if (begin % 2 == 0) fs_.Crash(begin);

      log = Open();
      ASSERT_NE(log, nullptr);
      const auto kept = static_cast<size_t>(log->stats().appended.offset.value);
      ASSERT_GE(kept, WholeWithin(durable));
      ASSERT_EQ(ReadTexts(*log), TextsOf(kept));
      Fill(*log, kept);
      ASSERT_EQ(ReadTexts(*log), TextsOf(batches_.size()));
    }
  }
}

}  // namespace
}  // namespace freshet::log
