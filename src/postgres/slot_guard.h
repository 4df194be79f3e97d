#pragma once

#include <cstdint>
#include <string>

#include "postgres/slot.h"

namespace freshet::postgres {

/// How near a slot is to harm, for itself or for its server.
enum class SlotAlarm : uint8_t { kNone, kNotice, kUrgent };

/// What a slot may hold back at its server before somebody should look.
struct SlotLimits {
  /// WAL, in bytes, where the server sets no max_slot_wal_keep_size.
  int64_t wal_bytes = 0;

  /// Age of catalog_xmin, in transactions: the server's autovacuum_freeze_max_age.
  int64_t catalog_age = 0;
};

/// Shares of a limit, in percent, from which on there is an alarm.
inline constexpr int64_t kNoticePercent = 25;
inline constexpr int64_t kUrgentPercent = 75;

struct SlotVerdict {
  SlotAlarm alarm = SlotAlarm::kNone;
  std::string reason;  ///< one sentence with the figures; empty without an alarm
  std::string repair;
};

/// Judges what `slot` holds back: WAL against max_slot_wal_keep_size, beyond which the slot is lost
/// (13+), else against `limits.wal_bytes`, which is the disk of the server; and dead rows of the
/// catalog, which its catalog_xmin keeps from being removed. The worse of both. Pure.
SlotVerdict JudgeSlot(const Slot& slot, const SlotLimits& limits);

}  // namespace freshet::postgres
