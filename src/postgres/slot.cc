#include "postgres/slot.h"

#include <algorithm>
#include <charconv>

#include "base/clock.h"

namespace freshet::postgres {

using std::chrono::nanoseconds;

namespace {

change::Lsn LsnAt(const Rows& rows, int row, int column) {
  const auto lsn = change::ParseLsn(rows.at(row, column));
  return lsn.has_value() ? *lsn : change::Lsn{};
}

/// The sessions and prepared transactions that a new slot waits for, for people.
std::string Blockers(Connection& connection, const Connection& walsender, std::stop_token stop) {
  if (IsStandby(connection, stop).value_or(false)) {
    return "the primary to say in the WAL which transactions run there (on the primary: SELECT "
           "pg_log_standby_snapshot()), and for those to end";
  }
  const std::string sql = fmt::format(
      "SELECT format('pid %s (%s, %s, in a transaction since %s)', pid, usename,"
      " application_name, xact_start) FROM pg_stat_activity"
      " WHERE backend_xid IS NOT NULL AND pid NOT IN (pg_backend_pid(), {}) "
      "UNION ALL SELECT format('prepared transaction %L', gid) FROM pg_prepared_xacts LIMIT 10",
      walsender.backend_pid());
  auto rows = connection.Query(sql, stop);
  if (!rows.has_value() || rows->size() == 0) return "a transaction that has ended by now";
  std::string out;
  for (int i = 0; i < rows->size(); ++i) {
    out += out.empty() ? "" : ", ";
    out += rows->at(i, 0);
  }
  return out;
}

}  // namespace

Result<std::optional<Slot>> InspectSlot(Connection& connection, const std::string& name,
                                        std::stop_token stop) {
  const int major = connection.server_major();
  const std::string sql = fmt::format(
      "SELECT plugin, database, slot_type = 'logical', temporary, COALESCE(active_pid, 0),"
      " restart_lsn, confirmed_flush_lsn, {}, {}, {},"
      " pg_wal_lsn_diff(server_end, restart_lsn), {}, COALESCE(age(catalog_xmin), -1), server_end "
      "FROM pg_replication_slots, (SELECT CASE WHEN pg_is_in_recovery()"
      "  THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS server_end) AS e "
      "WHERE slot_name = $1",
      major >= 13 ? "wal_status" : "NULL", major >= 16 ? "conflicting" : "false",
      major >= 17 ? "invalidation_reason" : "NULL",
      major >= 13 ? "COALESCE(safe_wal_size, -1)" : "-1");
  FRESHET_TRY(const Rows rows, connection.Query(sql, {name}, stop));
  if (rows.size() == 0) return std::optional<Slot>();
  Slot out{.name = name,
           .plugin = std::string(rows.at(0, 0)),
           .database = std::string(rows.at(0, 1)),
           .logical = rows.boolean(0, 2),
           .temporary = rows.boolean(0, 3),
           .active_pid = rows.integer(0, 4),
           .restart_lsn = LsnAt(rows, 0, 5),
           .confirmed_flush = LsnAt(rows, 0, 6),
           .wal_status = std::string(rows.at(0, 7)),
           .retained_bytes = rows.is_null(0, 10) ? -1 : rows.integer(0, 10),
           .safe_wal_bytes = rows.integer(0, 11),
           .catalog_age = rows.integer(0, 12),
           .server_end = LsnAt(rows, 0, 13),
           .lost = ""};
  const std::string_view reason = rows.at(0, 9);
  if (!reason.empty()) {
    out.lost = fmt::format("it was invalidated ({})", reason);
  } else if (rows.boolean(0, 8)) {
    out.lost = "it was invalidated by a recovery conflict on the standby";
  } else if (out.wal_status == "lost") {
    out.lost = "the server removed WAL that it needs (max_slot_wal_keep_size)";
  } else if (out.logical && out.restart_lsn == change::Lsn{} && out.active_pid == 0) {
    out.lost = "it holds no WAL";
  }
  return out;
}

Result<bool> IsStandby(Connection& connection, std::stop_token stop) {
  FRESHET_TRY(const Rows rows, connection.Query("SELECT pg_is_in_recovery()", stop));
  return rows.boolean(0, 0);
}

Result<std::string> StandbyInTheWay(Connection& connection, std::stop_token stop) {
  if (connection.server_major() < 17) return std::string();
  // A standby that follows is behind by a moment always: only one that is away is named for that.
  FRESHET_TRY(
      const Rows rows,
      connection.Query("SELECT wanted, CASE WHEN s.slot_name IS NULL THEN 'is not there'"
                       "  WHEN s.slot_type <> 'physical' THEN 'is not a physical one'"
                       "  WHEN s.invalidation_reason IS NOT NULL"
                       "  THEN 'was invalidated (' || s.invalidation_reason || ')'"
                       "  WHEN NOT s.active THEN 'is not in use'"
                       "  ELSE 'is behind, at ' || COALESCE(s.restart_lsn::text, 'no position') END"
                       " FROM (SELECT trim(both ' \"' FROM unnest(string_to_array(current_setting("
                       "  'synchronized_standby_slots'), ','))) AS wanted) AS names"
                       " LEFT JOIN pg_replication_slots AS s ON s.slot_name = wanted"
                       " WHERE wanted <> '' AND NOT pg_is_in_recovery() AND (s.slot_name IS NULL "
                       "OR NOT s.active OR"
                       "  s.invalidation_reason IS NOT NULL OR s.slot_type <> 'physical' OR"
                       "  s.restart_lsn < CASE WHEN NOT pg_is_in_recovery()"
                       "   THEN pg_current_wal_flush_lsn() END)"
                       " ORDER BY s.restart_lsn NULLS FIRST LIMIT 1",
                       stop));
  if (rows.size() == 0) return std::string();
  return fmt::format(
      "the server sends nothing that the standby of slot '{}' does not have, and that slot {}; "
      "start the standby, or take it out of synchronized_standby_slots",
      rows.at(0, 0), rows.at(0, 1));
}

Result<ServerIdentity> Identify(Connection& walsender, Connection& connection,
                                std::stop_token stop) {
  FRESHET_TRY(const Rows system, walsender.Query("IDENTIFY_SYSTEM", stop));
  FRESHET_TRY(const Rows database, connection.Query("SELECT datname, oid FROM pg_database"
                                                    " WHERE datname = current_database()",
                                                    stop));
  ServerIdentity out{.system_id = 0,
                     .timeline = static_cast<uint32_t>(system.integer(0, 1)),
                     .flush_end = LsnAt(system, 0, 2),
                     .database = std::string(database.at(0, 0)),
                     .database_oid = static_cast<uint32_t>(database.integer(0, 1))};
  const std::string_view id = system.at(0, 0);
  std::from_chars(id.data(), id.data() + id.size(), out.system_id);
  return out;
}

std::optional<change::Lsn> FindTimelineEnd(std::string_view history, uint32_t timeline) {
  while (!history.empty()) {
    const size_t newline = std::min(history.find('\n'), history.size());
    const std::string_view line = history.substr(0, newline);
    history.remove_prefix(std::min(newline + 1, history.size()));
    uint32_t of = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), of);
    if (error != std::errc() || of != timeline) continue;  // a comment, or another timeline
    std::string_view rest = line.substr(static_cast<size_t>(stop - line.data()));
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    const auto lsn = change::ParseLsn(rest.substr(0, rest.find_first_of(" \t")));
    if (lsn.has_value()) return *lsn;
  }
  return std::nullopt;
}

