#include "postgres/held_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/batches.h"
#include "support/memory_file_system.h"
#include "support/memory_output.h"

namespace freshet::postgres {
namespace {

using change::Lsn;
using change::Position;
using test::BatchBuilder;
using test::MemoryFileSystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Position kBehind{Lsn{5000}, 3};

class HeldChangesTest : public ::testing::Test {
 protected:
  HeldChangesTest() { Limit(1 << 20); }

  void Limit(int64_t memory_bytes, int64_t budget_bytes = 1 << 30, std::string folder = "held") {
    held_ = std::make_unique<HeldChanges>(fs_, HeldChanges::Limits{.folder = std::move(folder),
                                                                   .memory_bytes = memory_bytes,
                                                                   .budget_bytes = budget_bytes});
  }

  /// What goes on of one row of each table, in a transaction that ends at `end`.
  std::vector<std::string> Pass(uint64_t end, const std::string& id) {
    auto passed = held_->Pass(BatchBuilder()
                                  .Begin(end)
                                  .Insert(other_, {id, "other", "1"})
                                  .Insert(table_, {id, "held", "1"})
                                  .Build());
    EXPECT_TRUE(passed.has_value()) << passed.error();
    return passed.has_value() ? test::EventsOf(**passed) : std::vector<std::string>();
  }

  /// All that is given back.
  std::vector<std::string> TakeAll() {
    std::vector<std::string> out;
    Position behind = kBehind;
    for (;;) {
      auto batch = held_->Take(behind);
      EXPECT_TRUE(batch.has_value()) << batch.error();
      if (!batch.has_value() || *batch == nullptr) return out;
      CheckInvariants(**batch);
      EXPECT_EQ((*batch)->transactions.front().ordinal, behind.ordinal + 1);
      behind = PositionBehind((*batch)->transactions.back());
      for (std::string& event : test::EventsOf(**batch)) out.push_back(std::move(event));
    }
  }

