#include "postgres/preflight.h"

#include <libpq-fe.h>

#include <algorithm>

#include "postgres/publication.h"
#include "postgres/slot.h"

namespace freshet::postgres {
namespace {

Check Ok(std::string name, std::string what) {
  return {
      .name = std::move(name), .result = CheckResult::kOk, .what = std::move(what), .repair = ""};
}

Check Warn(std::string name, std::string what, std::string repair) {
  return {.name = std::move(name),
          .result = CheckResult::kWarn,
          .what = std::move(what),
          .repair = std::move(repair)};
}

Check Failed(std::string name, ErrorKind kind, std::string what, std::string repair) {
  return {.name = std::move(name),
          .result = CheckResult::kFail,
          .what = std::move(what),
          .repair = std::move(repair),
          .kind = kind};
}

Check Gap(std::string what, std::string_view repair) {
  return Failed("continuity", ErrorKind::kGap, std::move(what), std::string(repair));
}

std::string QuotedName(const change::TableName& name) {
  return Connection::QuoteIdentifier(name.schema) + "." + Connection::QuoteIdentifier(name.table);
}

/// At most this many tables are named in one check; the rest is counted.
constexpr size_t kNamedTables = 5;

/// Appends `text` as the next of a list, or leaves it out when the list is long enough.
void AppendNamed(std::string& list, size_t& count, const std::string& text) {
  if (++count > kNamedTables) return;
  if (!list.empty()) list += "; ";
  list += text;
}

std::string AndMore(size_t count) {
  return count > kNamedTables ? fmt::format(" (and {} more)", count - kNamedTables) : "";
}

}  // namespace

std::string_view CheckResultName(CheckResult result) {
  switch (result) {
    case CheckResult::kOk:
      return "ok";
    case CheckResult::kWarn:
      return "warn";
    case CheckResult::kFail:
      return "fail";
  }
  return "fail";
}

std::optional<Error> FirstFailure(std::span<const Check> checks) {
  for (const Check& check : checks) {
    if (check.result != CheckResult::kFail) continue;
    std::string message = check.what;
    if (!check.repair.empty()) message += "; repair: " + check.repair;
    return Error{check.kind, std::move(message)};
  }
  return std::nullopt;
}

Result<SlotLimits> ReadSlotLimits(Connection& connection, const Options& options,
                                  std::stop_token stop) {
  FRESHET_TRY(const Rows rows,
              connection.Query("SELECT current_setting('autovacuum_freeze_max_age')", stop));
  return SlotLimits{.wal_bytes = options.slot_retention_warning.bytes,
                    .catalog_age = rows.integer(0, 0)};
}

Check MovedSlot(const std::string& slot, change::Lsn stands, change::Lsn have) {
  return Gap(fmt::format("slot '{}' stands at {}, after what the log holds ({}): somebody else "
                         "read from it, moved it or made it anew, or the log lost its end",
                         slot, change::ToString(stands), change::ToString(have)),
             kRepairGap);
}

namespace {

/// Whether a url says that the server it leads to may be a standby.
bool AsksForStandby(const Secret& url) {
  char* error = nullptr;
  PQconninfoOption* options = PQconninfoParse(url.Reveal().c_str(), &error);
  PQfreemem(error);
  bool asks = false;
  for (const PQconninfoOption* option = options; option != nullptr && option->keyword != nullptr;
       ++option) {
    if (std::string_view(option->keyword) != "target_session_attrs" || option->val == nullptr) {
      continue;
    }
    const std::string_view value = option->val;
    asks = value == "standby" || value == "prefer-standby" || value == "read-only";
  }
  PQconninfoFree(options);
  return asks;
}

}  // namespace

Result<std::vector<Check>> CheckServer(Connection& connection, const Options& options,
                                       std::stop_token stop) {
  const int major = connection.server_major();
  FRESHET_TRY(const Rows rows,
              connection.Query(
                  "SELECT current_setting('server_version'), pg_is_in_recovery(),"
                  " current_setting('wal_level'), current_setting('max_wal_senders')::int,"
                  " current_setting('max_replication_slots')::int,"
                  " (SELECT count(*) FROM pg_stat_replication),"
                  " (SELECT count(*) FROM pg_replication_slots),"
                  " (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout'),"
                  " (SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),"
                  " current_setting('synchronous_commit'), current_user,"
                  " (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
                  "  OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication'"
                  "   AND pg_has_role(current_user, oid, 'member')),"
                  " (SELECT count(*) FROM pg_replication_slots WHERE slot_name = " +
                      Connection::QuoteLiteral(options.slot) + ")",
                  stop));
  std::vector<Check> out;
  constexpr int kNewestTested = 18;
  out.push_back(major <= kNewestTested
                    ? Ok("server_version", fmt::format("PostgreSQL {}", rows.at(0, 0)))
                    : Warn("server_version",
                           fmt::format("PostgreSQL {} is newer than any that freshet was tried on",
                                       rows.at(0, 0)),
                           "look for a newer freshet"));
  // Not found, since after a failover the address may lead to a standby for a while: once the
  // pipeline has run it waits for the primary to come.
  const bool standby = rows.boolean(0, 1);
  if (!standby) {
    out.push_back(Ok("primary", "the server takes writes"));
  } else if (!AsksForStandby(options.url)) {
    out.push_back(Failed("primary", ErrorKind::kNotFound,
                         "the server is a standby, and the url does not ask for one",
                         "connect to the primary (target_session_attrs=read-write in the url), or "
                         "have the standby as the source (16+: target_session_attrs=standby)"));
  } else if (major < 16) {
    out.push_back(Failed("primary", ErrorKind::kUnsupported,
                         "the server is a standby, and standbys decode from PostgreSQL 16 on",
                         "connect to the primary (target_session_attrs=read-write in the url)"));
  } else {
    FRESHET_TRY(const Rows feedback,
                connection.Query("SELECT current_setting('hot_standby_feedback')", stop));
    out.push_back(feedback.boolean(0, 0)
                      ? Ok("standby", "the source is a standby, with hot_standby_feedback")
                      : Warn("standby",
                             "the source is a standby without hot_standby_feedback: VACUUM on the "
                             "primary will make its slots useless",
                             "on the standby: ALTER SYSTEM SET hot_standby_feedback = on, with a "
                             "primary_slot_name"));
  }
  const std::string_view wal_level = rows.at(0, 2);
  out.push_back(wal_level == "logical"
                    ? Ok("wal_level", "wal_level is logical")
                    : Failed("wal_level", ErrorKind::kConfig,
                             fmt::format("wal_level is {}, and must be logical", wal_level),
                             "ALTER SYSTEM SET wal_level = 'logical', then restart the server"));
  out.push_back(
      rows.boolean(0, 11)
          ? Ok("replication_right", fmt::format("role {} may replicate", rows.at(0, 10)))
          : Failed("replication_right", ErrorKind::kDenied,
                   fmt::format("role {} has no right to replicate", rows.at(0, 10)),
                   fmt::format("ALTER ROLE {} REPLICATION (RDS: GRANT rds_replication TO it)",
                               Connection::QuoteIdentifier(rows.at(0, 10)))));
  const int64_t senders = rows.integer(0, 3);
  const int64_t senders_used = rows.integer(0, 5);
  out.push_back(senders_used < senders
                    ? Ok("max_wal_senders", fmt::format("{} of {} in use", senders_used, senders))
                    : Failed("max_wal_senders", ErrorKind::kBusy,
                             fmt::format("all {} walsenders are in use", senders),
                             "raise max_wal_senders and restart the server"));
  const int64_t slots = rows.integer(0, 4);
  const int64_t slots_used = rows.integer(0, 6);
  const bool slot_exists = rows.integer(0, 12) != 0;
  out.push_back(slot_exists || slots_used < slots
                    ? Ok("max_replication_slots", fmt::format("{} of {} in use", slots_used, slots))
                    : Failed("max_replication_slots", ErrorKind::kConfig,
                             fmt::format("all {} replication slots are in use", slots),
                             "drop one that nobody uses (SELECT pg_drop_replication_slot(...)), or "
                             "raise max_replication_slots and restart the server"));
  const int64_t timeout_ms = rows.integer(0, 7);
  constexpr int64_t kShortTimeoutMs = 5'000;
  out.push_back(
      timeout_ms == 0 || timeout_ms >= kShortTimeoutMs
          ? Ok("wal_sender_timeout", fmt::format("{} ms", timeout_ms))
          : Warn("wal_sender_timeout",
                 fmt::format("{} ms is short: a slow network cuts the stream often", timeout_ms),
                 "ALTER SYSTEM SET wal_sender_timeout = '60s'"));
  if (major >= 13) {
    const int64_t keep_mb = rows.is_null(0, 8) ? -1 : rows.integer(0, 8);
    out.push_back(
        keep_mb >= 0
            ? Ok("max_slot_wal_keep_size",
                 fmt::format("a slot that lags by more than {} MB is lost, and with it freshet's "
                             "place",
                             keep_mb))
            : Warn("max_slot_wal_keep_size",
                   "a slot may hold back WAL without limit while freshet is down",
                   "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' protects the source's disk"));
  }
  out.push_back(rows.at(0, 9) != "off"
                    ? Ok("synchronous_commit", fmt::format("{}", rows.at(0, 9)))
                    : Warn("synchronous_commit",
                           "synchronous_commit is off: changes come 0.1 to 0.4 s after their "
                           "commit, since only flushed WAL is sent",
                           "ALTER SYSTEM SET synchronous_commit = 'on' for lower latency"));
  return out;
}

Result<std::vector<Check>> CheckTables(Catalog& catalog, const Options& options,
                                       std::stop_token stop) {
  Connection& connection = catalog.connection();
  const int major = connection.server_major();
  std::vector<Check> out;
  FRESHET_TRY(const TableFilter filter, TableFilter::Create(options.tables, options.exclude));
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog.Tables(stop));
  auto chosen = ChooseTables(all, filter, major);
  if (!chosen.has_value()) {
    out.push_back(Failed("tables", chosen.error().kind, chosen.error().message, ""));
    return out;
  }
  out.push_back(Ok("tables", fmt::format("{} chosen", chosen->size())));

