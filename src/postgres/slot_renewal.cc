#include "postgres/slot_renewal.h"

#include "base/logging.h"
#include "postgres/catalog.h"
#include "postgres/pgoutput.h"
#include "postgres/preflight.h"
#include "postgres/publication.h"
#include "postgres/slot.h"

namespace freshet::postgres {
namespace {

constexpr std::string_view kNewLog = "begin with a new log folder";

/// Whether the log can go on with this server at all.
Status CheckSameHistory(const ServerIdentity& server, const change::SourceIdentity& source,
                        change::Lsn end) {
  if (server.system_id != source.system_id || server.database_oid != source.database_oid) {
    return Fail(ErrorKind::kGap,
                "the url leads to database '{}' of system {}, and the log was filled from '{}' of "
                "system {}; correct the url, or {}",
                server.database, server.system_id, source.database, source.system_id, kNewLog);
  }
  if (server.flush_end < end) {
    return Fail(ErrorKind::kGap,
                "the server ends at {}, before what the log holds ({}): it was restored from a "
                "backup, and positions would come twice; {}",
                change::ToString(server.flush_end), change::ToString(end), kNewLog);
  }
  return {};
}

/// The tables whose rows must be read anew.
Result<std::vector<change::TableId>> TablesToRead(Catalog& catalog, const Options& options,
                                                  std::stop_token stop) {
  FRESHET_TRY(const TableFilter filter, TableFilter::Create(options.tables, options.exclude));
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog.Tables(stop));
  FRESHET_TRY(const std::vector<CatalogTable> chosen,
              ChooseTables(all, filter, catalog.connection().server_major()));
  FRESHET_TRY(const auto publication,
              InspectPublication(catalog.connection(), options.publication, stop));
  std::vector<change::TableId> ids;
  for (const CatalogTable& table : chosen) {
    const PublishedTable* published =
        publication.has_value() ? publication->Find(table.name) : nullptr;
    if (publication.has_value() && published == nullptr) continue;  // CheckTables() warned of it
    ids.push_back(table.id);
  }
  return ids;
}

Status MakePublication(Catalog& catalog, const Options& options, std::stop_token stop) {
  Connection& connection = catalog.connection();
  FRESHET_TRY(const auto there, InspectPublication(connection, options.publication, stop));
  if (there.has_value()) return {};
  FRESHET_TRY(const TableFilter filter, TableFilter::Create(options.tables, options.exclude));
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog.Tables(stop));
  FRESHET_TRY(const std::vector<CatalogTable> chosen,
              ChooseTables(all, filter, connection.server_major()));
  logging::Info("make the publication", {{"publication", options.publication}});
  return MakePublication(connection, options.publication, chosen, stop);
}

}  // namespace

Result<SlotRenewal> RenewSlot(const Options& options, const change::SourceIdentity& source,
                              change::Lsn end, const Clock& clock, std::stop_token stop) {
  if (options.snapshot != SnapshotMode::kInitial) {
    return Fail(ErrorKind::kConfig,
                "what was lost is had by reading the tables anew, and `snapshot` is not initial; "
                "set it so, or {}",
                kNewLog);
  }
  FRESHET_TRY(Connection connected, Connection::Connect(options.url, {}, stop));
  Catalog catalog(std::move(connected));
  Connection& connection = catalog.connection();
  FRESHET_TRY(const auto server_checks, CheckServer(connection, options, stop));
  if (auto failure = FirstFailure(server_checks)) return Fail(*std::move(failure));
  FRESHET_TRY(
      Connection walsender,
      Connection::Connect(
          options.url, {.replication = true, .application_name = "freshet repair", .settings = {}},
          stop));
  FRESHET_TRY(const ServerIdentity server, Identify(walsender, connection, stop));
  FRESHET_RETURN_IF_ERROR(CheckSameHistory(server, source, end));
  FRESHET_TRY(const auto table_checks, CheckTables(catalog, options, stop));
  if (auto failure = FirstFailure(table_checks)) return Fail(*std::move(failure));

  SlotRenewal out;
  FRESHET_TRY(out.tables, TablesToRead(catalog, options, stop));
  FRESHET_RETURN_IF_ERROR(MakePublication(catalog, options, stop));
  FRESHET_RETURN_IF_ERROR(DropSlot(connection, options.slot, stop));
  FRESHET_TRY(const CreatedSlot created,
              CreateSlot(walsender, connection,
                         {.name = options.slot,
                          .failover = options.slot_failover,
                          .timeout = options.slot_create_timeout,
                          .on_wait =
                              [](const std::string& what) {
                                logging::Info("the slot waits", {{"for", what}});
                              }},
                         stop));
  out.source = {.system_id = server.system_id,
                .timeline = server.timeline,
                .database = server.database,
                .database_oid = server.database_oid,
                .slot = options.slot,
                .publication = options.publication,
                .consistent_point = created.consistent_point,
                .created_at = clock.Now()};
  return out;
}

}  // namespace freshet::postgres
