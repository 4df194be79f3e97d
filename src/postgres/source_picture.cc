#include "postgres/source_picture.h"

#include <fmt/format.h>
#include <xxhash.h>

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

/// Also across runs the same.
uint64_t Hash(std::string_view text) {
  return text.empty() ? 0 : XXH3_64bits(text.data(), text.size());
}

/// A table that a log knows of may be gone, and its name with it.
std::string NameOf(uint32_t oid, const PicturedTable& table) {
  return table.name.table.empty() ? fmt::format("with oid {}", oid) : Quoted(table.name);
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
  // What the publication says is of tables, not of their partitions; and so is what they look like,
  // which all partitions share.
  const std::string sql = fmt::format(
      "WITH RECURSIVE tree AS ("
      " SELECT oid, oid AS root FROM unnest($2::oid[]) AS oid"
      " UNION SELECT i.inhrelid, t.root FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid"
      "  JOIN pg_class p ON p.oid = i.inhrelid WHERE p.relispartition), "
      "publication AS (SELECT oid FROM pg_publication WHERE pubname = $1) "
      "SELECT DISTINCT ON (c.oid) c.oid, t.root, n.nspname, c.relname,"
      " COALESCE(pg_relation_filenode(c.oid), 0), p.tablename IS NOT NULL,"
      " COALESCE(r.oid, {}, 0), COALESCE(r.sent, ''), a.columns, a.key "
      "FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace "
      "LEFT JOIN (SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1) AS p"
      " ON p.schemaname = n.nspname AND p.tablename = c.relname "
      "LEFT JOIN (SELECT oid, prrelid, {} AS sent FROM pg_publication_rel"
      "  WHERE prpubid = (SELECT oid FROM publication)) AS r ON r.prrelid = c.oid "
      "LEFT JOIN LATERAL (SELECT string_agg(shape, ',' ORDER BY attnum) AS columns,"
      "  string_agg(shape, ',' ORDER BY attnum) FILTER (WHERE attnum = ANY (k.key)) AS key"
      "  FROM (SELECT attnum, concat_ws(' ', attnum, atttypid, atttypmod) AS shape FROM "
      "pg_attribute"
      "   WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,"
      "   (SELECT (SELECT indkey::int2[] FROM pg_index WHERE indrelid = c.oid"
      "    AND CASE c.relreplident WHEN 'i' THEN indisreplident ELSE indisprimary END) AS key) AS k"
      " ) AS a ON t.root = c.oid "
      "ORDER BY c.oid, t.root <> c.oid DESC",
      major >= 15 ? "(SELECT oid FROM pg_publication_namespace WHERE pnnspid = n.oid"
                    " AND pnpubid = (SELECT oid FROM publication))"
                  : "NULL",
      major >= 15 ? "concat(prattrs::text, ' ', pg_get_expr(prqual, prrelid))" : "''");
  FRESHET_TRY(const Rows rows, connection.Query(sql, {publication, ArrayOf(chosen)}, stop));
  for (int i = 0; i < rows.size(); ++i) {
    out.tables[static_cast<uint32_t>(rows.integer(i, 0))] = {
        .name = {std::string(rows.at(i, 2)), std::string(rows.at(i, 3))},
        .root = {static_cast<uint32_t>(rows.integer(i, 1))},
        .filenode = static_cast<uint32_t>(rows.integer(i, 4)),
        .horizon = out.horizon,
        .published = rows.boolean(i, 5),
        .membership = static_cast<uint32_t>(rows.integer(i, 6)),
        .sent = Hash(rows.at(i, 7)),
        .row_type = Hash(rows.at(i, 8)),
        .key_type = Hash(rows.at(i, 9))};
  }
  return out;
}

