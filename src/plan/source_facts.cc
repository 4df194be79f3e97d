#include "plan/source_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "postgres/connection.h"
#include "postgres/pgoutput.h"

namespace freshet::plan {

using postgres::Connection;
using postgres::Rows;

namespace {

std::string QuotedType(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += '.';
    out += Connection::QuoteIdentifier(name);
  }
  return out;
}

/// What `serial` and its like are, which are no types of their own.
std::vector<std::string> WithoutSerial(const std::vector<std::string>& names) {
  if (names.size() != 1) return names;
  const std::string& name = names.front();
  if (name == "serial" || name == "serial4") return {"pg_catalog", "int4"};
  if (name == "bigserial" || name == "serial8") return {"pg_catalog", "int8"};
  if (name == "smallserial" || name == "serial2") return {"pg_catalog", "int2"};
  return names;
}

std::string ArrayOf(const std::vector<std::string>& items) {
  std::string out = "{";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    out += '"';
    for (const char c : item) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

}  // namespace

Result<change::Column> SourceFacts::ColumnOf(const std::string& name, const TypeName& type) {
  Connection& connection = catalog_.connection();
  const std::vector<std::string> names = WithoutSerial(type.names);
  const std::string shown = fmt::format("{}", fmt::join(type.names, "."));
  std::string oid;
  FRESHET_TRY(const Rows direct,
              connection.Query("SELECT to_regtype($1)::oid::text", {QuotedType(names)}, stop_));
  if (!direct.is_null(0, 0)) {
    oid = std::string(direct.at(0, 0));
  } else if (names.size() == 1) {
    FRESHET_TRY(
        const Rows found,
        connection.Query("SELECT t.oid::text FROM pg_type t JOIN pg_namespace n ON n.oid = "
                         "t.typnamespace WHERE t.typname = $1 ORDER BY n.nspname <> 'public'"
                         ", n.nspname",
                         {names.front()}, stop_));
    if (found.size() > 0) oid = std::string(found.at(0, 0));
  }
  if (oid.empty()) {
    return Fail(ErrorKind::kNotFound,
                "type {} is not in the source's database; correct it, or create it first", shown);
  }
  std::string typmod = "-1";
  FRESHET_TRY(const Rows about,
              connection.Query("SELECT typmodin::text, typarray::text FROM pg_type WHERE oid = "
                               "$1::oid",
                               {oid}, stop_));
  if (!type.modifiers.empty() && about.at(0, 0) != "-") {
    FRESHET_TRY(const Rows packed,
                connection.Query(fmt::format("SELECT {}({}::cstring[])::text", about.at(0, 0),
                                             Connection::QuoteLiteral(ArrayOf(type.modifiers))),
                                 stop_));
    typmod = std::string(packed.at(0, 0));
  }
  if (type.array) oid = std::string(about.at(0, 1));
  postgres::pgoutput::Relation relation;  // of no table, to have the type read
  relation.columns.push_back({.name = name,
                              .type_oid = static_cast<uint32_t>(std::stoul(oid)),
                              .typmod = std::stoi(typmod)});
  FRESHET_TRY(const auto schema, catalog_.Resolve(relation));
  return schema->columns().front();
}

Result<bool> SourceFacts::AnyVolatile(const std::vector<std::string>& functions) {
  if (functions.empty()) return false;
  FRESHET_TRY(const Rows rows,
              catalog_.connection().Query("SELECT EXISTS (SELECT FROM pg_proc WHERE proname = ANY "
                                          "($1::text[]) AND provolatile = 'v')",
                                          {ArrayOf(functions)}, stop_));
  return rows.boolean(0, 0);
}

Result<bool> SourceFacts::Rewrites(const change::Column& from, const change::Column& to) {
  // The lengths and precisions of one type: more is never a rewrite where the type says so itself
  // (varchar, numeric of the same scale, bit varying, times); the server asks typmod's support
  // function, of which these are the rules.
  constexpr int kHeader = 4;
  if (from.type_oid == to.type_oid) {
    if (from.typmod == to.typmod || to.typmod < 0) return false;
    if (from.typmod < 0) return true;
    FRESHET_TRY(const Rows rows,
                catalog_.connection().Query("SELECT typname FROM pg_type WHERE oid = $1::oid",
                                            {std::to_string(from.type_oid)}, stop_));
    const std::string_view type = rows.at(0, 0);
    if (type == "numeric") {
      const auto scale = [](int typmod) { return (typmod - kHeader) & 0xffff; };
      return scale(from.typmod) != scale(to.typmod) || to.typmod < from.typmod;
    }
    const bool grows = type == "varchar" || type == "varbit" || type == "timestamp" ||
                       type == "timestamptz" || type == "time" || type == "timetz";
    return !(grows && to.typmod > from.typmod);
  }
  FRESHET_TRY(
      const Rows rows,
      catalog_.connection().Query(
          "SELECT EXISTS (SELECT FROM pg_cast WHERE castsource = $1::oid AND casttarget = $2::oid"
          " AND castmethod = 'b')",
          {std::to_string(from.type_oid), std::to_string(to.type_oid)}, stop_));
  return !rows.boolean(0, 0) || to.typmod >= 0;
}

Result<std::vector<std::string>> SourceFacts::IndexColumns(change::TableId table,
                                                           const std::string& index) {
  FRESHET_TRY(
      const Rows rows,
      catalog_.connection().Query(
          fmt::format("SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                      "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY "
                      "((i.indkey::int2[])[0:i.{} - 1]) "
                      "WHERE i.indrelid = $1::oid AND c.relname = $2 ORDER BY a.attnum",
                      major() >= 11 ? "indnkeyatts" : "indnatts"),
          {std::to_string(table.value), index}, stop_));
  std::vector<std::string> out;
  for (int i = 0; i < rows.size(); ++i) out.emplace_back(rows.at(i, 0));
  return out;
}

Result<bool> SourceFacts::IsPrimaryKey(change::TableId table, const std::string& constraint) {
  FRESHET_TRY(const Rows rows,
              catalog_.connection().Query(
                  "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1::oid AND conname = "
                  "$2 AND contype = 'p')",
                  {std::to_string(table.value), constraint}, stop_));
  return rows.boolean(0, 0);
}

Result<bool> SourceFacts::ListsColumns(const std::string& publication, change::TableId table) {
  if (major() < 15) return false;
  FRESHET_TRY(
      const Rows rows,
      catalog_.connection().Query(
          "SELECT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = "
          "r.prpubid WHERE p.pubname = $1 AND r.prrelid = $2::oid AND r.prattrs IS NOT "
          "NULL)",
          {publication, std::to_string(table.value)}, stop_));
  return rows.boolean(0, 0);
}

Result<std::vector<change::TableId>> SourceFacts::Below(change::TableId table) {
  FRESHET_TRY(const Rows rows,
              catalog_.connection().Query(
                  "WITH RECURSIVE down(id) AS (SELECT $1::oid UNION SELECT i.inhrelid FROM "
                  "pg_inherits i JOIN down ON i.inhparent = down.id) SELECT id::text FROM down "
                  "WHERE id <> $1::oid",
                  {std::to_string(table.value)}, stop_));
  std::vector<change::TableId> out;
  for (int i = 0; i < rows.size(); ++i) {
    out.push_back(change::TableId{static_cast<uint32_t>(rows.integer(i, 0))});
  }
  return out;
}

}  // namespace freshet::plan
