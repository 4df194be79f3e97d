#include "postgres/source_picture.h"

#include <fmt/format.h>

namespace freshet::postgres {
namespace {

std::string Quoted(const change::TableName& name) {
  return Connection::QuoteIdentifier(name.schema) + "." + Connection::QuoteIdentifier(name.table);
}

std::string ArrayOf(std::span<const change::TableId> ids) {
  std::string out = "{";
  for (const change::TableId id : ids)
    out += (out.size() > 1 ? "," : "") + std::to_string(id.value);
  return out + "}";
}

}  // namespace

Result<SourcePicture> TakePicture(Connection& connection, const std::string& publication,
                                  std::span<const change::TableId> chosen, std::stop_token stop) {
  const int major = connection.server_major();
  // The WAL end first: what is listed after it was sent at least up to there.
  FRESHET_TRY(const Rows head,
              connection.Query(
                  fmt::format("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
                              "  ELSE pg_current_wal_flush_lsn() END, p.oid IS NOT NULL,"
                              " txid_snapshot_xmin(txid_current_snapshot()),"
                              " concat_ws(', ', CASE WHEN NOT pubinsert THEN 'insert' END,"
                              " CASE WHEN NOT pubupdate THEN 'update' END,"
                              " CASE WHEN NOT pubdelete THEN 'delete' END{}),"
                              " CASE WHEN puballtables OR {} THEN 0 ELSE"
                              "  (SELECT count(*) FROM pg_publication_tables t"
                              "   WHERE t.pubname = $1) END FROM"
                              " (SELECT) AS one LEFT JOIN pg_publication p ON pubname = $1",
                              major >= 11 ? ", CASE WHEN NOT pubtruncate THEN 'truncate' END" : "",
                              major >= 15 ? "EXISTS (SELECT FROM pg_publication_namespace"
                                            " WHERE pnpubid = p.oid)"
                                          : "false"),
                  {publication}, stop));
  SourcePicture out{.seen_at = change::ParseLsn(head.at(0, 0)).value_or(change::Lsn{}),
                    .listed = head.integer(0, 4),
                    .published = head.boolean(0, 1),
                    .left_out = std::string(head.at(0, 3)),
                    .horizon = static_cast<uint64_t>(head.integer(0, 2)),
                    .tables = {}};
  const std::string sql = fmt::format(
      "WITH RECURSIVE tree AS ("
      " SELECT oid, oid AS root FROM unnest($2::oid[]) AS oid"
      " UNION SELECT i.inhrelid, t.root FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid"
      "  JOIN pg_class p ON p.oid = i.inhrelid WHERE p.relispartition) "
      "SELECT DISTINCT ON (c.oid) c.oid, t.root, n.nspname, c.relname, p.tablename IS NOT NULL,"
      " COALESCE(r.columns, ''), COALESCE(r.filter, ''), COALESCE(pg_relation_filenode(c.oid), 0),"
      " (SELECT string_agg(attname || ' ' || atttypid || ' ' || atttypmod, ', ' ORDER BY attnum)"
      "  FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) "
      "FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace "
      "LEFT JOIN (SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1) AS p"
      " ON p.schemaname = n.nspname AND p.tablename = c.relname "
      "LEFT JOIN (SELECT prrelid, {} AS columns, {} AS filter FROM pg_publication_rel"
      "  WHERE prpubid = (SELECT oid FROM pg_publication WHERE pubname = $1)) AS r"
      " ON r.prrelid = c.oid "
      "ORDER BY c.oid, t.root <> c.oid DESC",
      major >= 15 ? "prattrs::text" : "''", major >= 15 ? "pg_get_expr(prqual, prrelid)" : "''");
  FRESHET_TRY(const Rows rows, connection.Query(sql, {publication, ArrayOf(chosen)}, stop));
  for (int i = 0; i < rows.size(); ++i) {
    out.tables[static_cast<uint32_t>(rows.integer(i, 0))] = {
        .name = {std::string(rows.at(i, 2)), std::string(rows.at(i, 3))},
        .root = {static_cast<uint32_t>(rows.integer(i, 1))},
        .published = rows.boolean(i, 4),
        .sent_columns = std::string(rows.at(i, 5)),
        .row_filter = std::string(rows.at(i, 6)),
        .filenode = static_cast<uint32_t>(rows.integer(i, 7)),
        .row_type = std::string(rows.at(i, 8))};
  }
  return out;
}

Status LookAtRows(Connection& connection, const SourcePicture& before, SourcePicture& now,
                  std::stop_token stop) {
  for (auto& [oid, table] : now.tables) {
    const auto was = before.tables.find(oid);
    const bool joined = was == before.tables.end();
    if (table.filenode == 0 || (!joined && was->second.filenode == table.filenode)) continue;
    // Of a partition that joined: before it did. Of other rows: before the last look.
    const std::string since =
        joined ? fmt::format("(SELECT max(age(xmin)) FROM pg_inherits WHERE inhrelid = {})", oid)
               : fmt::format("txid_snapshot_xmax(txid_current_snapshot()) - {}", before.horizon);
    // The first rows will do: those that are moved keep their order.
    auto rows = connection.Query(
        fmt::format("SELECT EXISTS (SELECT FROM (SELECT age(xmin) FROM ONLY {} LIMIT 1000) AS r"
                    " WHERE r.age > {})",
                    Quoted(table.name), since),
        stop);
    if (rows.has_value()) {
      table.older_rows = rows->boolean(0, 0);
    } else if (rows.error().kind == ErrorKind::kUnavailable ||
               rows.error().kind == ErrorKind::kCancelled) {
      return Fail(std::move(rows).error());
    }
  }
  return {};
}

SourceDrift Compare(const SourcePicture& before, const SourcePicture& now,
                    const std::string& publication) {
  SourceDrift out;
  if (!now.published) return out;  // the walsender says so itself, for the rows it concerns
  out.tables_joined = now.listed > before.listed && before.listed > 0;
  const std::string quoted = Connection::QuoteIdentifier(publication);
  if (!now.left_out.empty()) {
    out.warnings.push_back(fmt::format(
        "publication '{}' leaves out some operations ({}), so targets will differ from the source; "
        "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate'), without truncate "
        "on 10",
        publication, now.left_out, quoted));
  }
  const auto read_again = [&](change::TableId root, const std::string& what) {
    const auto at = now.tables.find(root.value);
    const std::string name = at == now.tables.end() ? "" : change::ToString(at->second.name);
    out.unsent_rows.push_back(
        {root, fmt::format("{}, of which PostgreSQL sends nothing: freshet table resnapshot {}",
                           what, name)});
  };
  for (const auto& [oid, is] : now.tables) {
    const bool partition = is.root.value != oid;
    const auto was = before.tables.find(oid);
    if (was == before.tables.end()) {
      if (partition && is.older_rows) {
        read_again(is.root, fmt::format("partition {} was attached with rows", Quoted(is.name)));
      }
      continue;
    }
    if (was->second.filenode == is.filenode || is.older_rows) continue;
    if (was->second.row_type != is.row_type) {
      read_again(is.root, fmt::format("the rows of {} were rewritten", Quoted(is.name)));
    } else if (partition) {
      // Of a table that is no partition a TRUNCATE is sent.
      read_again(is.root, fmt::format("partition {} was truncated or rewritten", Quoted(is.name)));
    }
  }
  std::string unsent;
  std::string add;
  for (const auto& [oid, was] : before.tables) {
    const auto found = now.tables.find(oid);
    if (found == now.tables.end()) {
      // A partition that was detached or dropped: its rows are no rows of the table any more.
      out.warnings.push_back(
          was.root.value == oid
              ? fmt::format("table {} was dropped; targets keep its rows", Quoted(was.name))
              : fmt::format("partition {} was detached or dropped; targets keep its rows; to have "
                            "them gone: freshet table resnapshot, of the whole table, --replace",
                            Quoted(was.name)));
      continue;
    }
    const PicturedTable& is = found->second;
    if (was.published && !is.published) {
      unsent += (unsent.empty() ? "" : ", ") + Quoted(is.name);
      add += (add.empty() ? "" : ", ") + Quoted(is.name);
    } else if (was.sent_columns != is.sent_columns || was.row_filter != is.row_filter) {
      out.warnings.push_back(
          fmt::format("publication '{}' sends other columns or rows of {} than before; what was "
                      "carried already stays as it is until: freshet table resnapshot {}",
                      publication, Quoted(is.name), change::ToString(is.name)));
    }
  }
  if (!unsent.empty()) {
    out.gap = fmt::format(
        "publication '{}' no longer sends {}: complete up to {}, and what came later is lost; "
        "exclude it, or ALTER PUBLICATION {} ADD TABLE {} and take it anew",
        publication, unsent, change::ToString(before.seen_at), quoted, add);
  }
  return out;
}

}  // namespace freshet::postgres
