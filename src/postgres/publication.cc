#include "postgres/publication.h"

#include <algorithm>

namespace freshet::postgres {

using change::ReplicaIdentity;

namespace {

std::string Quoted(const change::TableName& name) {
  return Connection::QuoteIdentifier(name.schema) + "." + Connection::QuoteIdentifier(name.table);
}

/// ONLY: a table that others inherit from stands for its own rows.
std::string Only(const CatalogTable& table) {
  return (table.partitioned ? "" : "ONLY ") + Quoted(table.name);
}

}  // namespace

const PublishedTable* Publication::Find(const change::TableName& table) const {
  const auto it =
      std::find_if(tables.begin(), tables.end(), [&](const auto& t) { return t.name == table; });
  return it == tables.end() ? nullptr : &*it;
}

Result<std::optional<Publication>> InspectPublication(Connection& connection,
                                                      const std::string& name,
                                                      std::stop_token stop) {
  const int major = connection.server_major();
  FRESHET_TRY(
      const Rows found,
      connection.Query(fmt::format("SELECT puballtables OR {}, pubinsert, pubupdate, pubdelete,"
                                   " {} FROM pg_publication WHERE pubname = $1",
                                   major >= 15 ? "EXISTS (SELECT FROM"
                                                 " pg_publication_namespace"
                                                 " WHERE pnpubid = pg_publication.oid)"
                                               : "false",
                                   major >= 11 ? "pubtruncate" : "true"),
                       {name}, stop));
  if (found.size() == 0) return std::optional<Publication>();
  Publication out{.name = name,
                  .all_tables = found.boolean(0, 0),
                  .inserts = found.boolean(0, 1),
                  .updates = found.boolean(0, 2),
                  .deletes = found.boolean(0, 3),
                  .truncates = found.boolean(0, 4),
                  .tables = {}};

  // One row a column, since an array of names would have to be parsed; no column where all are
  // sent, those added later too. Servers list every column also where none were chosen (before 18
  // the generated ones as well, which they do not send), so what is listed is counted.
  const std::string sql =
      major >= 15
          ? fmt::format(
                "SELECT t.schemaname, t.tablename, a.attname, t.rowfilter FROM ("
                "SELECT p.schemaname, p.tablename, p.rowfilter, p.attnames, c.oid,"
                " cardinality(p.attnames) <> (SELECT count(*) FROM pg_attribute x WHERE"
                "  x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped {0})"
                " OR EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication q"
                "  ON q.oid = r.prpubid WHERE q.pubname = p.pubname AND r.prrelid = c.oid"
                "  AND r.prattrs IS NOT NULL) AS chosen "
                "FROM pg_publication_tables p"
                " JOIN pg_namespace n ON n.nspname = p.schemaname"
                " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename "
                "WHERE p.pubname = $1 OFFSET 0) t"
                " LEFT JOIN pg_attribute a ON t.chosen AND a.attrelid = t.oid AND a.attnum > 0"
                "  AND a.attname = ANY (t.attnames) {1} ORDER BY 1, 2, a.attnum",
                major >= 18 ? "AND x.attgenerated = ''" : "",
                major >= 18 ? "" : "AND a.attgenerated = ''")
          : "SELECT schemaname, tablename, NULL, NULL FROM pg_publication_tables "
            "WHERE pubname = $1 ORDER BY 1, 2";
  FRESHET_TRY(const Rows rows, connection.Query(sql, {name}, stop));
  for (int i = 0; i < rows.size(); ++i) {
    change::TableName table{std::string(rows.at(i, 0)), std::string(rows.at(i, 1))};
    if (out.tables.empty() || out.tables.back().name != table) {
      out.tables.push_back(
          {.name = std::move(table), .columns = {}, .row_filter = std::string(rows.at(i, 3))});
    }
    if (!rows.is_null(i, 2)) out.tables.back().columns.emplace_back(rows.at(i, 2));
  }
  return out;
}

std::string ReasonNotToPublish(const CatalogTable& table) {
  const std::string name = Quoted(table.name);
  if (!table.logged) {
    return fmt::format(
        "{} is unlogged: its changes are in no WAL; ALTER TABLE {} SET LOGGED, or exclude it", name,
        name);
  }
  if (table.identity_usable) return "";
  const std::string_view why = [&]() -> std::string_view {
    switch (table.identity) {
      case ReplicaIdentity::kNothing:
        return "has REPLICA IDENTITY NOTHING";
      case ReplicaIdentity::kIndex:
        return "has lost the index of its REPLICA IDENTITY";
      default:
        return "has no primary key, or a DEFERRABLE one";
    }
  }();
  return fmt::format(
      "{} {}: once published, its updates and deletes would fail in the application; ALTER TABLE "
      "{} ADD PRIMARY KEY (...), or ALTER TABLE {} REPLICA IDENTITY FULL, or exclude it",
      name, why, name, name);
}

std::string CreatePublicationSql(const std::string& name, std::span<const CatalogTable> tables,
                                 int server_major) {
  std::string sql = "CREATE PUBLICATION " + Connection::QuoteIdentifier(name) + " FOR TABLE ";
  for (size_t i = 0; i < tables.size(); ++i) {
    sql += (i == 0 ? "" : ", ") + Only(tables[i]);
  }
  if (server_major >= 13) sql += " WITH (publish_via_partition_root = true)";
  return sql;
}

Status MakePublication(Connection& connection, const std::string& name,
                       std::span<const CatalogTable> tables, std::stop_token stop) {
  constexpr size_t kMostAtOnce = 1'000;
  const auto first = tables.first(std::min(tables.size(), kMostAtOnce));
  FRESHET_RETURN_IF_ERROR(
      connection.Execute(CreatePublicationSql(name, first, connection.server_major()), stop));
  for (size_t at = first.size(); at < tables.size(); at += kMostAtOnce) {
    std::string sql = "ALTER PUBLICATION " + Connection::QuoteIdentifier(name) + " ADD TABLE ";
    for (size_t i = at; i < std::min(tables.size(), at + kMostAtOnce); ++i) {
      sql += (i == at ? "" : ", ") + Only(tables[i]);
    }
    FRESHET_RETURN_IF_ERROR(connection.Execute(sql, stop));
  }
  return {};
}

std::string AddToPublicationSql(const std::string& name, const CatalogTable& table,
                                int server_major) {
  const std::string add =
      "ALTER PUBLICATION " + Connection::QuoteIdentifier(name) + " ADD TABLE " + Only(table);
  if (server_major > 12) return add;
  return "BEGIN; LOCK TABLE " + Only(table) + " IN SHARE ROW EXCLUSIVE MODE; " + add + "; COMMIT";
}

}  // namespace freshet::postgres