  if (options.snapshot != SnapshotMode::kNever) {
    std::string names;
    size_t count = 0;
    std::string grants;
    size_t grant_count = 0;
    const std::string role =
        Connection::QuoteIdentifier(connection.parameter("session_authorization"));
    for (const CatalogTable& table : *chosen) {
      if (table.may_select) continue;
      AppendNamed(names, count, QuotedName(table.name));
      AppendNamed(grants, grant_count,
                  fmt::format("GRANT USAGE ON SCHEMA {} TO {}; GRANT SELECT ON {} TO {}",
                              Connection::QuoteIdentifier(table.name.schema), role,
                              QuotedName(table.name), role));
    }
    out.push_back(count == 0 ? Ok("select_right", "all chosen tables may be read")
                             : Failed("select_right", ErrorKind::kDenied,
                                      "no right to read " + names + AndMore(count), grants));
  }
  if (options.snapshot == SnapshotMode::kOnly) return out;  // publishes nothing

  const auto is_chosen = [&](const CatalogTable& table) {
    return std::any_of(chosen->begin(), chosen->end(), [&](const CatalogTable& c) {
      return c.id == table.id || c.id == table.root;
    });
  };
  FRESHET_TRY(const std::optional<Publication> publication,
              InspectPublication(connection, options.publication, stop));
  std::string reasons;
  size_t refused = 0;
  for (const CatalogTable& table : all) {
    // What counts is the identity of the table that is written to: of a partition, not its root.
    if (table.partitioned || !is_chosen(table)) continue;
    const std::string reason = ReasonNotToPublish(table);
    if (!reason.empty()) AppendNamed(reasons, refused, reason);
  }
  const bool publishes_all =
      !publication.has_value() || publication->updates || publication->deletes;
  if (refused == 0 || !publishes_all) {
    out.push_back(Ok("replica_identity", "updates and deletes of all chosen tables can be sent"));
  } else {
    out.push_back(Failed("replica_identity", ErrorKind::kConfig, reasons + AndMore(refused), ""));
  }

