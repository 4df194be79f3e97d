#include "postgres/table_keeper.h"

#include <algorithm>

#include "base/logging.h"
#include "postgres/pgoutput.h"
#include "postgres/slot.h"

namespace freshet::postgres {

TableKeeper::TableKeeper(Options& options, Catalog& catalog, TableGate& gate, TableWatch& watch,
                         RequestDesk& desk, StatusBoard& board, TableFilter filter,
                         const Choice& choice, Ids known, Ids& left_out,
                         const change::SnapshotLedger& log)
    : options_(options),
      catalog_(catalog),
      gate_(gate),
      watch_(watch),
      desk_(desk),
      board_(board),
      filter_(std::move(filter)),
      known_(std::move(known)),
      left_out_(left_out),
      any_(known_.empty()),
      grows_(choice.all_tables) {
  for (const change::TableId id : choice.all) there_.insert(id.value);
  const Ids chosen = choice.Relations();
  for (const uint32_t id : known_) {
    if (chosen.contains(id)) continue;
    if (there_.contains(id)) left_out_.insert(id);
    // Of one that is gone, too, if there is more to forget.
    const bool news =
        there_.contains(id) ? !log.left_out().contains({id}) : log.seen().contains({id});
    if (news) steps_.push_back({.step = change::SnapshotStep::kLeftOut, .table = {id}});
  }
  for (const change::TableId id : log.left_out()) left_out_.insert(id.value);
}

Status TableKeeper::WantMissing(const Choice& choice, const change::SnapshotLedger& snapshots,
                                LiveSnapshot& snapshot, std::stop_token stop) {
  std::vector<LiveSnapshot::Wanted> wanted;
  for (const auto& [id, unfinished] : snapshots.unfinished()) {
    left_out_.erase(id.value);
    if (const ChosenTable* chosen = choice.Find(id)) {
      FRESHET_TRY(LiveSnapshot::Wanted each, Describe(*chosen));
      each.so_far = &unfinished;
      wanted.push_back(std::move(each));
      if (!unfinished.begun) watch_.Settle(id);
    } else {
      snapshot.DoNotWant(id);
    }
  }
  for (const ChosenTable& chosen : choice.tables) {
    const uint32_t id = chosen.table.id.value;
    if (any_ || (known_.contains(id) && !left_out_.contains(id))) continue;
    if (snapshots.unfinished().contains(chosen.table.id)) continue;
    FRESHET_TRY(LiveSnapshot::Wanted each, Describe(chosen));
    known_.insert(id);
    wanted.push_back(std::move(each));
    if (left_out_.contains(id)) wanted.back().table.published = false;  // Join() sees to it
  }
  return snapshot.Want(std::move(wanted), stop);
}

Status TableKeeper::Serve(LiveSnapshot& snapshot, std::stop_token stop) {
  FRESHET_RETURN_IF_ERROR(ReadUnsent(snapshot, stop));
  bool anew = false;
  desk_.Serve([&](const RequestDesk::Request& request) -> Status {
    if (!request.choice.has_value()) {
      return ReadAgain(request.table, request.replaces, snapshot, stop);
    }
    const auto& [tables, exclude] = *request.choice;
    FRESHET_TRY(const bool needed, Choose(tables, exclude, snapshot, stop));
    anew = anew || needed;
    return {};
  });
  if (!anew) return {};
  return Fail(ErrorKind::kUnavailable,
              "the stream begins anew without the tables that are not chosen any more");
}

Result<LiveSnapshot::Wanted> TableKeeper::Describe(const ChosenTable& table) {
  FRESHET_TRY(const auto schema, catalog_.Resolve(table.relation));
  if (!standby_.has_value()) {
    FRESHET_TRY(standby_, IsStandby(catalog_.connection()));
  }
  return LiveSnapshot::Wanted{.table = table, .whole = *standby_ || schema->key_columns().empty()};
}

Result<bool> TableKeeper::Choose(const std::vector<std::string>& tables,
                                 const std::vector<std::string>& exclude, LiveSnapshot& snapshot,
                                 std::stop_token stop) {
  FRESHET_TRY(TableFilter filter, TableFilter::Create(tables, exclude));
  if (any_) {
    return Fail(ErrorKind::kUnsupported,
                "with `snapshot: never` tables are chosen at the start only; restart");
  }
  FRESHET_TRY(const Choice choice, postgres::Choose(catalog_, filter, options_.publication, stop));
  std::vector<LiveSnapshot::Wanted> wanted;
  const Ids chosen = choice.Relations();
  for (const ChosenTable& each : choice.tables) {
    const uint32_t id = each.table.id.value;
    if (known_.contains(id) && !left_out_.contains(id)) continue;
    if (snapshot.Has(each.table.id)) continue;
    FRESHET_TRY(LiveSnapshot::Wanted joining, Describe(each));
    joining.table.published = false;  // the gate has to let it through, too
    wanted.push_back(std::move(joining));
  }
  const bool fewer = std::any_of(known_.begin(), known_.end(), [&](uint32_t id) {
    return there_.contains(id) && !chosen.contains(id) && !left_out_.contains(id);
  });
  FRESHET_RETURN_IF_ERROR(snapshot.Want(std::move(wanted), stop));
  known_.insert(chosen.begin(), chosen.end());
  there_.insert(chosen.begin(), chosen.end());
  options_.tables = tables;
  options_.exclude = exclude;
  filter_ = std::move(filter);
  return fewer;
}

Status TableKeeper::ReadAgain(const change::TableName& table, bool replaces, LiveSnapshot& snapshot,
                              std::stop_token stop) {
  if (!filter_.Matches(table)) {
    return Fail(ErrorKind::kConfig, "table {} is not chosen by `tables`; add it there first",
                change::ToString(table));
  }
  if (any_) {
    return Fail(ErrorKind::kConfig,
                "with `snapshot: never` no rows are read; choose `snapshot: initial` to have some");
  }
  FRESHET_TRY(const Choice choice, postgres::Choose(catalog_, filter_, options_.publication, stop));
  const auto chosen =
      std::find_if(choice.tables.begin(), choice.tables.end(),
                   [&](const ChosenTable& each) { return each.table.name == table; });
  if (chosen == choice.tables.end()) {
    return Fail(ErrorKind::kNotFound,
                "table {} is not in the database, or a partition of one that is carried whole",
                change::ToString(table));
  }
  if (snapshot.Has(chosen->table.id)) {
    return Fail(ErrorKind::kBusy, "the rows of table {} are being read", change::ToString(table));
  }
  FRESHET_TRY(LiveSnapshot::Wanted wanted, Describe(*chosen));
  wanted.replaces = replaces;
  wanted.table.published = false;  // Join() looks again
  return snapshot.Want({std::move(wanted)}, stop);
}

Status TableKeeper::ReadUnsent(LiveSnapshot& snapshot, std::stop_token stop) {
  if (any_) return {};
  const std::vector<UnsentRows> due = watch_.TakeDue();
  if (due.empty()) return {};
  const auto choice = postgres::Choose(catalog_, filter_, options_.publication, stop);
  if (!choice.has_value()) {  // they come again with the next look
    const ErrorKind kind = choice.error().kind;
    return kind == ErrorKind::kUnavailable || kind == ErrorKind::kNotFound
               ? Status()
               : Status(Fail(choice.error()));
  }
  for (const UnsentRows& rows : due) {
    if (snapshot.Has(rows.table)) continue;  // read first; what changed behind it is read then
    FRESHET_RETURN_IF_ERROR(ReadUnsent(rows, *choice, snapshot, stop));
  }
  return {};
}

Status TableKeeper::ReadUnsent(const UnsentRows& rows, const Choice& choice, LiveSnapshot& snapshot,
                               std::stop_token stop) {
  const ChosenTable* chosen = choice.Find(rows.table);
  if (chosen == nullptr || !chosen->published) return {};
  FRESHET_TRY(LiveSnapshot::Wanted wanted, Describe(*chosen));
  if (wanted.whole && options_.unsent_rows == UnsentRowsPolicy::kKeepVanished) {
    watch_.Refuse(rows.table, "it can only be emptied and read as a whole");
    return {};
  }
  wanted.replaces = rows.vanished;
  if (!wanted.whole && !rows.vanished) wanted.only = rows.parts;
  wanted.why = rows.why;
  wanted.table.published = false;  // Join() looks again
  FRESHET_RETURN_IF_ERROR(snapshot.Want({std::move(wanted)}, stop));
  watch_.Settle(rows.table);
  board_.Update([](CaptureStatus& status) { ++status.read_again_total; });
  logging::Warning("a table is read again, since PostgreSQL sends nothing of it",
                   {{"table", change::ToString(chosen->table.name)}, {"why", rows.why}});
  return {};
}

std::vector<change::SnapshotProgress> TableKeeper::TakeSteps() {
  std::vector<change::SnapshotProgress> steps = std::exchange(steps_, {});
  for (change::SnapshotProgress& step : watch_.TakeSteps()) steps.push_back(std::move(step));
  return steps;
}

Result<std::optional<ChosenTable>> TableKeeper::Join(change::TableId table, std::stop_token stop) {
  const auto find = [&]() -> Result<ChosenTable> {
    FRESHET_TRY(const Choice choice,
                postgres::Choose(catalog_, filter_, options_.publication, stop));
    const ChosenTable* found = choice.Find(table);
    if (found == nullptr) return Fail(ErrorKind::kNotFound, "the table is gone");
    return *found;
  };
  FRESHET_TRY(ChosenTable chosen, find());
  if (!chosen.published) {
    FRESHET_RETURN_IF_ERROR(Publish(catalog_, chosen.table, options_.publication, stop));
    FRESHET_TRY(chosen, find());
    if (!chosen.published) {
      return Fail(ErrorKind::kConfig,
                  "publication '{}' sends {} under other names; ALTER PUBLICATION {} SET "
                  "(publish_via_partition_root = true)",
                  options_.publication, change::ToString(chosen.table.name),
                  Connection::QuoteIdentifier(options_.publication));
    }
  }
  left_out_.erase(table.value);
  if (gate_.ignores(table)) return std::optional<ChosenTable>();
  Ids ids{table.value};
  for (const CatalogTable& part : chosen.parts) ids.insert(part.id.value);
  gate_.Choose(filter_, ids);
  FRESHET_TRY(const Choice now, postgres::Choose(catalog_, filter_, options_.publication, stop));
  watch_.Forget(table);
  FRESHET_RETURN_IF_ERROR(watch_.Begin(now.Ids(), stop));
  known_.insert(ids.begin(), ids.end());
  return std::optional<ChosenTable>(std::move(chosen));
}

Result<std::shared_ptr<const change::TableSchema>> TableKeeper::Resolve(
    const pgoutput::Relation& relation) {
  FRESHET_RETURN_IF_ERROR(Admit(relation.id));
  return catalog_.Resolve(relation);
}

Status TableKeeper::Admit(change::TableId id) {
  if (any_ || known_.contains(id.value)) return {};
  // Made since, it is streamed from its first row on, if nobody had to add it.
  if (grows_ && !there_.contains(id.value)) return {};
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog_.Tables());
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const CatalogTable& table) { return table.id == id; });
  // Dropped since, it misses nothing. A new partition comes under the name of its root.
  const bool fits = found == all.end() || known_.contains(found->root.value);
  if (!fits) {
    return Fail(ErrorKind::kUnavailable,
                "table {} joined the stream; it begins anew, so that the rows it had can be read",
                change::ToString(found->name));
  }
  known_.insert(id.value);
  for (const CatalogTable& table : all) {
    if (known_.contains(table.root.value)) known_.insert(table.id.value);
  }
  return {};
}

}  // namespace freshet::postgres
