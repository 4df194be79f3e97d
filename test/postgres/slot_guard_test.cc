#include "postgres/slot_guard.h"

#include <gmock/gmock.h>

namespace freshet::postgres {
namespace {

using change::Lsn;
using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr SlotLimits kLimits{.wal_bytes = 10 * kGiB, .catalog_age = 200'000'000};

/// A slot whose reader has acknowledged nothing of what it holds back.
Slot Holding(int64_t bytes) {
  Slot slot;
  slot.name = "freshet";
  slot.server_end = Lsn{uint64_t{100} << 30};
  slot.restart_lsn = Lsn{slot.server_end.value - static_cast<uint64_t>(bytes)};
  slot.confirmed_flush = slot.restart_lsn;
  slot.wal_status = "reserved";
  slot.retained_bytes = bytes;
  return slot;
}

TEST(JudgeSlotTest, WithoutALimitOfTheServerOursCounts) {
  EXPECT_EQ(JudgeSlot(Holding(2 * kGiB), kLimits).alarm, SlotAlarm::kNone);
  EXPECT_EQ(JudgeSlot(Holding(3 * kGiB), kLimits).alarm, SlotAlarm::kNotice);
  EXPECT_EQ(JudgeSlot(Holding(8 * kGiB), kLimits).alarm, SlotAlarm::kUrgent);
  EXPECT_THAT(JudgeSlot(Holding(8 * kGiB), kLimits).reason, HasSubstr("slot_retention_warning"));
}

TEST(JudgeSlotTest, TheServersLimitCountsWhereItHasOne) {
  Slot slot = Holding(kGiB);

  slot.safe_wal_bytes = 9 * kGiB;
  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kNone);
  slot.safe_wal_bytes = 3 * kGiB;
  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kNotice);
  slot.safe_wal_bytes = kGiB / 3;
  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kUrgent);
  EXPECT_THAT(JudgeSlot(slot, kLimits).reason, HasSubstr("is lost when another"));
}

TEST(JudgeSlotTest, ASlotThatTheNextCheckpointTakesIsUrgent) {
  Slot slot = Holding(kGiB);
  slot.wal_status = "unreserved";
  slot.safe_wal_bytes = -5;

  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kUrgent);
}

/// With a limit below what every server keeps, each slot would be in alarm for ever.
TEST(JudgeSlotTest, OrdinaryAmountsAreNoAlarmWhateverTheLimit) {
  Slot slot = Holding(int64_t{20} << 20);
  slot.safe_wal_bytes = 1;

  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kNone);
}

TEST(JudgeSlotTest, TheRepairTellsALaggingReaderFromAnOpenTransaction) {
  Slot slot = Holding(8 * kGiB);
  EXPECT_THAT(JudgeSlot(slot, kLimits).repair, HasSubstr("freshet runs"));

  slot.confirmed_flush = slot.server_end;
  EXPECT_THAT(JudgeSlot(slot, kLimits).repair, HasSubstr("pg_stat_activity"));
}

TEST(JudgeSlotTest, AnOldCatalogHorizonIsAnAlarmOfItsOwn) {
  Slot slot = Holding(0);
  slot.catalog_age = 60'000'000;
  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kNotice);
  EXPECT_THAT(JudgeSlot(slot, kLimits).reason, HasSubstr("60000000 transactions"));

  slot.catalog_age = 150'000'000;
  EXPECT_EQ(JudgeSlot(slot, kLimits).alarm, SlotAlarm::kUrgent);
}

TEST(JudgeSlotTest, ALostSlotIsUrgentWhateverItHoldsBack) {
  Slot slot = Holding(0);
  slot.lost = "it was invalidated (idle_timeout)";

  const SlotVerdict verdict = JudgeSlot(slot, kLimits);

  EXPECT_EQ(verdict.alarm, SlotAlarm::kUrgent);
  EXPECT_THAT(verdict.reason, HasSubstr("idle_timeout"));
}

TEST(JudgeSlotTest, WhatIsNotKnownIsNoAlarm) {
  Slot slot = Holding(-1);
  slot.restart_lsn = {};

  EXPECT_EQ(JudgeSlot(slot, {}).alarm, SlotAlarm::kNone);
}

}  // namespace
}  // namespace freshet::postgres
