#include "postgres/catalog.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "postgres/pgoutput.h"

namespace freshet::postgres {

using change::LogicalKind;
using change::LogicalType;
using change::ReplicaIdentity;
using change::TableId;

namespace {

/// Oids below are fixed by PostgreSQL's sources; above, initdb or users hand them out.
/// Source: PostgreSQL, access/transam.h, FirstGenbkiObjectId.
constexpr uint32_t kFirstUnfixedOid = 10'000;

ReplicaIdentity IdentityOf(std::string_view relreplident) {
  if (relreplident == "f") return ReplicaIdentity::kFull;
  if (relreplident == "n") return ReplicaIdentity::kNothing;
  if (relreplident == "i") return ReplicaIdentity::kIndex;
  return ReplicaIdentity::kDefault;
}

/// "{1,2,3}", an array parameter.
template <typename Range, typename ToOid>
std::string OidArray(const Range& range, ToOid to_oid) {
  std::string out = "{";
  for (const auto& item : range) {
    if (out.size() > 1) out += ',';
    out += std::to_string(to_oid(item));
  }
  return out + "}";
}

uint32_t Oid(const Rows& rows, int row, int column) {
  return static_cast<uint32_t>(rows.integer(row, column));
}

}  // namespace

struct Catalog::Attribute {
  std::string name;
  int16_t attnum = 0;
  uint32_t type_oid = 0;
  int32_t typmod = -1;
  std::string type_name;
  bool not_null = false;
  bool generated = false;
  bool primary_key = false;
  bool identity_index = false;  ///< in the index of REPLICA IDENTITY USING INDEX
  std::optional<std::string> missing_value;
};

struct Catalog::Type {
  char kind = 'b';  ///< pg_type.typtype
  uint32_t base = 0;
  int32_t base_typmod = -1;
  uint32_t element = 0;  ///< of true arrays only
  char delimiter = ',';
};

Catalog::Catalog(Connection connection) : connection_(std::move(connection)) {}
Catalog::~Catalog() = default;

Result<std::vector<CatalogTable>> Catalog::Tables(std::stop_token stop) {
  // The topmost ancestor by recursion: pg_partition_root() is there from 12 on only.
  const std::string sql =
      "WITH RECURSIVE up(id, root) AS ("
      " SELECT oid, oid FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
      " UNION ALL SELECT i.inhrelid, up.root FROM pg_inherits i JOIN up ON i.inhparent = up.id"
      " JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition) "
      "SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', up.root, c.relpersistence = 'p',"
      " c.relreplident,"
      " CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false"
      "  WHEN 'i' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND"
      "   i.indisreplident AND i.indisvalid)"
      "  ELSE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary"
      "   AND i.indimmediate) END,"
      " has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),"
      " c.relfilenode "
      "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN up ON up.id = c.oid "
      "WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid >= 16384 "
      "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') "
      "ORDER BY n.nspname, c.relname";
  FRESHET_TRY(const Rows rows, connection_.Query(sql, stop));
  const bool all_text = connection_.converter()->is_utf8();
  std::vector<CatalogTable> out;
  out.reserve(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    out.push_back(
        {.id = TableId{Oid(rows, i, 0)},
         .name = {std::string(rows.at(i, 1)), std::string(rows.at(i, 2))},
         .partitioned = rows.boolean(i, 3),
         .root = TableId{Oid(rows, i, 4)},
         .logged = rows.boolean(i, 5),
         .identity = IdentityOf(rows.at(i, 6)),
         .identity_usable = rows.boolean(i, 7),
         .may_select = rows.boolean(i, 8),
         .name_is_text = all_text || !(LooksExact(rows.at(i, 1)) || LooksExact(rows.at(i, 2))),
         .filenode = Oid(rows, i, 9)});
  }
  return out;
}

Status Catalog::Load(std::span<const TableId> tables, std::stop_token stop) {
  const std::string generated = connection_.server_major() >= 12 ? "a.attgenerated <> ''" : "false";
  // Columns that an index only INCLUDEs (11+) identify nothing. Nor does a DEFERRABLE primary key:
  // two rows may have it for a while, and the server takes none for a replica identity.
  const std::string keys = connection_.server_major() >= 11 ? "indnkeyatts" : "indnatts";
  // One value in an array of the column's type, which need not be an array itself. A partition root
  // has no rows, so none; its leaves have, and all the same.
  const std::string missing =
      connection_.server_major() >= 11
          ? "CASE WHEN a.atthasmissing THEN array_to_string(a.attmissingval, '')"
            " WHEN (SELECT relkind FROM pg_class WHERE oid = a.attrelid) = 'p' THEN"
            " (WITH RECURSIVE below(id) AS (SELECT a.attrelid UNION ALL SELECT i.inhrelid FROM"
            "   pg_inherits i JOIN below ON i.inhparent = below.id)"
            "  SELECT array_to_string(l.attmissingval, '') FROM below JOIN pg_attribute l"
            "   ON l.attrelid = below.id AND l.attname = a.attname WHERE l.atthasmissing LIMIT 1)"
            " END"
          : "NULL";
  const std::string sql = fmt::format(
      "SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod,"
      " format_type(a.atttypid, a.atttypmod), a.attnotnull, {},"
      " COALESCE(a.attnum = ANY ((pk.indkey::int2[])[0:pk.{} - 1]), false),"
      " COALESCE(a.attnum = ANY ((ri.indkey::int2[])[0:ri.{} - 1]), false),"
      " {} "
      "FROM pg_attribute a"
      " LEFT JOIN pg_index pk ON pk.indrelid = a.attrelid AND pk.indisprimary"
      " AND pk.indimmediate"
      " LEFT JOIN pg_index ri ON ri.indrelid = a.attrelid AND ri.indisreplident "
      "WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped "
      "ORDER BY a.attrelid, a.attnum",
      generated, keys, keys, missing);
  FRESHET_TRY(
      const Rows rows,
      connection_.Query(sql, {OidArray(tables, [](TableId id) { return id.value; })}, stop));
  for (const TableId id : tables) {
    attributes_[id.value].clear();
    resolved_.erase(id.value);
  }
  std::vector<uint32_t> oids;
  for (int i = 0; i < rows.size(); ++i) {
    attributes_[Oid(rows, i, 0)].push_back({.name = std::string(rows.at(i, 1)),
                                            .attnum = static_cast<int16_t>(rows.integer(i, 2)),
                                            .type_oid = Oid(rows, i, 3),
                                            .typmod = static_cast<int32_t>(rows.integer(i, 4)),
                                            .type_name = std::string(rows.at(i, 5)),
                                            .not_null = rows.boolean(i, 6),
                                            .generated = rows.boolean(i, 7),
                                            .primary_key = rows.boolean(i, 8),
                                            .identity_index = rows.boolean(i, 9),
                                            .missing_value = std::nullopt});
    if (!rows.is_null(i, 10)) {
      attributes_[Oid(rows, i, 0)].back().missing_value = std::string(rows.at(i, 10));
    }
    oids.push_back(Oid(rows, i, 3));
  }
  return LoadTypes(std::move(oids), stop);
}

/// Reads the types of `oids` that are not known yet, and those they are made of.
Status Catalog::LoadTypes(std::vector<uint32_t> oids, std::stop_token stop) {
  for (;;) {
    std::erase_if(oids,
                  [&](uint32_t oid) { return oid < kFirstUnfixedOid || types_.contains(oid); });
    if (oids.empty()) return {};
    FRESHET_TRY(
        const Rows rows,
        connection_.Query("SELECT oid, typtype, typbasetype, typtypmod,"
                          " CASE WHEN typcategory = 'A' AND typlen = -1 THEN typelem ELSE 0 END,"
                          " typdelim FROM pg_type WHERE oid = ANY ($1::oid[])",
                          {OidArray(oids, [](uint32_t oid) { return oid; })}, stop));
    for (const uint32_t oid : oids) types_[oid] = Type{};  // dropped since: exact text
    oids.clear();
    for (int i = 0; i < rows.size(); ++i) {
      const Type type{.kind = rows.at(i, 1).front(),
                      .base = Oid(rows, i, 2),
                      .base_typmod = static_cast<int32_t>(rows.integer(i, 3)),
                      .element = Oid(rows, i, 4),
                      .delimiter = rows.at(i, 5).front()};
      types_[Oid(rows, i, 0)] = type;
      oids.push_back(type.base);
      oids.push_back(type.element);
    }
  }
}

LogicalType Catalog::LogicalTypeOf(uint32_t oid, int32_t typmod) const {
  const auto found = types_.find(oid);
  if (found == types_.end()) return change::LogicalTypeOfBuiltin(oid, typmod);
  const Type& type = found->second;
  switch (type.kind) {
    case 'd':
      return LogicalTypeOf(type.base, type.base_typmod >= 0 ? type.base_typmod : typmod);
    case 'e':
      return {.kind = LogicalKind::kText};
    default:
      break;
  }
  if (type.element == 0) return {.kind = LogicalKind::kExactText};
  const LogicalType element = LogicalTypeOf(type.element, typmod);
  if (element.kind == LogicalKind::kList) return {.kind = LogicalKind::kExactText};
  return {.kind = LogicalKind::kList,
          .precision = element.precision,
          .scale = element.scale,
          .element = element.kind,
          .element_delimiter = type.delimiter};
}

pgoutput::Relation Catalog::Describe(const CatalogTable& table,
                                     const std::vector<std::string>& columns) const {
  const auto loaded = attributes_.find(table.id.value);
  CHECK(loaded != attributes_.end());
  pgoutput::Relation out{.xid = {},
                         .id = table.id,
                         .schema = table.name.schema,
                         .table = table.name.table,
                         .identity = table.identity,
                         .columns = {}};
  for (const Attribute& a : loaded->second) {
    const bool listed = std::find(columns.begin(), columns.end(), a.name) != columns.end();
    if (columns.empty() ? a.generated : !listed) continue;
    bool key = false;
    switch (table.identity) {
      case ReplicaIdentity::kDefault:
        key = a.primary_key;
        break;
      case ReplicaIdentity::kIndex:
        key = a.identity_index;
        break;
      case ReplicaIdentity::kFull:
        key = true;
        break;
      case ReplicaIdentity::kNothing:
        break;
    }
    out.columns.push_back({.name = a.name, .type_oid = a.type_oid, .typmod = a.typmod, .key = key});
  }
  return out;
}

const Catalog::Attribute* Catalog::Find(const pgoutput::Relation& relation,
                                        const pgoutput::RelationColumn& column) const {
  const auto table = attributes_.find(relation.id.value);
  if (table == attributes_.end()) return nullptr;
  const auto found =
      std::find_if(table->second.begin(), table->second.end(), [&](const Attribute& a) {
        return a.name == column.name && a.type_oid == column.type_oid && a.typmod == column.typmod;
      });
  return found == table->second.end() ? nullptr : &*found;
}

bool Catalog::Knows(const pgoutput::Relation& relation) const {
  return std::all_of(relation.columns.begin(), relation.columns.end(),
                     [&](const auto& column) { return Find(relation, column) != nullptr; });
}

/// Reads the table's columns anew. The message may be older than the catalog, whose table may be
/// another by now or gone: columns that were read before and fit are kept then.
Status Catalog::Refresh(const pgoutput::Relation& relation) {
  const uint32_t id = relation.id.value;
  const bool knew = Knows(relation);
  std::vector<Attribute> before = attributes_[id];
  const TableId ids[] = {relation.id};
  FRESHET_RETURN_IF_ERROR(Load(ids, {}));
  resolved_.insert(id);
  if (knew && !Knows(relation)) attributes_[id] = std::move(before);
  // Types the message names need not be the table's any more.
  std::vector<uint32_t> oids;
  for (const auto& column : relation.columns) oids.push_back(column.type_oid);
  return LoadTypes(std::move(oids), {});
}

Result<std::shared_ptr<const change::TableSchema>> Catalog::Resolve(
    const pgoutput::Relation& relation) {
  if (!resolved_.insert(relation.id.value).second || !Knows(relation)) {
    FRESHET_RETURN_IF_ERROR(Refresh(relation));
  }
  std::vector<change::Column> columns;
  for (const pgoutput::RelationColumn& from : relation.columns) {
    if (!connection_.converter()->is_utf8() && LooksExact(from.name)) {
      return Fail(ErrorKind::kUnsupported,
                  "table {}, column {}: its name has bytes that are not valid in the database's "
                  "encoding {}; rename the column, or exclude the table",
                  change::ToString({relation.schema, relation.table}), from.name,
                  connection_.converter()->encoding());
    }
    change::Column column;
    column.name = from.name;
    column.type_oid = from.type_oid;
    column.typmod = from.typmod;
    column.type = LogicalTypeOf(from.type_oid, from.typmod);
    column.identity = from.key;
    if (const Attribute* a = Find(relation, from); a != nullptr) {
      column.attnum = a->attnum;
      column.type_name = a->type_name;
      column.primary_key = a->primary_key;
      column.not_null = a->not_null;
      column.generated = a->generated;
      column.missing_value = a->missing_value;
    } else {
      FRESHET_TRY(const Rows rows,
                  connection_.Query("SELECT format_type($1::oid, $2::int4)",
                                    {std::to_string(from.type_oid), std::to_string(from.typmod)}));
      column.type_name = std::string(rows.at(0, 0));
    }
    columns.push_back(std::move(column));
  }
  return std::make_shared<const change::TableSchema>(
      relation.id, change::TableName{relation.schema, relation.table}, relation.identity,
      std::move(columns));
}

Result<std::vector<CatalogTable>> ChooseTables(const std::vector<CatalogTable>& all,
                                               const TableFilter& filter, int major) {
  for (const change::TableName& name : filter.ExactNames()) {
    const bool there = std::any_of(all.begin(), all.end(),
                                   [&](const CatalogTable& table) { return table.name == name; });
    if (!there) {
      return Fail(ErrorKind::kNotFound,
                  "table {} is not in the database; correct `tables`, or create it",
                  change::ToString(name));
    }
  }
  std::unordered_map<uint32_t, bool> root_chosen;
  for (const CatalogTable& table : all) {
    if (table.id == table.root) root_chosen[table.id.value] = filter.Matches(table.name);
  }
  std::vector<CatalogTable> out;
  for (const CatalogTable& table : all) {
    const bool under_root = table.id != table.root && root_chosen[table.root.value];
    if (major >= 13) {
      if (filter.Matches(table.name) && !under_root) out.push_back(table);
    } else if (!table.partitioned && (filter.Matches(table.name) || under_root)) {
      out.push_back(table);
    }
  }
  if (out.empty()) {
    return Fail(ErrorKind::kNotFound,
                "no table matches {}; correct `tables` and `exclude`, or make the tables first",
                filter.globs());
  }
  const auto unnamed =
      std::find_if(out.begin(), out.end(), [](const auto& table) { return !table.name_is_text; });
  if (unnamed != out.end()) {
    return Fail(ErrorKind::kUnsupported,
                "the name of table {} (its bytes in hexadecimal) is not valid in the database's "
                "encoding; rename it: SELECT format('ALTER TABLE %s RENAME TO ...', {}::regclass), "
                "or exclude it",
                change::ToString(unnamed->name), unnamed->id.value);
  }
  return out;
}

}  // namespace freshet::postgres
