#include "postgres/slot_guard.h"

#include <fmt/format.h>

#include <string_view>

#include "base/figures.h"

namespace freshet::postgres {
namespace {

SlotAlarm AlarmAt(int64_t used, int64_t limit) {
  if (limit <= 0 || used < 0) return SlotAlarm::kNone;
  const double percent = 100.0 * static_cast<double>(used) / static_cast<double>(limit);
  if (percent >= kUrgentPercent) return SlotAlarm::kUrgent;
  return percent >= kNoticePercent ? SlotAlarm::kNotice : SlotAlarm::kNone;
}

/// Less than this is what any server keeps, whatever its slots need: two segments of 16 MiB.
constexpr int64_t kOrdinaryBytes = int64_t{32} << 20;

/// What to do about WAL that is held back depends on who holds it: a reader that has not
/// acknowledged, or a transaction that is still open.
std::string_view WalRepair(const Slot& slot) {
  const auto held_by_reader =
      static_cast<int64_t>(slot.server_end.value - slot.confirmed_flush.value);
  if (slot.confirmed_flush > slot.server_end || held_by_reader < slot.retained_bytes / 2) {
    return "a transaction that is open for long holds it back; end it (SELECT pid, xact_start, "
           "state, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start; "
           "SELECT * FROM pg_prepared_xacts)";
  }
  return "see to it that freshet runs and its log has room; a slot that is needed no more: SELECT "
         "pg_drop_replication_slot('name')";
}

SlotVerdict JudgeWal(const Slot& slot, int64_t limit_bytes) {
  if (slot.retained_bytes < 0) return {};
  if (slot.safe_wal_bytes >= 0 || slot.wal_status == "unreserved") {
    const int64_t limit = slot.retained_bytes + std::max<int64_t>(slot.safe_wal_bytes, 0);
    SlotAlarm alarm = AlarmAt(slot.retained_bytes, limit);
    if (slot.wal_status == "unreserved") {
      alarm = SlotAlarm::kUrgent;  // the next checkpoint takes it
    } else if (slot.retained_bytes < kOrdinaryBytes) {
      alarm = SlotAlarm::kNone;
    }
    if (alarm == SlotAlarm::kNone) return {};
    return {alarm,
            fmt::format("slot '{}' holds back {} of WAL and is lost when another {} are written "
                        "(max_slot_wal_keep_size)",
                        slot.name, HumanBytes(slot.retained_bytes),
                        HumanBytes(std::max<int64_t>(slot.safe_wal_bytes, 0))),
            fmt::format("{}; to gain time: ALTER SYSTEM SET max_slot_wal_keep_size = '...', SELECT "
                        "pg_reload_conf()",
                        WalRepair(slot))};
  }
  const SlotAlarm alarm = AlarmAt(slot.retained_bytes, limit_bytes);
  if (alarm == SlotAlarm::kNone) return {};
  return {alarm,
          fmt::format("slot '{}' holds back {} of WAL on the server's disk (slot_retention_warning "
                      "is {})",
                      slot.name, HumanBytes(slot.retained_bytes), HumanBytes(limit_bytes)),
          std::string(WalRepair(slot))};
}

SlotVerdict JudgeCatalog(const Slot& slot, int64_t limit_age) {
  const SlotAlarm alarm = AlarmAt(slot.catalog_age, limit_age);
  if (alarm == SlotAlarm::kNone) return {};
  return {
      alarm,
      fmt::format("slot '{}' keeps rows of the catalog that died up to {} transactions ago from "
                  "being removed (autovacuum_freeze_max_age is {})",
                  slot.name, slot.catalog_age, limit_age),
      std::string(WalRepair(slot)) + "; afterwards VACUUM pg_class, pg_attribute"};
}

}  // namespace

SlotVerdict JudgeSlot(const Slot& slot, const SlotLimits& limits) {
  if (!slot.lost.empty()) {
    return {SlotAlarm::kUrgent, fmt::format("slot '{}' is lost: {}", slot.name, slot.lost),
            "the tables must be taken anew"};
  }
  SlotVerdict wal = JudgeWal(slot, limits.wal_bytes);
  SlotVerdict catalog = JudgeCatalog(slot, limits.catalog_age);
  return catalog.alarm > wal.alarm ? catalog : wal;
}

}  // namespace freshet::postgres