  if (!publication.has_value()) {
    FRESHET_TRY(const Rows rights,
                connection.Query("SELECT has_database_privilege(current_database(), 'CREATE')"
                                 "  AND NOT pg_is_in_recovery(),"
                                 " (SELECT count(*) FROM pg_class WHERE oid = ANY ($1::oid[])"
                                 "  AND NOT pg_has_role(relowner, 'USAGE'))",
                                 {[&] {
                                   std::string ids = "{";
                                   for (const CatalogTable& table : *chosen) {
                                     ids += (ids.size() > 1 ? "," : "") +
                                            std::to_string(table.id.value);
                                   }
                                   return ids + "}";
                                 }()},
                                 stop));
    const bool may_create = rights.boolean(0, 0) && rights.integer(0, 1) == 0;
    out.push_back(
        may_create
            ? Ok("publication", "will be made for the chosen tables")
            : Failed("publication", ErrorKind::kDenied,
                     fmt::format("publication '{}' is not there, and this role may not "
                                 "make it (it needs CREATE on the database and to own "
                                 "the tables)",
                                 options.publication),
                     "as the owner: " + CreatePublicationSql(options.publication, *chosen, major)));
    return out;
  }

  std::string missing;
  std::string add;
  size_t missing_count = 0;
  std::string filtered;
  size_t filtered_count = 0;
  for (const CatalogTable& table : *chosen) {
    const PublishedTable* published = publication->Find(table.name);
    if (published == nullptr) {
      // Without publish_via_partition_root the root is not listed, its leaves are.
      AppendNamed(missing, missing_count, QuotedName(table.name));
      add += (add.empty() ? "" : ", ") + QuotedName(table.name);
    } else if (!published->row_filter.empty()) {
      AppendNamed(filtered, filtered_count, QuotedName(table.name));
    }
  }
  const std::string quoted = Connection::QuoteIdentifier(options.publication);
  if (missing_count > 0) {
    out.push_back(Failed(
        "publication", ErrorKind::kConfig,
        fmt::format("publication '{}' does not send {}{} (a partitioned table is sent under its "
                    "own name only with publish_via_partition_root)",
                    options.publication, missing, AndMore(missing_count)),
        fmt::format("exclude it, or ALTER PUBLICATION {} ADD TABLE {}; where the log has the table "
                    "already, its rows are then to be read again (freshet table resnapshot NAME "
                    "--replace), since changes are missing",
                    quoted, add)));
  } else if (!(publication->inserts && publication->updates && publication->deletes &&
               publication->truncates)) {
    out.push_back(
        Warn("publication",
             fmt::format("publication '{}' leaves out some operations, so targets will "
                         "differ from the source",
                         options.publication),
             fmt::format("ALTER PUBLICATION {} SET (publish = 'insert, update, delete{}')", quoted,
                         major >= 11 ? ", truncate" : "")));
  } else if (filtered_count > 0) {
    out.push_back(Warn("publication",
                       fmt::format("publication '{}' sends some rows only of {}{}",
                                   options.publication, filtered, AndMore(filtered_count)),
                       "drop the row filter if targets are to equal the source"));
  } else {
    out.push_back(Ok("publication", "sends all chosen tables"));
  }
  return out;
}

