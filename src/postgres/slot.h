#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "change/ids.h"
#include "postgres/connection.h"

namespace freshet::postgres {

/// A replication slot as pg_replication_slots has it.
struct Slot {
  std::string name;
  std::string plugin;
  std::string database;
  bool logical = true;
  bool temporary = false;
  int64_t active_pid = 0;  ///< whose walsender uses it; 0: nobody
  change::Lsn restart_lsn;
  change::Lsn confirmed_flush;
  std::string wal_status;       ///< reserved, extended, unreserved, lost (13+)
  int64_t retained_bytes = -1;  ///< WAL from restart_lsn to the server's end; -1 unknown
  int64_t safe_wal_bytes = -1;  ///< WAL that may be written before it is lost (13+); -1 no limit
  int64_t catalog_age = -1;     ///< of catalog_xmin, in transactions; -1 unknown
  change::Lsn server_end;       ///< of the server's WAL on disk, when this was read

  /// Why the slot can give no changes any more ("lost: ..."); empty while it can.
  std::string lost;
};

/// What IDENTIFY_SYSTEM and the database say of the server.
struct ServerIdentity {
  uint64_t system_id = 0;
  uint32_t timeline = 0;
  change::Lsn flush_end;
  std::string database;
  uint32_t database_oid = 0;
};

/// A slot just made and the snapshot that shows exactly what lies before its consistent point. The
/// snapshot can be imported until the next command of the session that made it.
struct CreatedSlot {
  change::Lsn consistent_point;
  std::string snapshot;
};

/// Reads a slot; none when there is none of that name. Errors: those of Connection.
Result<std::optional<Slot>> InspectSlot(Connection& connection, const std::string& name,
                                        std::stop_token stop = {});

/// Whether the server is a standby: it decodes (16+), but takes no writes, and its snapshots do not
/// list what runs. Errors: those of Connection.
Result<bool> IsStandby(Connection& connection, std::stop_token stop = {});

/// Which standby holds back what a slot sends, and why: one that synchronized_standby_slots (17+)
/// names and that is away or behind. Empty: none. Errors: those of Connection.
Result<std::string> StandbyInTheWay(Connection& connection, std::stop_token stop = {});

/// Asks who the server is, through a walsender session and an ordinary one.
Result<ServerIdentity> Identify(Connection& walsender, Connection& connection,
                                std::stop_token stop = {});

/// Where the server, now on timeline `now`, left timeline `before`: up to there both have the same
/// WAL. None when its history does not know `before`. Errors: those of Connection.
Result<std::optional<change::Lsn>> TimelineEnd(Connection& walsender, uint32_t before, uint32_t now,
                                               std::stop_token stop = {});

/// Reads where a timeline ended out of a history file: lines of timeline, LSN and reason.
std::optional<change::Lsn> FindTimelineEnd(std::string_view history, uint32_t timeline);

/// How a slot is made.
struct SlotRequest {
  std::string name;
  bool temporary = false;  ///< goes with the session
  bool failover = false;   ///< standbys may keep a copy (17+; older servers have no such thing)
  std::chrono::nanoseconds timeout{};

  /// Called about once a second with one sentence while the server waits for running transactions.
  std::function<void(const std::string& waiting_for)> on_wait;
};

/// Makes a logical slot for pgoutput. The server waits until every transaction that was writing
/// when it began has ended.
///
/// Errors: kBusy after the timeout, naming the sessions that hold it up (nothing is left behind);
/// kConfig (wal_level, max_replication_slots, the name is taken), and those of Connection.
Result<CreatedSlot> CreateSlot(Connection& walsender, Connection& connection,
                               const SlotRequest& request, std::stop_token stop = {});

/// Drops a slot. Dropping one that is not there succeeds. Errors: kBusy while it is in use.
Status DropSlot(Connection& connection, const std::string& name, std::stop_token stop = {});

}  // namespace freshet::postgres