Status LookAtRows(Connection& connection, const SourcePicture& before, SourcePicture& now,
                  std::stop_token stop) {
  for (auto& [oid, table] : now.tables) {
    if (table.filenode == 0 || !before.tables.contains(table.root.value)) continue;
    const auto was = before.tables.find(oid);
    const bool joined = was == before.tables.end();
    if (!joined && was->second.filenode == table.filenode) continue;
    // Of a partition that joined: before it did, by another transaction or earlier in the same. Of
    // other rows: before the last look.
    const std::string condition =
        joined ? "EXISTS (SELECT FROM up WHERE r.age > age(up.by)"
                 " OR r.by = up.by AND r.at < up.at)"
               : fmt::format("r.age > txid_snapshot_xmax(txid_current_snapshot()) - {}",
                             was->second.horizon);
    // The first rows will do: those that are moved keep their order.
    auto rows = connection.Query(
        fmt::format("WITH RECURSIVE up AS (SELECT inhparent, xmin AS by, cmin::text::int8 AS at"
                    "  FROM pg_inherits WHERE inhrelid = {}"
                    " UNION ALL SELECT i.inhparent, i.xmin, i.cmin::text::int8"
                    "  FROM pg_inherits i JOIN up ON i.inhrelid = up.inhparent) "
                    "SELECT EXISTS (SELECT FROM (SELECT age(xmin), xmin AS by,"
                    "  cmin::text::int8 AS at FROM ONLY {} LIMIT 1000) AS r WHERE {})",
                    oid, Quoted(table.name), condition),
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

namespace {

/// Of a relation that is in both pictures.
void CompareRows(uint32_t oid, const PicturedTable& is, const SourcePicture& before,
                 const SourcePicture& now, SourceDrift& out) {
  const PicturedTable& was = before.tables.at(oid);
  if (was.filenode == is.filenode || is.older_rows) return;
  const PicturedTable& root_was = before.tables.at(is.root.value);
  const auto root_is = now.tables.find(is.root.value);
  if (root_is == now.tables.end()) return;
  if (root_was.row_type != root_is->second.row_type) {
    out.unsent_rows.push_back({.table = is.root,
                               .why = fmt::format("the rows of {} were rewritten", Quoted(is.name)),
                               .vanished = root_was.key_type != root_is->second.key_type});
    return;
  }
  // A TRUNCATE that is not sent at all can only be one of a partition, or is left out on purpose.
  if (now.left_out.find("truncate") != std::string::npos) return;
  out.unsent_rows.push_back(
      {.table = is.root,
       .why = fmt::format("{}{} was truncated or rewritten",
                          is.root.value == oid ? "table " : "partition ", Quoted(is.name)),
       .vanished = true,
       .unless_truncated = true});
}

}  // namespace

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
  for (const auto& [oid, is] : now.tables) {
    if (!before.tables.contains(is.root.value)) continue;
    if (before.tables.contains(oid)) {
      CompareRows(oid, is, before, now, out);
    } else if (is.older_rows) {
      out.unsent_rows.push_back(
          {.table = is.root,
           .why = fmt::format("partition {} was attached with rows", Quoted(is.name)),
           .parts = {{oid}}});
    }
  }
  std::string unsent;
  std::string add;
  for (const auto& [oid, was] : before.tables) {
    const auto found = now.tables.find(oid);
    const bool partition = was.root.value != oid;
    if (found == now.tables.end()) {
      // A partition that was detached or dropped: its rows are no rows of the table any more.
      if (!partition) {
        out.warnings.push_back(
            fmt::format("table {} was dropped; targets keep its rows", NameOf(oid, was)));
      } else if (now.tables.contains(was.root.value)) {
        out.unsent_rows.push_back(
            {.table = was.root,
             .why = fmt::format("partition {} was detached or dropped", NameOf(oid, was)),
             .vanished = true});
      }
      continue;
    }
    if (partition) continue;
    const PicturedTable& is = found->second;
    if (was.published && !is.published) {
      unsent += (unsent.empty() ? "" : ", ") + Quoted(is.name);
      add += (add.empty() ? "" : ", ") + Quoted(is.name);
    } else if (was.sent != is.sent) {
      out.warnings.push_back(
          fmt::format("publication '{}' sends other columns or rows of {} than before; what was "
                      "carried already stays as it is until: freshet table resnapshot {}",
                      publication, Quoted(is.name), change::ToString(is.name)));
    } else if (was.published && was.membership != is.membership) {
      out.unsent_rows.push_back(
          {.table = {oid},
           .why = fmt::format("table {} was taken out of publication '{}' and added again",
                              Quoted(is.name), publication),
           .vanished = true});
    }
  }
  if (!unsent.empty()) {
    out.gap = fmt::format(
        "publication '{}' no longer sends {}: complete up to {}, and what came later is lost; "
        "exclude it, or ALTER PUBLICATION {} ADD TABLE {}, and its rows are read again",
        publication, unsent, change::ToString(before.seen_at), quoted, add);
  }
  return out;
}

}  // namespace freshet::postgres
