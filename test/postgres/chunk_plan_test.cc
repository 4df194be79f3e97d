#include "postgres/chunk_plan.h"

#include <gmock/gmock.h>

#include <random>

namespace freshet::postgres {
namespace {

using change::BlockRange;
using change::SnapshotProgress;
using change::TableId;
using ::testing::ElementsAre;

constexpr int64_t kOpenEnd = ChunkRange::kOpenEnd;

PartPlan Blocks(int64_t blocks) {
  PartPlan plan(TableId{1}, TableId{2}, /*by_key=*/false);
  EXPECT_TRUE(plan.Found(77, blocks));
  return plan;
}

PartPlan Keys() {
  PartPlan plan(TableId{1}, TableId{1}, /*by_key=*/true);
  EXPECT_TRUE(plan.Found(77, 1'000));
  return plan;
}

TEST(PartPlanTest, APartThatIsLeftOutIsDoneUntilItIsRewritten) {
  PartPlan plan(TableId{1}, TableId{2}, /*by_key=*/false);
  plan.LeaveOut();

  EXPECT_TRUE(plan.Found(9, 100));
  EXPECT_TRUE(plan.done());
  EXPECT_FALSE(plan.Next(8).has_value());
  EXPECT_TRUE(plan.Step().part_done);

  PartPlan again(TableId{1}, TableId{2}, /*by_key=*/false);
  again.Resume(plan.Step());
  EXPECT_TRUE(again.Found(9, 100));
  EXPECT_TRUE(again.done());
  EXPECT_FALSE(again.Found(10, 100));
  EXPECT_TRUE(again.Next(8).has_value());
}

TEST(PartPlanTest, RangesFollowOneAnotherAndTheLastIsOpen) {
  PartPlan plan = Blocks(250);

  EXPECT_EQ(plan.Next(100)->blocks, (BlockRange{0, 100}));
  EXPECT_EQ(plan.Next(100)->blocks, (BlockRange{100, kOpenEnd}));  // 150 blocks: one and a half
  EXPECT_FALSE(plan.Next(100).has_value());
  EXPECT_FALSE(plan.done());
}

TEST(PartPlanTest, AnEmptyFileIsOneOpenRange) {
  PartPlan plan = Blocks(0);
  const auto all = plan.Next(100);
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->blocks, (BlockRange{0, kOpenEnd}));

  plan.Read(*all, 0, {});

  EXPECT_TRUE(plan.done());
  EXPECT_FALSE(plan.Next(100).has_value());
}

TEST(PartPlanTest, ARangeGivenBackComesFirst) {
  PartPlan plan = Blocks(1'000);
  const auto first = plan.Next(100);
  const auto second = plan.Next(100);

  plan.Return(*first);

  EXPECT_EQ(plan.Next(1'000)->blocks, first->blocks);  // up to what the other reads
  EXPECT_EQ(plan.Next(100)->blocks.first, second->blocks.end);
}

TEST(PartPlanTest, StepsListWhatWasReadWithItsGaps) {
  PartPlan plan = Blocks(1'000);
  const auto first = plan.Next(100);
  const auto second = plan.Next(100);
  const auto third = plan.Next(100);

  plan.Read(*third, 30, {});
  plan.Read(*first, 10, {});

  const SnapshotProgress step = plan.Step();
  EXPECT_TRUE(change::IsValid(step));
  EXPECT_THAT(step.blocks, ElementsAre(BlockRange{0, 100}, BlockRange{200, 300}));
  EXPECT_EQ(step.part_rows, 40);
  EXPECT_EQ(plan.blocks_read(), 200);
  plan.Read(*second, 20, {});
  EXPECT_THAT(plan.Step().blocks, ElementsAre(BlockRange{0, 300}));
}

TEST(PartPlanTest, ItGoesOnWhereTheLogStops) {
  PartPlan before = Blocks(1'000);
  const auto first = before.Next(100);
  const auto second = before.Next(100);
  before.Read(*second, 20, {});

  PartPlan after(TableId{1}, TableId{2}, false);
  after.Resume(before.Step());
  EXPECT_TRUE(after.Found(77, 1'000));

  EXPECT_EQ(after.Next(500)->blocks, first->blocks);
  EXPECT_EQ(after.Next(500)->blocks, (BlockRange{200, 700}));
  EXPECT_EQ(after.rows_read(), 20);
}

TEST(PartPlanTest, AnotherFileIsReadFromItsStart) {
  PartPlan plan = Blocks(1'000);
  plan.Read(*plan.Next(100), 10, {});
  const auto under_way = plan.Next(100);

  EXPECT_FALSE(plan.Found(78, 40));

  EXPECT_EQ(plan.rows_read(), 0);
  EXPECT_EQ(plan.Next(100)->blocks, (BlockRange{0, kOpenEnd}));
  plan.Return(*under_way);  // of the file before: changes nothing
  EXPECT_FALSE(plan.Next(100).has_value());
}

TEST(PartPlanTest, RangesOfKeysComeOneAtATime) {
  PartPlan plan = Keys();
  const auto first = plan.Next(500);
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->after_key.empty());
  EXPECT_EQ(first->most_rows, 500);
  EXPECT_FALSE(plan.Next(500).has_value());

  plan.Read(*first, 500, {"17", "x"});
  const auto second = plan.Next(200);

  ASSERT_TRUE(second.has_value());
  EXPECT_THAT(second->after_key, ElementsAre("17", "x"));
  EXPECT_THAT(plan.Step().last_key, ElementsAre("17", "x"));
  plan.Read(*second, 3, {});
  EXPECT_TRUE(plan.done());
  EXPECT_TRUE(change::IsValid(plan.Step()));
}

/// However ranges are taken, given back and read, each block is read once and all are.
TEST(PartPlanTest, EveryBlockIsReadOnce) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    const int64_t blocks = random() % 500;
    PartPlan plan = Blocks(blocks);
    std::vector<ChunkRange> under_way;
    std::vector<int> times(static_cast<size_t>(blocks) + 1);
    int rounds = 0;
    while (!plan.done()) {
      ASSERT_LT(++rounds, 100'000) << "seed " << seed;
      if (under_way.size() < 4) {
        if (auto range = plan.Next(1 + random() % 50)) under_way.push_back(*range);
      }
      if (under_way.empty() || random() % 3 == 0) continue;
      const size_t at = random() % under_way.size();
      const ChunkRange range = under_way[at];
      under_way.erase(under_way.begin() + static_cast<ptrdiff_t>(at));
      if (random() % 3 == 0) {
        plan.Return(range);
        continue;
      }
      plan.Read(range, 1, {});
      ASSERT_TRUE(change::IsValid(plan.Step())) << "seed " << seed;
      ASSERT_LE(plan.Step().blocks.size(), 8u);
      const int64_t end = std::min(range.blocks.end, blocks + 1);
      for (int64_t block = range.blocks.first; block < end; ++block) {
        ++times[static_cast<size_t>(block)];
      }
    }
    for (const int count : times) ASSERT_EQ(count, 1) << "seed " << seed;
  }
}

TEST(ChunkSizerTest, ItFindsTheSizeThatTakesTheTarget) {
  ChunkSizer sizer(std::chrono::seconds(2), 512, 100'000);
  for (int i = 0; i < 10; ++i) {
    sizer.Took(sizer.size(), std::chrono::microseconds(500) * sizer.size());
  }

  EXPECT_NEAR(static_cast<double>(sizer.size()), 4'000, 1);
}

TEST(ChunkSizerTest, ItGoesNoFurtherThanItsLimitsNorByMoreThanFourTimes) {
  ChunkSizer sizer(std::chrono::seconds(2), 512, 3'000);

  sizer.Took(512, std::chrono::nanoseconds(1));
  EXPECT_EQ(sizer.size(), 2'048);
  sizer.Took(2'048, std::chrono::nanoseconds(1));
  EXPECT_EQ(sizer.size(), 3'000);
  sizer.Took(3'000, std::chrono::hours(1));
  EXPECT_EQ(sizer.size(), 750);
  for (int i = 0; i < 20; ++i) sizer.Failed();
  EXPECT_EQ(sizer.size(), 1);
}

}  // namespace
}  // namespace freshet::postgres
