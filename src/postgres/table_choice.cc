#include "postgres/table_choice.h"

#include <algorithm>

#include "base/logging.h"
#include "postgres/publication.h"
#include "postgres/slot.h"

namespace freshet::postgres {

namespace {

/// The leaves of a tree, where they may be read; else the table itself.
std::vector<CatalogTable> PartsOf(const CatalogTable& table, const std::vector<CatalogTable>& all) {
  std::vector<CatalogTable> out;
  for (const CatalogTable& part : all) {
    if (!table.partitioned || part.partitioned || part.root != table.id) continue;
    if (!part.may_select) return {table};
    out.push_back(part);
  }
  if (out.empty()) out.push_back(table);
  return out;
}

}  // namespace

const ChosenTable* Choice::Find(change::TableId id) const {
  const auto at = std::find_if(tables.begin(), tables.end(),
                               [&](const ChosenTable& each) { return each.table.id == id; });
  return at == tables.end() ? nullptr : &*at;
}

std::vector<change::TableId> Choice::Ids() const {
  std::vector<change::TableId> out;
  for (const ChosenTable& each : tables) out.push_back(each.table.id);
  return out;
}

std::unordered_set<uint32_t> Choice::Relations() const {
  std::unordered_set<uint32_t> out;
  for (const auto& [relation, filenode] : Filenodes()) out.insert(relation);
  return out;
}

std::vector<std::pair<uint32_t, uint32_t>> Choice::Filenodes() const {
  std::vector<std::pair<uint32_t, uint32_t>> out;
  for (const ChosenTable& each : tables) {
    out.emplace_back(each.table.id.value, each.table.filenode);
    for (const CatalogTable& part : each.parts) {
      if (part.id != each.table.id) out.emplace_back(part.id.value, part.filenode);
    }
  }
  return out;
}

namespace {

/// `chosen` out of `all`, with what publication and catalog say of them.
Result<Choice> Describe(Catalog& catalog, const std::vector<CatalogTable>& all,
                        const std::vector<CatalogTable>& chosen, const std::string& publication,
                        std::stop_token stop) {
  FRESHET_TRY(const std::optional<Publication> there,
              InspectPublication(catalog.connection(), publication, stop));
  Choice out;
  out.all_tables = there.has_value() && there->all_tables;
  for (const CatalogTable& table : all) out.all.push_back(table.id);
  std::vector<change::TableId> ids;
  for (const CatalogTable& table : chosen) ids.push_back(table.id);
  FRESHET_RETURN_IF_ERROR(catalog.Load(ids, stop));
  for (const CatalogTable& table : chosen) {
    ChosenTable each{.table = table, .parts = PartsOf(table, all)};
    const PublishedTable* published = there.has_value() ? there->Find(table.name) : nullptr;
    if (published != nullptr) {
      each.published = true;
      each.sends_all = there->inserts && there->updates && there->deletes && there->truncates;
      each.columns = published->columns;
      each.row_filter = published->row_filter;
    }
    each.relation = catalog.Describe(table, each.columns);
    out.tables.push_back(std::move(each));
  }
  return out;
}

}  // namespace

Result<Choice> Choose(Catalog& catalog, const TableFilter& filter, const std::string& publication,
                      std::stop_token stop) {
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog.Tables(stop));
  FRESHET_TRY(const std::vector<CatalogTable> chosen,
              ChooseTables(all, filter, catalog.connection().server_major()));
  return Describe(catalog, all, chosen, publication, stop);
}

Result<std::optional<ChosenTable>> ChooseOne(Catalog& catalog, change::TableId table,
                                             const std::string& publication, std::stop_token stop) {
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog.Tables(stop));
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const CatalogTable& each) { return each.id == table; });
  if (found == all.end()) return std::optional<ChosenTable>();
  FRESHET_TRY(Choice choice, Describe(catalog, all, {*found}, publication, stop));
  return std::optional(std::move(choice.tables.front()));
}

Status Publish(Catalog& catalog, const CatalogTable& table, const std::string& publication,
               std::stop_token stop) {
  if (const std::string why = ReasonNotToPublish(table); !why.empty()) {
    return Fail(ErrorKind::kConfig, "{}", why);
  }
  Connection& connection = catalog.connection();
  const std::string sql = AddToPublicationSql(publication, table, connection.server_major());
  // The stream waits for this: not long for a lock.
  FRESHET_RETURN_IF_ERROR(connection.Execute("SET lock_timeout = '1s'", stop));
  const Status added = connection.Execute(sql, stop);
  FRESHET_RETURN_IF_ERROR(connection.Execute("ROLLBACK; RESET lock_timeout", stop));
  if (added.has_value()) {
    logging::Info("the publication carries another table",
                  {{"publication", publication}, {"table", change::ToString(table.name)}});
    return {};
  }
  if (IsStandby(connection, stop).value_or(false)) {
    return Fail(ErrorKind::kDenied,
                "publication '{}' does not send {}, and a standby cannot add it; on the primary: "
                "{}",
                publication, change::ToString(table.name), sql);
  }
  if (added.error().kind != ErrorKind::kDenied) return added;
  return Fail(ErrorKind::kDenied,
              "publication '{}' does not send {}, and this role may not add it ({}); as the owner: "
              "{}",
              publication, change::ToString(table.name), added.error().message, sql);
}

}  // namespace freshet::postgres
