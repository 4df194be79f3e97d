#include "postgres/table_watch.h"

#include <algorithm>

#include "base/logging.h"

namespace freshet::postgres {
namespace {

/// Warnings shown at once; the log of the process has them all.
constexpr size_t kMaxWarnings = 20;

/// With very many tables a picture costs the server something: never more than a share of it.
constexpr int kShareOfTime = 50;

/// Between two notes in the log that tables lie as they did. What was written since the last one is
/// not told from rows that a rewrite made, should a partition be moved while freshet is down.
constexpr std::chrono::minutes kHorizonInterval{1};

/// The rows of both.
void Merge(UnsentRows& all, UnsentRows more) {
  if (all.why.find(more.why) == std::string::npos) all.why += "; " + more.why;
  const bool anywhere = all.parts.empty() || more.parts.empty();
  all.parts.insert(all.parts.end(), more.parts.begin(), more.parts.end());
  if (anywhere) all.parts.clear();
  all.vanished = all.vanished || more.vanished;
  all.unless_truncated = all.unless_truncated && more.unless_truncated;
}

/// What a log knows, as a picture.
SourcePicture PictureOf(const change::SnapshotLedger& log) {
  SourcePicture out;
  for (const auto& [table, seen] : log.seen()) {
    out.tables[table.value] = {.name = {},
                               .root = table,
                               .horizon = seen.horizon,
                               .published = true,
                               .membership = seen.membership,
                               .sent = seen.sent,
                               .row_type = seen.row_type,
                               .key_type = seen.key_type};
    for (const change::SeenPart& part : seen.parts) {
      PicturedTable& relation = out.tables[part.part.value];
      relation.root = table;
      relation.filenode = part.filenode;
      relation.horizon = seen.horizon;
    }
  }
  return out;
}

}  // namespace

TableWatch::TableWatch(const Options& options, Catalog& catalog, StatusBoard& board,
                       const Clock& clock, const change::SnapshotLedger& log, Truncated& truncated)
    : options_(options),
      catalog_(catalog),
      board_(board),
      clock_(clock),
      truncated_(truncated),
      before_(PictureOf(log)),
      logged_(log.seen()) {}

Status TableWatch::Begin(std::span<const change::TableId> chosen, std::stop_token stop) {
  chosen_.assign(chosen.begin(), chosen.end());
  const std::unordered_set<uint32_t> roots = [&] {
    std::unordered_set<uint32_t> out;
    for (const change::TableId id : chosen) out.insert(id.value);
    return out;
  }();
  std::erase_if(before_.tables,
                [&](const auto& each) { return !roots.contains(each.second.root.value); });
  std::erase_if(unsent_, [&](const auto& each) { return !roots.contains(each.first.value); });
  FRESHET_TRY(SourcePicture now,
              TakePicture(catalog_.connection(), options_.publication, chosen_, stop));
  FRESHET_RETURN_IF_ERROR(LookAtRows(catalog_.connection(), before_, now, stop));
  // What is not sent any more is for whoever made the choice.
  SourceDrift drift = Compare(before_, now, options_.publication);
  before_.listed = now.listed;
  Take(now, std::move(drift.unsent_rows));
  next_picture_ = {};
  return {};
}

Status TableWatch::Look(std::stop_token stop) {
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
  Take(now, std::move(drift.unsent_rows));
  ShowWarnings(std::move(drift.warnings));
  return {};
}

/// Where rows lie is compared with the last look, what is published with the first.
void TableWatch::Take(const SourcePicture& now, std::vector<UnsentRows> unsent) {
  for (UnsentRows& rows : unsent) {
    const auto [at, is_new] = unsent_.try_emplace(rows.table);
    if (is_new) {
      at->second.rows = std::move(rows);
    } else {
      Merge(at->second.rows, std::move(rows));
      at->second.refused.clear();
    }
    at->second.seen_at = now.seen_at;
  }
  if (!now.published) return;  // the stream says so, or the next choice of tables
  before_.seen_at = now.seen_at;
  before_.horizon = now.horizon;
  // Of a table that is gone the last picture stays, to be warned of; of a partition it does not.
  std::erase_if(before_.tables, [&](const auto& each) {
    return each.second.root.value != each.first && !now.tables.contains(each.first);
  });
  for (const auto& [oid, is] : now.tables) {
    PicturedTable& was = before_.tables.try_emplace(oid, is).first->second;
    was.name = is.name;
    was.filenode = is.filenode;
    was.horizon = is.horizon;
    if (!was.published) was.sent = is.sent;
    was.published = was.published || is.published;
    was.membership = is.membership;
    was.row_type = is.row_type;
    was.key_type = is.key_type;
  }
  for (auto& [table, each] : unsent_) each.offered = false;
  Resolve();
  due_ = true;
  news_ = true;
}

void TableWatch::Resolve() {
  std::erase_if(unsent_, [&](const auto& each) {
    const UnsentRows& rows = each.second.rows;
    return rows.unless_truncated && truncated_.erase(rows.table.value) > 0;
  });
}

bool TableWatch::is_sure(const Unsent& unsent) const {
  return !unsent.rows.unless_truncated || board_.Read().received >= unsent.seen_at;
}

/// Left to the user.
bool TableWatch::is_left(const Unsent& unsent) const {
  const bool reads = options_.snapshot != SnapshotMode::kNever;
  switch (reads ? options_.unsent_rows : UnsentRowsPolicy::kWarn) {
    case UnsentRowsPolicy::kReadAgain:
      return false;
    case UnsentRowsPolicy::kKeepVanished:
      return unsent.rows.vanished;
    case UnsentRowsPolicy::kWarn:
      return true;
  }
  return true;
}

void TableWatch::ShowWarnings(std::vector<std::string> warnings) {
  for (const auto& [table, unsent] : unsent_) {
    const bool shown = is_left(unsent) || !unsent.refused.empty();
    if (!shown || !is_sure(unsent)) continue;
    const auto at = before_.tables.find(table.value);
    const std::string name = at == before_.tables.end() ? "" : change::ToString(at->second.name);
    warnings.push_back(
        fmt::format("{}, of which PostgreSQL sends nothing: {}freshet table "
                    "resnapshot {}{}",
                    unsent.rows.why, unsent.refused.empty() ? "" : unsent.refused + "; then ", name,
                    unsent.rows.vanished ? " --replace" : ""));
  }
  const std::vector<std::string> known = board_.Read().warnings;
  for (const std::string& warning : warnings) {
    if (std::find(known.begin(), known.end(), warning) == known.end()) {
      logging::Warning("the source", {{"what", warning}});
    }
  }
  if (warnings.size() > kMaxWarnings) warnings.resize(kMaxWarnings);
  board_.Update([&](CaptureStatus& status) { status.warnings = std::move(warnings); });
}

std::vector<UnsentRows> TableWatch::TakeDue() {
  std::vector<UnsentRows> out;
  if (!std::exchange(due_, false)) return out;
  Resolve();
  for (auto& [table, unsent] : unsent_) {
    if (is_left(unsent) || unsent.offered) continue;
    if (is_sure(unsent)) {
      unsent.offered = true;
      out.push_back(unsent.rows);
    } else {
      due_ = true;
    }
  }
  return out;
}

void TableWatch::Settle(change::TableId table) {
  unsent_.erase(table);
  news_ = true;
}

void TableWatch::Refuse(change::TableId table, const std::string& why) {
  const auto found = unsent_.find(table);
  if (found != unsent_.end()) found->second.refused = why;
}

void TableWatch::Forget(change::TableId table) {
  Settle(table);
  std::erase_if(before_.tables, [&](const auto& each) { return each.second.root == table; });
}

change::SeenTable TableWatch::Seen(change::TableId table) const {
  const PicturedTable& root = before_.tables.at(table.value);
  return {.horizon = before_.horizon,
          .row_type = root.row_type,
          .key_type = root.key_type,
          .sent = root.sent,
          .membership = root.membership};
}

std::vector<change::SnapshotProgress> TableWatch::TakeSteps() {
  std::vector<change::SnapshotProgress> out;
  if (!std::exchange(news_, false)) return out;
  std::map<change::TableId, change::SeenTable> seen;
  for (const auto& [oid, table] : before_.tables) {
    const auto root = before_.tables.find(table.root.value);
    if (unsent_.contains(table.root) || root == before_.tables.end() || !root->second.published) {
      continue;
    }
    const auto [at, is_new] = seen.try_emplace(table.root);
    if (is_new) at->second = Seen(table.root);
    if (table.filenode != 0) at->second.parts.push_back({{oid}, table.filenode});
  }
  for (auto& [table, is] : seen) {
    if (is.parts.size() > change::kMostSeenParts) continue;
    const auto [was, is_new] = logged_.try_emplace(table, is);
    was->second.horizon = is.horizon;
    if (!is_new && was->second == is) continue;
    was->second = is;
    out.push_back({.step = change::SnapshotStep::kSeen, .table = table, .seen = std::move(is)});
  }
  // With rows that are unsent of one, that one lies as it was seen before some transaction.
  const auto now = clock_.Monotonic();
  const bool moved = before_.horizon > logged_horizon_ && !logged_.empty();
  if (unsent_.empty() && moved && now >= next_horizon_) {
    next_horizon_ = now + kHorizonInterval;
    logged_horizon_ = before_.horizon;
    out.push_back({.step = change::SnapshotStep::kLooked, .seen = {.horizon = before_.horizon}});
  }
  return out;
}

}  // namespace freshet::postgres
