#include "change/snapshot_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace freshet::change {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;

constexpr TableId kOrders{16'400};
constexpr TableId kItems{16'500};

SnapshotProgress Wanted(TableId table) { return {.step = SnapshotStep::kWanted, .table = table}; }

SnapshotProgress Begun(TableId table, uint64_t xid = 700) {
  return {.step = SnapshotStep::kBegun, .table = table, .replaces = true, .begun_xid = xid};
}

SnapshotProgress Advanced(TableId table, TableId part, int64_t blocks) {
  return {.step = SnapshotStep::kAdvanced,
          .table = table,
          .part = part,
          .filenode = 9,
          .blocks = {{0, blocks}},
          .part_rows = blocks * 10};
}

SnapshotProgress Finished(TableId table) {
  return {.step = SnapshotStep::kFinished, .table = table};
}

SnapshotProgress Seen(TableId table, uint64_t horizon, uint32_t filenode) {
  return {.step = SnapshotStep::kSeen,
          .table = table,
          .seen = {.horizon = horizon, .parts = {{table, filenode}}}};
}

SnapshotLedger LedgerOf(const std::vector<SnapshotProgress>& steps) {
  SnapshotLedger ledger;
  for (const SnapshotProgress& step : steps) ledger.Apply(step);
  return ledger;
}

TEST(SnapshotLedgerTest, TableIsUnfinishedFromWantedToFinished) {
  SnapshotLedger ledger;
  EXPECT_THAT(ledger.unfinished(), IsEmpty());

  ledger.Apply(Wanted(kOrders));
  EXPECT_FALSE(ledger.unfinished().at(kOrders).begun);
  ledger.Apply(Begun(kOrders));
  EXPECT_EQ(ledger.unfinished().at(kOrders).begun_xid, 700U);
  EXPECT_TRUE(ledger.unfinished().at(kOrders).replaces);
  ledger.Apply(Finished(kOrders));

  EXPECT_THAT(ledger.unfinished(), IsEmpty());
}

TEST(SnapshotLedgerTest, ThatRowsAreFreshIsNoProgress) {
  const SnapshotProgress fresh{.step = SnapshotStep::kFresh, .table = kOrders};
  EXPECT_TRUE(IsValid(fresh));
  auto ledger = LedgerOf({Begun(kOrders), Advanced(kOrders, {1}, 8)});
  const SnapshotLedger before = ledger;

  ledger.Apply(fresh);

  EXPECT_EQ(ledger, before);
}

TEST(SnapshotLedgerTest, NewestStepOfEachPartCounts) {
  const auto ledger = LedgerOf({Begun(kOrders), Advanced(kOrders, {1}, 8),
                                Advanced(kOrders, {2}, 4), Advanced(kOrders, {1}, 16)});

  const auto& parts = ledger.unfinished().at(kOrders).parts;
  EXPECT_THAT(parts, ElementsAre(Key(TableId{1}), Key(TableId{2})));
  EXPECT_THAT(parts.at({1}).blocks, ElementsAre(BlockRange{0, 16}));
  EXPECT_EQ(parts.at({2}).part_rows, 40);
}

TEST(SnapshotLedgerTest, BeginningAnewForgetsWhatWasRead) {
  for (const SnapshotProgress& again : {Wanted(kOrders), Begun(kOrders, 800)}) {
    const auto ledger = LedgerOf({Begun(kOrders), Advanced(kOrders, kOrders, 8), again});

    EXPECT_THAT(ledger.unfinished().at(kOrders).parts, IsEmpty());
    EXPECT_EQ(ledger.unfinished().at(kOrders).begun, again.step == SnapshotStep::kBegun);
  }
}

TEST(SnapshotLedgerTest, RangeOfATableThatIsNotBeingReadDoesNotCount) {
  EXPECT_THAT(LedgerOf({Advanced(kOrders, kOrders, 8)}).unfinished(), IsEmpty());
  EXPECT_THAT(
      LedgerOf({Wanted(kOrders), Advanced(kOrders, kOrders, 8)}).unfinished().at(kOrders).parts,
      IsEmpty());
}

TEST(SnapshotLedgerTest, ItsStepsLeadToTheSameStateAgain) {
  const auto ledger =
      LedgerOf({Wanted(kOrders), Wanted(kItems), Begun(kOrders), Advanced(kOrders, {1}, 8),
                Advanced(kOrders, {2}, 4), Advanced(kOrders, {1}, 16)});

  EXPECT_EQ(LedgerOf(ledger.Steps()), ledger);
  EXPECT_EQ(ledger.Steps().size(), 4U);
}

TEST(SnapshotLedgerTest, WhetherTargetsKeepTheirRowsIsKnownBeforeReadingBegins) {
  SnapshotProgress keeps = Wanted(kOrders);
  keeps.keeps = true;

  EXPECT_TRUE(LedgerOf({keeps}).unfinished().at(kOrders).keeps);
  EXPECT_EQ(LedgerOf(LedgerOf({keeps}).Steps()), LedgerOf({keeps}));
}

TEST(SnapshotLedgerTest, TheNewestLookAtATableCounts) {
  auto ledger = LedgerOf({Seen(kOrders, 100, 1), Seen(kItems, 100, 2), Seen(kOrders, 200, 3)});

  EXPECT_EQ(ledger.seen().at(kOrders).parts.front().filenode, 3U);
  ledger.Apply({.step = SnapshotStep::kLooked, .seen = {.horizon = 150}});

  EXPECT_EQ(ledger.seen().at(kOrders).horizon, 200U);
  EXPECT_EQ(ledger.seen().at(kItems).horizon, 150U);
  EXPECT_EQ(LedgerOf(ledger.Steps()), ledger);
}

TEST(SnapshotLedgerTest, ATableIsLeftOutUntilItsRowsAreWanted) {
  auto ledger = LedgerOf({Wanted(kOrders),
                          Begun(kOrders),
                          Seen(kOrders, 100, 1),
                          {.step = SnapshotStep::kLeftOut, .table = kOrders}});

  EXPECT_THAT(ledger.left_out(), ElementsAre(kOrders));
  EXPECT_THAT(ledger.unfinished(), IsEmpty());
  EXPECT_THAT(ledger.seen(), IsEmpty());
  EXPECT_EQ(LedgerOf(ledger.Steps()), ledger);

  ledger.Apply(Wanted(kOrders));
  EXPECT_THAT(ledger.left_out(), IsEmpty());
}

TEST(SnapshotProgressTest, OfWhatWasSeenPartsAscendAndAreBounded) {
  SnapshotProgress step = Seen(kOrders, 100, 1);
  EXPECT_TRUE(IsValid(step));
  step.seen.parts = {{{5}, 1}, {{5}, 2}};
  EXPECT_FALSE(IsValid(step));
  step.seen.parts.clear();
  for (uint32_t i = 0; i <= kMostSeenParts; ++i) step.seen.parts.push_back({{i}, 1});
  EXPECT_FALSE(IsValid(step));
  step.seen.parts.pop_back();
  EXPECT_TRUE(IsValid(step));
  step.step = SnapshotStep::kLooked;
  EXPECT_FALSE(IsValid(step));
}

TEST(SnapshotProgressTest, WhatNoStepCanSayIsNotValid) {
  const SnapshotProgress good = Advanced(kOrders, kOrders, 8);
  ASSERT_TRUE(IsValid(good));
  const auto broken = [&](auto&& breaks) {
    SnapshotProgress step = good;
    breaks(step);
    return !IsValid(step);
  };

  EXPECT_TRUE(broken([](auto& s) { s.step = static_cast<SnapshotStep>(9); }));
  EXPECT_TRUE(broken([](auto& s) { s.step = SnapshotStep::kFinished; }));
  EXPECT_TRUE(broken([](auto& s) { s.begun_xid = 1; }));
  EXPECT_TRUE(broken([](auto& s) { s.replaces = true; }));
  EXPECT_TRUE(broken([](auto& s) { s.part_rows = -1; }));
  EXPECT_TRUE(broken([](auto& s) { s.last_key.resize(kMostKeyColumns + 1); }));
  EXPECT_TRUE(broken([](auto& s) { s.blocks = {{4, 4}}; }));
  EXPECT_TRUE(broken([](auto& s) { s.blocks = {{-1, 4}}; }));
  EXPECT_TRUE(broken([](auto& s) { s.blocks = {{0, 4}, {4, 8}}; }));
  EXPECT_TRUE(broken([](auto& s) { s.blocks = {{6, 8}, {0, 4}}; }));
  EXPECT_TRUE(broken([](auto& s) {
    for (int64_t i = 0; i <= int64_t{kMostBlockRanges}; ++i)
      s.blocks.push_back({8 + 2 * i + 1, 8 + 2 * i + 2});
  }));
}

}  // namespace
}  // namespace freshet::change