Result<std::vector<Check>> CheckSlot(Connection& connection, const Options& options,
                                     std::stop_token stop) {
  std::vector<Check> out;
  FRESHET_TRY(const std::optional<Slot> slot, InspectSlot(connection, options.slot, stop));
  if (!slot.has_value()) {
    out.push_back(Ok("slot", fmt::format("slot '{}' is not there", options.slot)));
    return out;
  }
  FRESHET_TRY(const Rows rows, connection.Query("SELECT current_database()", stop));
  const std::string drop =
      "SELECT pg_drop_replication_slot(" + Connection::QuoteLiteral(options.slot) + ")";
  if (!slot->logical || slot->plugin != "pgoutput") {
    out.push_back(Failed("slot", ErrorKind::kConfig,
                         fmt::format("slot '{}' is not one of pgoutput", options.slot),
                         "choose another name under `slot`"));
  } else if (slot->database != rows.at(0, 0)) {
    out.push_back(
        Failed("slot", ErrorKind::kConfig,
               fmt::format("slot '{}' belongs to database '{}'", options.slot, slot->database),
               "choose another name under `slot`"));
  } else if (!slot->lost.empty()) {
    out.push_back(
        Failed("slot", ErrorKind::kGap,
               fmt::format("slot '{}' is lost: {}; changes since {} cannot be had any more",
                           options.slot, slot->lost, change::ToString(slot->confirmed_flush)),
               drop + ", then begin with a new log folder, which takes the tables anew"));
  } else if (slot->active_pid != 0) {
    out.push_back(Failed("slot", ErrorKind::kBusy,
                         fmt::format("slot '{}' is in use by the walsender with pid {}",
                                     options.slot, slot->active_pid),
                         "stop the other program, or choose another name under `slot`"));
  } else {
    out.push_back(
        Ok("slot", fmt::format("slot '{}' is there, at {}, holding {} bytes of WAL", options.slot,
                               change::ToString(slot->confirmed_flush), slot->retained_bytes)));
  }
  FRESHET_TRY(const SlotLimits limits, ReadSlotLimits(connection, options, stop));
  const SlotVerdict verdict = JudgeSlot(*slot, limits);
  if (slot->lost.empty() && verdict.alarm != SlotAlarm::kNone) {
    out.push_back(Warn("slot_retention", verdict.reason, verdict.repair));
  }
  FRESHET_TRY(std::string standby, StandbyInTheWay(connection, stop));
  if (!standby.empty()) out.push_back(Warn("standby", std::move(standby), ""));
  return out;
}

