#include "postgres/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "support/manual_clock.h"
#include "support/memory_file_system.h"

namespace freshet::postgres {
namespace {

using change::Xid;
using test::MemoryFileSystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Xid kOne{100};
constexpr Xid kTwo{200};
constexpr Xid kPart{101};

class SpoolTest : public ::testing::Test {
 protected:
  void Start(int64_t memory_bytes = 1 << 20, int64_t budget_bytes = 1 << 30) {
    auto spool = Spool::Create(
        fs_, clock_,
        {.folder = "spool", .budget_bytes = budget_bytes, .memory_bytes = memory_bytes});
    ASSERT_TRUE(spool.has_value()) << spool.error();
    spool_ = *std::move(spool);
  }

  Status Add(Xid transaction, Xid part, const std::string& text) {
    const size_t half = text.size() / 2;
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return spool_->Add(transaction, part, std::array{bytes.first(half), bytes.subspan(half)});
  }

  std::vector<std::string> ReadAll(Xid transaction) {
    std::vector<std::string> out;
    auto reader = spool_->Take(transaction);
    EXPECT_TRUE(reader.has_value()) << reader.error();
    for (;;) {
      std::span<const std::byte> message;
      const auto more = reader->Next(message);
      EXPECT_TRUE(more.has_value()) << more.error();
      if (!more.value_or(false)) return out;
      out.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
    }
  }

  std::vector<std::string> Files() { return *fs_.List("spool"); }

