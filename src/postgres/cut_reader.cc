#include "postgres/cut_reader.h"

#include <utility>
#include <vector>

#include "base/logging.h"
#include "postgres/connection.h"
#include "postgres/slot.h"

namespace freshet::postgres {

CutReader::CutReader(const Options& options, ChosenTable table)
    : options_(options), table_(std::move(table)) {
  maker_ = std::jthread([this](std::stop_token stop) { Make(stop); });
}

CutReader::~CutReader() = default;

Result<std::optional<CutReader::Cut>> CutReader::cut() const {
  const MutexLock lock(mutex_);
  if (error_.has_value()) return Fail(*error_);
  return cut_;
}

std::string CutReader::waits_for() const {
  const MutexLock lock(mutex_);
  return waits_for_;
}

void CutReader::Make(std::stop_token stop) {
  auto made = TryToMake(stop);
  const MutexLock lock(mutex_);
  waits_for_.clear();
  if (made.has_value()) {
    cut_ = *std::move(made);
  } else {
    error_ = Error{made.error().kind,
                   fmt::format("snapshot of {}: {}", change::ToString(table_.table.name),
                               made.error().message)};
  }
}

Result<CutReader::Cut> CutReader::TryToMake(std::stop_token stop) {
  const SessionOptions beside{.application_name = "freshet snapshot", .settings = {}};
  FRESHET_TRY(Connection side, Connection::Connect(options_.url, beside, stop));
  Catalog catalog(std::move(side));
  const auto look = [&]() -> Result<ChosenTable> {
    FRESHET_TRY(auto found, ChooseOne(catalog, table_.table.id, options_.publication, stop));
    if (!found.has_value()) return Fail(ErrorKind::kNotFound, "the table is gone");
    return *std::move(found);
  };
  FRESHET_TRY(const ChosenTable before, look());
  FRESHET_TRY(
      Connection walsender,
      Connection::Connect(
          options_.url,
          {.replication = true, .application_name = "freshet snapshot", .settings = {}}, stop));
  const SlotRequest request{.name = fmt::format("freshet_once_{}", walsender.backend_pid()),
                            .temporary = true,
                            .timeout = options_.slot_create_timeout,
                            .on_wait = [&](const std::string& reason) {
                              const MutexLock lock(mutex_);
                              waits_for_ = reason;
                            }};
  FRESHET_TRY(const CreatedSlot slot, CreateSlot(walsender, catalog.connection(), request, stop));
  const CatalogTable tables[] = {before.table};
  FRESHET_TRY(rows_, SnapshotReader::Import(options_, slot.snapshot, tables, stop));
  // From here on locks keep the table as it is. Rewritten between the cut and the lock it would
  // look empty, altered there its rows would be of other columns than the changes that follow.
  FRESHET_TRY(const ChosenTable now, look());
  const auto filenodes = [](const ChosenTable& table) {
    Choice alone;
    alone.tables.push_back(table);
    return alone.Filenodes();
  };
  if (filenodes(now) != filenodes(before) || !(now.relation == before.relation) ||
      now.row_filter != before.row_filter) {
    return Fail(ErrorKind::kUnavailable,
                "the table was altered, rewritten or truncated while its snapshot began");
  }
  FRESHET_TRY(auto schema, catalog.Resolve(now.relation));
  std::vector<SnapshotSource> sources;
  for (const CatalogTable& part : now.parts) sources.push_back({part, schema, now.row_filter});
  FRESHET_RETURN_IF_ERROR(rows_->Start(std::move(sources), stop));
  logging::Info("a table is read as it was at a cut",
                {{"table", change::ToString(now.table.name)},
                 {"cut", change::ToString(slot.consistent_point)}});
  return Cut{.lsn = slot.consistent_point, .schema = std::move(schema)};
}

Result<std::optional<change::TableChanges>> CutReader::Next() {
  return rows_->Next(0, std::chrono::nanoseconds(0), {});
}

bool CutReader::finished() const { return rows_->finished(); }

SnapshotTable CutReader::progress() const {
  SnapshotTable out{.name = table_.table.name};
  {
    const MutexLock lock(mutex_);
    if (!cut_.has_value()) return out;
  }
  for (const SnapshotTable& part : rows_->progress()) {
    out.rows_copied += part.rows_copied;
    out.bytes_copied += part.bytes_copied;
    out.bytes_estimated += part.bytes_estimated;
    if (part.done) out.bytes_read += part.bytes_estimated;
  }
  return out;
}

}  // namespace freshet::postgres
