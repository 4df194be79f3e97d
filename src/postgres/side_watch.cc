#include "postgres/side_watch.h"

#include <algorithm>

#include "base/logging.h"
#include "postgres/preflight.h"

namespace freshet::postgres {
namespace {

/// A server that lets a simple question wait longer is out of reach: on a network that lost its way
/// no socket says so.
constexpr std::chrono::seconds kAnswerLimit{15};

/// Warnings shown at once; the log of the process has them all.
constexpr size_t kMaxWarnings = 20;

}  // namespace

Result<bool> SideWatch::LookAfter(bool check_slot, const std::vector<std::string>& notices,
                                  std::stop_token stop) {
  // A walsender has nothing to say on the side, unless it skips a publication that is gone (18).
  for (const std::string& notice : notices) {
    logging::Warning("the walsender says", {{"message", notice}});
    if (notice.find(options_.publication) == std::string::npos) continue;
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
  if (status.has_value()) status = LookAtTables(stop);
  // A session that was closed is replaced the next time; one that is silent tells of the stream's.
  const bool closed = !status.has_value() && status.error().kind == ErrorKind::kUnavailable &&
                      !catalog_.connection().timed_out() && !tables_joined_;
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
  std::string reason;
  if (status.received < slot.server_end) {
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

Status SideWatch::Begin(std::span<const change::TableId> chosen, std::stop_token stop) {
  chosen_.assign(chosen.begin(), chosen.end());
  FRESHET_TRY(before_, TakePicture(catalog_.connection(), options_.publication, chosen_, stop));
  next_picture_ = {};
  unsent_rows_.clear();
  return {};
}

Status SideWatch::LookAtTables(std::stop_token stop) {
  // With very many tables a picture costs the server something: never more than a share of it.
  constexpr int kShareOfTime = 50;
  const auto began = clock_.Monotonic();
  if (began < next_picture_) return {};
  FRESHET_TRY(SourcePicture now,
              TakePicture(catalog_.connection(), options_.publication, chosen_, stop));
  FRESHET_RETURN_IF_ERROR(LookAtRows(catalog_.connection(), before_, now, stop));
  next_picture_ = began + (clock_.Monotonic() - began) * kShareOfTime;
  SourceDrift drift = Compare(before_, now, options_.publication);
  if (!drift.gap.empty()) return Fail(ErrorKind::kGap, "{}", drift.gap);
  if (drift.tables_joined) {
    tables_joined_ = true;
    return Fail(
        ErrorKind::kUnavailable,
        "publication '{}' has more tables than before; the stream begins anew, so that those "
        "that are chosen join it",
        options_.publication);
  }
  for (UnsentRows& rows : drift.unsent_rows) unsent_rows_[rows.table.value] = std::move(rows.what);
  for (const auto& [table, what] : unsent_rows_) drift.warnings.push_back(what);
  const std::vector<std::string> known = board_.Read().warnings;
  for (const std::string& warning : drift.warnings) {
    if (std::find(known.begin(), known.end(), warning) == known.end()) {
      logging::Warning("the source", {{"what", warning}});
    }
  }
  if (drift.warnings.size() > kMaxWarnings) drift.warnings.resize(kMaxWarnings);
  board_.Update([&](CaptureStatus& status) { status.warnings = std::move(drift.warnings); });
  // Where rows lie is compared with the last look, what is published with the first.
  before_.seen_at = now.seen_at;
  before_.horizon = now.horizon;
  for (const auto& [table, is] : now.tables) {
    PicturedTable& was = before_.tables.try_emplace(table, is).first->second;
    was.filenode = is.filenode;
    was.row_type = is.row_type;
  }
  return {};
}

}  // namespace freshet::postgres