Result<std::optional<change::Lsn>> TimelineEnd(Connection& walsender, uint32_t before, uint32_t now,
                                               std::stop_token stop) {
  if (before >= now) return std::optional<change::Lsn>();  // the first one has no history
  FRESHET_TRY(const Rows history, walsender.Query(fmt::format("TIMELINE_HISTORY {}", now), stop));
  if (history.size() == 0) return std::optional<change::Lsn>();
  return FindTimelineEnd(history.at(0, 1), before);
}

Result<CreatedSlot> CreateSlot(Connection& walsender, Connection& connection,
                               const SlotRequest& request, std::stop_token stop) {
  constexpr nanoseconds kReportEvery = std::chrono::seconds(1);
  const nanoseconds deadline = SystemClock().Monotonic() + request.timeout;
  // Without failover the form that every version from 10 on understands.
  bool failover = request.failover && !request.temporary && connection.server_major() >= 17;
  if (failover) {  // of a standby's own slots nobody keeps a copy
    FRESHET_TRY(const bool standby, IsStandby(connection, stop));
    failover = !standby;
  }
  FRESHET_RETURN_IF_ERROR(walsender.Send(
      fmt::format("CREATE_REPLICATION_SLOT {} {} LOGICAL pgoutput {}",
                  Connection::QuoteIdentifier(request.name), request.temporary ? "TEMPORARY" : "",
                  failover ? "(SNAPSHOT 'export', FAILOVER true)" : "EXPORT_SNAPSHOT")));
  for (;;) {
    const nanoseconds left = deadline - SystemClock().Monotonic();
    auto answered = walsender.AnswerWithin(std::min(kReportEvery, left), stop);
    if (!answered.has_value()) {
      walsender.Cancel();
      return Fail(std::move(answered).error());
    }
    if (*answered) break;
    const std::string blockers = Blockers(connection, walsender, stop);
    if (SystemClock().Monotonic() >= deadline) {
      walsender.Cancel();
      // Takes the answer, so that the session knows whether the slot came after all.
      auto late = walsender.Receive(stop);
      if (late.has_value()) FRESHET_RETURN_IF_ERROR(DropSlot(connection, request.name, stop));
      return Fail(
          ErrorKind::kBusy,
          "slot '{}' could not be made within slot_create_timeout: the server waits for {}; "
          "see to that (SELECT pg_terminate_backend(pid) ends a session), or raise "
          "slot_create_timeout",
          request.name, blockers);
    }
    if (request.on_wait) request.on_wait("the new slot waits for " + blockers);
  }
  auto rows = walsender.Receive(stop);
  if (!rows.has_value()) return FailWhile("make the replication slot", rows.error());
  return CreatedSlot{.consistent_point = LsnAt(*rows, 0, 1),
                     .snapshot = std::string(rows->at(0, 2))};
}

Status DropSlot(Connection& connection, const std::string& name, std::stop_token stop) {
  auto rows = connection.Query(
      "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1",
      {name}, stop);
  if (rows.has_value()) return {};
  return FailWhile(fmt::format("drop the slot '{}'", name), rows.error());
}

}  // namespace freshet::postgres
