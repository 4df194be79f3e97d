#include "postgres/side_watch.h"

#include "base/logging.h"
#include "postgres/preflight.h"

namespace freshet::postgres {
namespace {

/// A server that lets a simple question wait longer is out of reach: on a network that lost its way
/// no socket says so.
constexpr std::chrono::seconds kAnswerLimit{15};

}  // namespace

Result<bool> SideWatch::LookAfter(bool check_slot, const std::vector<std::string>& notices,
                                  std::stop_token stop) {
  // A walsender has little to say on the side: that it skips a publication that is gone (18), or
  // waits for a standby (17+), whose slot may bear any name.
  for (const std::string& notice : notices) {
    logging::Warning("the walsender says", {{"message", notice}});
    if (notice.find('"' + options_.publication + '"') == std::string::npos) continue;
    if (notice.find("synchronized_standby_slots") != std::string::npos) continue;
    return Fail(ErrorKind::kGap,
                "publication '{}' is gone, or was made anew, and the server skips rows of its "
                "tables (\"{}\"); {}",
                options_.publication, notice, kRepairGap);
  }
  if (!catalog_.connection().Consume().has_value()) {
    auto again = Connection::Connect(options_.url, BesideStream(), stop);
    if (!again.has_value()) {
      // The stream itself still works: only a server that shuts down turns us away so.
      return again.error().kind != ErrorKind::kUnavailable;
    }
    catalog_.Reconnected(*std::move(again));
  }
  if (!check_slot) return true;
  catalog_.connection().LimitAnswers(kAnswerLimit);
  Status status = CheckSlotNow(stop);
  if (status.has_value()) {
    status = tables_.Look(stop);
    // Somebody has locked a table for long, or dropped one at this moment: the next look sees it.
    const bool later = !status.has_value() && (status.error().kind == ErrorKind::kBusy ||
                                               status.error().kind == ErrorKind::kFatal);
    if (later) {
      logging::Info("the tables will be looked at later", {{"because", status.error().message}});
      status = {};
    }
  }
  // A session that was closed is replaced the next time; one that is silent tells of the stream's.
  const bool closed = !status.has_value() && status.error().kind == ErrorKind::kUnavailable &&
                      !catalog_.connection().timed_out() && !tables_.tables_joined();
  if (!status.has_value() && !closed) return Fail(status.error());
  return true;
}

Status SideWatch::CheckSlotNow(std::stop_token stop) {
  FRESHET_TRY(const std::optional<Slot> slot,
              InspectSlot(catalog_.connection(), options_.slot, stop));
  if (!slot.has_value()) return {};  // the stream itself will say so
  if (limits_.catalog_age == 0) {
    FRESHET_TRY(limits_, ReadSlotLimits(catalog_.connection(), options_, stop));
  }
  ShowSlot(*slot);
  return ShowStandby(*slot, stop);
}

void SideWatch::ShowSlot(const Slot& slot) {
  SlotVerdict verdict = JudgeSlot(slot, limits_);
  if (verdict.alarm > board_.Read().slot_verdict.alarm) {
    logging::Warning("the slot", {{"what", verdict.reason}, {"repair", verdict.repair}});
  }
  board_.Update([&](CaptureStatus& status) {
    status.slot_retained_bytes = slot.retained_bytes;
    status.slot_wal_status = slot.wal_status;
    status.slot_safe_wal_bytes = slot.safe_wal_bytes;
    status.slot_catalog_age = slot.catalog_age;
    status.slot_verdict = std::move(verdict);
  });
}

Status SideWatch::ShowStandby(const Slot& slot, std::stop_token stop) {
  const CaptureStatus status = board_.Read();
  const bool waited = status.state == CaptureState::kWaitingForStandby;
  // Nothing since the last look: a standby that follows is behind by a moment always.
  const bool stands = status.received < slot.server_end && status.received == received_before_;
  received_before_ = status.received;
  std::string reason;
  if (stands) {
    FRESHET_TRY(reason, StandbyInTheWay(catalog_.connection(), stop));
  }
  if (!reason.empty() && (waited || status.state == CaptureState::kStreaming)) {
    if (!waited) logging::Warning("waiting for a standby", {{"why", reason}});
    board_.Enter(CaptureState::kWaitingForStandby, std::move(reason));
  } else if (waited && reason.empty()) {
    board_.Enter(CaptureState::kStreaming);
  }
  return {};
}

}  // namespace freshet::postgres