namespace {

/// What the url leads to is what the log was filled from.
std::optional<Check> OtherSource(const ServerIdentity& server,
                                 const change::SourceIdentity& source) {
  constexpr std::string_view kRepair =
      "correct the url; if it is right (pg_upgrade and a restored dump give a server a new "
      "identifier), begin with a new log folder";
  if (source.system_id != server.system_id) {
    return Gap(fmt::format("the url leads to another server (system {}) than the log was filled "
                           "from (system {})",
                           server.system_id, source.system_id),
               kRepair);
  }
  if (source.database_oid != server.database_oid) {
    return Gap(
        fmt::format("the url leads to database '{}' (oid {}), and the log was filled from "
                    "'{}' (oid {})",
                    server.database, server.database_oid, source.database, source.database_oid),
        kRepair);
  }
  return std::nullopt;
}

/// The server has all that the log holds: it was neither set back, nor promoted without the last.
Result<std::optional<Check>> OlderSource(Connection& walsender, const ServerIdentity& server,
                                         uint32_t timeline, change::Lsn have,
                                         std::stop_token stop) {
  if (server.flush_end < have) {
    return Gap(fmt::format("the server ends at {}, before what the log holds ({}): it was restored "
                           "from a backup or reset",
                           change::ToString(server.flush_end), change::ToString(have)),
               kRepairGap);
  }
  if (timeline == server.timeline) return std::optional<Check>();
  FRESHET_TRY(const std::optional<change::Lsn> end,
              TimelineEnd(walsender, timeline, server.timeline, stop));
  if (end.has_value() && *end >= have) return std::optional<Check>();
  const std::string left =
      end.has_value() ? fmt::format("left timeline {} at {}", timeline, change::ToString(*end))
                      : fmt::format("never was on timeline {}", timeline);
  return Gap(fmt::format("the server is on timeline {} and {}, before what the log holds ({}): a "
                         "standby that lacked the last changes was promoted, or a backup restored",
                         server.timeline, left, change::ToString(have)),
             kRepairGap);
}

/// Of a log that holds no whole snapshot yet: whether the slot's name is free.
Result<std::vector<Check>> CheckBeginning(Connection& connection, const Options& options,
                                          const std::optional<change::SourceIdentity>& source,
                                          std::stop_token stop) {
  std::vector<Check> out;
  // A slot of this name is ours only when the log says that we were about to make it.
  const bool ours = source.has_value() && source->slot == options.slot;
  const bool takes_over = options.snapshot == SnapshotMode::kNever;
  if (takes_over || !ours) {
    FRESHET_TRY(out, CheckSlot(connection, options, stop));
    if (FirstFailure(out).has_value()) return out;
  }
  FRESHET_TRY(const std::optional<Slot> slot, InspectSlot(connection, options.slot, stop));
  if (!slot.has_value() || takes_over || ours) {
    out.push_back(Ok("continuity", "the log is new"));
    return out;
  }
  out.push_back(Failed("continuity", ErrorKind::kConfig,
                       fmt::format("slot '{}' is there already, but the log is new, so nothing "
                                   "says what it has given away",
                                   options.slot),
                       fmt::format("drop it (SELECT pg_drop_replication_slot({})), choose another "
                                   "name under `slot`, or take it over with `snapshot: never`",
                                   Connection::QuoteLiteral(options.slot))));
  return out;
}

}  // namespace