  MemoryFileSystem fs_;
  test::ManualClock clock_;
  std::unique_ptr<Spool> spool_;
};

TEST_F(SpoolTest, MessagesComeBackInOrderByTransaction) {
  Start();
  spool_->Begin(kOne);
  spool_->Begin(kTwo);
  ASSERT_TRUE(Add(kOne, kOne, "a").has_value());
  ASSERT_TRUE(Add(kTwo, kTwo, "x").has_value());
  ASSERT_TRUE(Add(kOne, kPart, "").has_value());
  ASSERT_TRUE(Add(kOne, kOne, "ccc").has_value());

  EXPECT_THAT(ReadAll(kOne), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(ReadAll(kTwo), ElementsAre("x"));
  EXPECT_FALSE(spool_->Has(kOne));
  EXPECT_EQ(spool_->figures().bytes, 0);
}

TEST_F(SpoolTest, SmallTransactionsNeverSeeTheDisk) {
  Start();
  spool_->Begin(kOne);
  ASSERT_TRUE(Add(kOne, kOne, "small").has_value());

  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, TheLargestGoesToDiskWhenMemoryIsUsedUp) {
  Start(1'000);
  spool_->Begin(kOne);
  spool_->Begin(kTwo);
  ASSERT_TRUE(Add(kTwo, kTwo, "little").has_value());
  std::vector<std::string> expected;
  for (int i = 0; i < 200; ++i) {
    expected.push_back(std::to_string(i) + std::string(20, '.'));
    ASSERT_TRUE(Add(kOne, kOne, expected.back()).has_value());
  }

  EXPECT_THAT(Files(), ElementsAre("100.spool"));
  EXPECT_EQ(ReadAll(kOne), expected);
  EXPECT_THAT(ReadAll(kTwo), ElementsAre("little"));
  EXPECT_THAT(Files(), IsEmpty());
}

/// Larger than what is read from a file at once, and than what memory may hold.
TEST_F(SpoolTest, HugeMessagesComeBackWhole) {
  Start(1'000);
  const std::vector<std::string> expected = {"first", std::string(700'000, 'a'),
                                             std::string(1'100'000, 'b'), "last"};
  spool_->Begin(kOne);
  for (const std::string& text : expected) ASSERT_TRUE(Add(kOne, kOne, text).has_value());

  EXPECT_EQ(ReadAll(kOne), expected);
}

TEST_F(SpoolTest, AnAbortedSubtransactionIsLeftOutWhereverItStands) {
  for (const int64_t memory : {int64_t{1}, int64_t{1} << 20}) {
    Start(memory);
    spool_->Begin(kOne);
    ASSERT_TRUE(Add(kOne, kOne, "kept").has_value());
    ASSERT_TRUE(Add(kOne, kPart, "gone").has_value());
    ASSERT_TRUE(Add(kOne, Xid{102}, "gone too").has_value());
    ASSERT_TRUE(spool_->AbortPart(kOne, Xid{102}).has_value());
    ASSERT_TRUE(spool_->AbortPart(kOne, kPart).has_value());
    ASSERT_TRUE(Add(kOne, Xid{103}, "after").has_value());

    EXPECT_THAT(ReadAll(kOne), ElementsAre("kept", "after"));
  }
}

TEST_F(SpoolTest, ADroppedTransactionLeavesNothing) {
  Start(1);
  spool_->Begin(kOne);
  ASSERT_TRUE(Add(kOne, kOne, "row").has_value());
  ASSERT_THAT(Files(), ElementsAre("100.spool"));

  ASSERT_TRUE(spool_->Drop(kOne).has_value());

  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_FALSE(spool_->Has(kOne));
  EXPECT_EQ(spool_->figures().transactions, 0);
  EXPECT_EQ(spool_->figures().bytes, 0);
}

TEST_F(SpoolTest, AReaderMayBeLeftHalfway) {
  Start(1);
  spool_->Begin(kOne);
  ASSERT_TRUE(Add(kOne, kOne, "a").has_value());
  ASSERT_TRUE(Add(kOne, kOne, "b").has_value());
  {
    auto reader = spool_->Take(kOne);
    std::span<const std::byte> message;
    ASSERT_TRUE(reader->Next(message).value_or(false));
    EXPECT_GT(spool_->figures().bytes, 0);  // its disk is still in use
  }
  EXPECT_EQ(spool_->figures().bytes, 0);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, ANewSpoolRemovesWhatAnEarlierOneLeft) {
  ASSERT_TRUE(fs_.MakeFolder("spool").has_value());
  ASSERT_TRUE(fs_.OpenForWriting("spool/7.spool").has_value());
  ASSERT_TRUE(fs_.OpenForWriting("spool/readme").has_value());

  Start();

  EXPECT_THAT(Files(), ElementsAre("readme"));
}

TEST_F(SpoolTest, ItsEndRemovesItsFiles) {
  Start(1);
  spool_->Begin(kOne);
  ASSERT_TRUE(Add(kOne, kOne, "row").has_value());

  spool_.reset();

  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(SpoolTest, TheBudgetIsNamedWhenItIsReached) {
  Start(1'000, 2'000);
  spool_->Begin(kOne);
  ASSERT_TRUE(Add(kOne, kOne, std::string(1'500, 'x')).has_value());
  EXPECT_FALSE(spool_->full());

  const Status status = Add(kOne, kOne, std::string(600, 'x'));

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kNoSpace);
  EXPECT_THAT(status.error().message, HasSubstr("spool_budget"));
  EXPECT_TRUE(spool_->full());
}

TEST_F(SpoolTest, AFullDiskIsNoSpaceToo) {
  Start(100);
  fs_.SetCapacity(1'000);
  spool_->Begin(kOne);

  const Status status = Add(kOne, kOne, std::string(5'000, 'x'));

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kNoSpace);
  EXPECT_TRUE(spool_->full());
}

TEST_F(SpoolTest, FiguresNameTheLargestAndTheOldest) {
  Start();
  const UnixMicros began = clock_.Now();
  spool_->Begin(kOne);
  clock_.Advance(std::chrono::seconds(3));
  spool_->Begin(kTwo);
  ASSERT_TRUE(Add(kOne, kOne, "1").has_value());
  ASSERT_TRUE(Add(kTwo, kTwo, "22").has_value());

  const SpoolFigures figures = spool_->figures();

  EXPECT_EQ(figures.transactions, 2);
  EXPECT_EQ(figures.bytes, 8 + 1 + 8 + 2);
  EXPECT_EQ(figures.largest_bytes, 10);
  EXPECT_EQ(figures.oldest_since, began);
}

}  // namespace
}  // namespace freshet::postgres