  const std::shared_ptr<const change::TableSchema> table_ = test::MakeItemsSchema("held");
  const std::shared_ptr<const change::TableSchema> other_ = test::MakeItemsSchema("other");
  MemoryFileSystem fs_;
  std::unique_ptr<HeldChanges> held_;
};

TEST_F(HeldChangesTest, WithoutATableEverythingPasses) {
  const auto batch = BatchBuilder().Begin(100).Insert(table_, {"1", "a", "1"}).Build();

  const auto passed = held_->Pass(batch);

  ASSERT_TRUE(passed.has_value());
  EXPECT_EQ(*passed, batch);
}

TEST_F(HeldChangesTest, NotedChangesPassAndThoseBehindTheCutComeAgain) {
  held_->Note(table_->id());
  EXPECT_EQ(Pass(100, "1").size(), 2u);
  EXPECT_EQ(Pass(200, "2").size(), 2u);
  EXPECT_EQ(Pass(300, "3").size(), 2u);

  ASSERT_TRUE(held_->Hold(Lsn{200}).has_value());

  EXPECT_THAT(Pass(400, "4"), ElementsAre("insert public.other 4 | other | 1.00"));
  EXPECT_THAT(TakeAll(), ElementsAre("insert public.held 3 | held | 1.00",
                                     "insert public.held 4 | held | 1.00"));
  EXPECT_TRUE(held_->empty());
}

TEST_F(HeldChangesTest, OneBatchIsCutBetweenItsTransactions) {
  held_->Note(table_->id());
  ASSERT_TRUE(held_
                  ->Pass(BatchBuilder()
                             .Begin(100)
                             .Insert(table_, {"1", "a", "1"})
                             .Begin(200)
                             .Insert(other_, {"2", "b", "1"})
                             .Begin(300)
                             .Insert(table_, {"3", "c", "1"})
                             .Delete(table_, {"1", "a", "1"})
                             .Build())
                  .has_value());

  ASSERT_TRUE(held_->Hold(Lsn{100}).has_value());

  const auto batch = held_->Take(kBehind);
  ASSERT_TRUE(batch.has_value() && *batch != nullptr);
  ASSERT_EQ((*batch)->transactions.size(), 1u);
  const change::Transaction& piece = (*batch)->transactions.front();
  EXPECT_EQ(piece.kind, change::TransactionKind::kSnapshot);
  EXPECT_EQ(PositionBehind(piece), (Position{kBehind.commit_end, kBehind.ordinal + 1}));
  EXPECT_THAT(test::EventsOf(**batch),
              ElementsAre("insert public.held 3 | c | 1.00", "delete public.held 1 | a | 1.00"));
}

TEST_F(HeldChangesTest, PartsOfALargeTransactionBecomePieces) {
  held_->Note(table_->id());
  ASSERT_TRUE(held_->Hold(Lsn{50}).has_value());
  for (const bool ends : {false, true}) {
    const auto passed = held_->Pass(BatchBuilder()
                                        .Part(200, /*begins=*/!ends, ends, ends ? 1 : 0)
                                        .Insert(table_, {ends ? "2" : "1", "a", "1"})
                                        .Build());
    ASSERT_TRUE(passed.has_value());
    EXPECT_EQ((*passed)->transactions.front().ends, ends);
    EXPECT_EQ((*passed)->num_rows(), 0);
  }

  EXPECT_THAT(TakeAll(),
              ElementsAre("insert public.held 1 | a | 1.00", "insert public.held 2 | a | 1.00"));
}

TEST_F(HeldChangesTest, ThatWhichGoesBeyondTheMemoryComesBackOutOfFiles) {
  Limit(1);
  held_->Note(table_->id());
  Pass(100, "1");
  Pass(200, "2");
  ASSERT_TRUE(held_->Hold(Lsn{150}).has_value());
  EXPECT_EQ(fs_.List("held")->size(), 1u) << "what lies before the cut is gone";
  const auto passed = held_->Pass(BatchBuilder()
                                      .Begin(300)
                                      .Update(table_, {"2", test::Unchanged(), "1"})
                                      .Insert(table_, {"3", "x", test::Exception("NaN")})
                                      .Truncate({table_})
                                      .Build());
  ASSERT_TRUE(passed.has_value()) << passed.error();
  EXPECT_EQ(held_->bytes() > 0, true);

  EXPECT_THAT(
      TakeAll(),
      ElementsAre("insert public.held 2 | held | 1.00",
                  "update_postimage public.held 2 | NULL | 1.00 (unchanged name)",
                  "insert public.held 3 | x | NULL (amount = NaN)", "truncate public.held"));
  EXPECT_THAT(*fs_.List("held"), IsEmpty());
}

TEST_F(HeldChangesTest, WhatWasNotedIsForgottenWhenReadingBreaksOff) {
  for (const int64_t memory : {1 << 20, 1}) {
    Limit(memory);
    held_->Note(table_->id());
    Pass(300, "3");
    ASSERT_TRUE(held_->Hold(Lsn{200}).has_value());
    Pass(400, "4");

    held_->ForgetNoted();

    EXPECT_THAT(TakeAll(), ElementsAre("insert public.held 4 | held | 1.00"));
  }
}

TEST_F(HeldChangesTest, BeyondTheBudgetItSaysSo) {
  Limit(1, 100);
  held_->Note(table_->id());

  const auto passed =
      held_->Pass(BatchBuilder().Begin(100).Insert(table_, {"1", "a", "1"}).Build());

  ASSERT_FALSE(passed.has_value());
  EXPECT_EQ(passed.error().kind, ErrorKind::kNoSpace);
  EXPECT_THAT(passed.error().message, testing::HasSubstr("spool_budget"));
}

TEST_F(HeldChangesTest, AFileCutShortIsFound) {
  Limit(1);
  held_->Note(table_->id());
  ASSERT_TRUE(held_->Hold(Lsn{50}).has_value());
  Pass(100, "1");
  const auto file = fs_.OpenForWriting("held/" + fs_.List("held")->front());
  ASSERT_TRUE((*file)->Truncate(20).has_value());

  const auto taken = held_->Take(kBehind);

  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().kind, ErrorKind::kCorrupt);
}

TEST_F(HeldChangesTest, LeftoversOfAnEarlierOneAreRemoved) {
  Limit(1);
  ASSERT_TRUE(fs_.MakeFolder("held").has_value());
  ASSERT_TRUE(fs_.OpenForWriting("held/77.held").has_value());
  ASSERT_TRUE(fs_.OpenForWriting("held/4.spool").has_value());
  held_->Note(table_->id());

  Pass(100, "1");

  EXPECT_THAT(*fs_.List("held"), ElementsAre("0.held", "4.spool"));
}

}  // namespace
}  // namespace freshet::postgres