Result<std::vector<Check>> CheckContinuity(Connection& walsender, Connection& connection,
                                           const ServerIdentity& server, const Options& options,
                                           const ResumePoint& resume, std::stop_token stop) {
  if (resume.source.has_value()) {
    if (auto other = OtherSource(server, *resume.source)) return std::vector{*std::move(other)};
  }
  const bool begun = resume.source.has_value() && resume.appended != change::Position{};
  if (options.snapshot == SnapshotMode::kOnly) {  // needs no slot that lasts
    return std::vector{Ok("continuity", begun ? "the snapshot is taken" : "the log is new")};
  }
  if (!begun) return CheckBeginning(connection, options, resume.source, stop);

  const change::Lsn have = resume.appended.commit_end;
  FRESHET_TRY(auto older, OlderSource(walsender, server, resume.source->timeline, have, stop));
  if (older.has_value()) return std::vector{*std::move(older)};
  FRESHET_TRY(const std::optional<Slot> slot, InspectSlot(connection, options.slot, stop));
  if (!slot.has_value()) {
    return std::vector{Gap(fmt::format("slot '{}' is gone: changes after {} cannot be had any more",
                                       options.slot, change::ToString(have)),
                           kRepairGap)};
  }
  FRESHET_TRY(std::vector<Check> out, CheckSlot(connection, options, stop));
  if (FirstFailure(out).has_value()) return out;
  if (slot->confirmed_flush > have) {
    out.push_back(MovedSlot(options.slot, slot->confirmed_flush, have));
    return out;
  }
  FRESHET_TRY(const std::optional<Publication> publication,
              InspectPublication(connection, options.publication, stop));
  out.push_back(
      publication.has_value()
          ? Ok("continuity",
               fmt::format("the slot goes on where the log ends, at {}", change::ToString(have)))
          : Gap(fmt::format("publication '{}' is gone: the changes made since then were not "
                            "recorded for it",
                            options.publication),
                kRepairGap));
  return out;
}

namespace {

Check CheckEncoding(const TextConverter& converter) {
  if (converter.is_utf8()) return Ok("encoding", "the database is encoded in UTF8");
  if (converter.keeps_bytes()) {
    return Ok("encoding",
              "the database has no encoding (SQL_ASCII); its text is taken as UTF-8, and what is "
              "not meets `invalid_text`");
  }
  return Ok("encoding", fmt::format("the database is encoded in {}; its text becomes UTF-8, and "
                                    "what is not valid meets `invalid_text`",
                                    converter.encoding()));
}

}  // namespace

Result<std::vector<Check>> RunPreflight(const Options& options,
                                        const std::optional<ResumePoint>& resume,
                                        std::stop_token stop) {
  std::vector<Check> out;
  auto connection = Connection::Connect(options.url, {}, stop);
  if (!connection.has_value()) {
    Error error = std::move(connection).error();
    if (error.kind == ErrorKind::kCancelled) return Fail(std::move(error));
    out.push_back(Failed("connection", error.kind, std::move(error.message), ""));
    return out;
  }
  out.push_back(Ok("connection", "connected"));
  out.push_back(CheckEncoding(*connection->converter()));
  const auto append = [&](std::vector<Check> checks) {
    std::move(checks.begin(), checks.end(), std::back_inserter(out));
  };
  Catalog catalog(*std::move(connection));
  FRESHET_TRY(auto server, CheckServer(catalog.connection(), options, stop));
  const bool may_replicate = std::none_of(server.begin(), server.end(), [](const Check& check) {
    return check.name == "replication_right" && check.result == CheckResult::kFail;
  });
  append(std::move(server));
  // Without the right it would only fail once more.
  std::optional<Connection> walsender;
  if (may_replicate) {
    auto connected = Connection::Connect(
        options.url, {.replication = true, .application_name = "freshet check", .settings = {}},
        stop);
    out.push_back(connected.has_value()
                      ? Ok("replication_connection", "the server admits a replication session")
                      : Failed("replication_connection", connected.error().kind,
                               connected.error().message, ""));
    if (connected.has_value()) walsender = *std::move(connected);
  }
  FRESHET_TRY(auto tables, CheckTables(catalog, options, stop));
  append(std::move(tables));
  if (!walsender.has_value() || !resume.has_value()) {
    FRESHET_TRY(auto slot, CheckSlot(catalog.connection(), options, stop));
    append(std::move(slot));
    return out;
  }
  FRESHET_TRY(const ServerIdentity identity, Identify(*walsender, catalog.connection(), stop));
  FRESHET_TRY(auto continuity,
              CheckContinuity(*walsender, catalog.connection(), identity, options, *resume, stop));
  append(std::move(continuity));
  return out;
}

}  // namespace freshet::postgres
