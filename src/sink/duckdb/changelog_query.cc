#include "sink/duckdb/changelog_query.h"

#include <fmt/format.h>

#include "sink/changelog_columns.h"
#include "sink/duckdb/column_type.h"
#include "sink/duckdb/json_path.h"

namespace freshet::sink::duckdb {
namespace {

/// A place in the changelog as one number. What belongs to snapshots comes before the transaction
/// whose commit record stands at the same place: their rows, the truncates of one taken anew (below
/// zero), the truncates of pieces.
const std::string kPlace = fmt::format(
    "(r._cdc_lsn::HUGEINT * 9223372036854775808::HUGEINT + r._cdc_seq + CASE WHEN "
    "r._cdc_operation = 'snapshot' OR r._cdc_seq < 0 OR r._cdc_seq >= {} THEN 0 ELSE "
    "4611686018427387904 END)",
    kSeqsPerSnapshotPiece);

constexpr std::string_view kPresent =
    "r._cdc_operation IN ('insert', 'snapshot', 'update_postimage')";

class Fold {
 public:
  Fold(Connection& connection, const ChangelogRelation& log, const change::TableSchema& schema,
       const std::string& keys)
      : connection_(connection), log_(log), schema_(schema), keys_(keys) {}

  Result<std::string> Run() {
    FRESHET_RETURN_IF_ERROR(FindTruncate());
    FRESHET_TRY(std::string sql, schema_.key_columns().empty() ? FoldBag() : FoldKeyed());
    FRESHET_TRY(const std::string twice, SelectTwice());
    return twice.empty() ? sql : fmt::format("({}) UNION ALL ({})", sql, twice);
  }

  Status Fill(uint64_t from) {
    FRESHET_RETURN_IF_ERROR(FindTruncate());
    FRESHET_TRY(const auto names,
                connection_.QueryText(fmt::format(
                    "SELECT DISTINCT unnest(from_json(r._cdc_unchanged, '[\"VARCHAR\"]')) FROM {} "
                    "AS r WHERE r._cdc_unchanged IS NOT NULL AND r._cdc_lsn >= {}",
                    log_.table, from)));
    for (const Connection::Row& row : names) {
      const int c = schema_.IndexOf(row.at(0).value_or(""));
      if (c < 0 || log_.names[static_cast<size_t>(c)].empty()) continue;
      FRESHET_RETURN_IF_ERROR(FindLastValues(static_cast<size_t>(c), from));
      FRESHET_RETURN_IF_ERROR(PutFound(static_cast<size_t>(c)));
    }
    return {};
  }

 private:
  /// The old half `p` of the update `r`.
  static constexpr std::string_view kPreimage =
      "p._cdc_lsn = r._cdc_lsn AND p._cdc_seq = r._cdc_seq - 1 AND p._cdc_operation = "
      "'update_preimage'";

  /// The key under which the row of `r` stood before: the one of its old half `p`, if there is one.
  std::string FormerKey() const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      const auto c = static_cast<size_t>(schema_.key_columns()[i]);
      out += fmt::format(
          ", CASE WHEN p.rowid IS NULL THEN {} ELSE {} END AS k{}, CASE WHEN p.rowid IS NULL THEN "
          "{} ELSE {} END AS e{}",
          Column(c), Column(c, "p"), i, Exact(c), Exact(c, "p"), i);
    }
    return out;
  }

  /// Fills freshet_found: for each marked row the last row before that has the column's value.
  Status FindLastValues(size_t c, uint64_t from) {
    const std::string& name = schema_.columns()[c].name;
    const std::string marked = fmt::format(
        "FROM {0} AS r LEFT JOIN {0} AS p ON {1} AND p._cdc_lsn >= {2} WHERE "
        "r._cdc_lsn >= {2} AND {3} AND {4}",
        log_.table, kPreimage, from, kPresent, NotSent(name));
    if (schema_.key_columns().empty()) {
      return connection_.Execute(fmt::format(
          "CREATE OR REPLACE TEMP TABLE freshet_found AS SELECT r.rowid AS id, p.rowid AS source "
          "{} AND p.rowid IS NOT NULL AND NOT {}",
          marked, NotSent(name, "p")));
    }
    const bool full = schema_.replica_identity() == change::ReplicaIdentity::kFull;
    std::string match;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      const auto k = static_cast<size_t>(schema_.key_columns()[i]);
      match += fmt::format("{} IS NOT DISTINCT FROM f.k{} AND {} IS NOT DISTINCT FROM f.e{} AND ",
                           Column(k), i, Exact(k), i);
    }
    FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
        "CREATE OR REPLACE TEMP TABLE freshet_fill AS SELECT r.rowid AS id, {} AS place{} {}; "
        "CREATE OR REPLACE TEMP TABLE freshet_found (id BIGINT, source BIGINT)",
        kPlace, FormerKey(), marked)));
    while (true) {  // once more for each image in between that was not sent the value either
      FRESHET_TRY(const auto rest, connection_.QueryText("SELECT '' FROM freshet_fill LIMIT 1"));
      if (rest.empty()) return {};
      FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
          "CREATE OR REPLACE TEMP TABLE freshet_step AS SELECT f.id AS id, arg_max(r.rowid, "
          "{place}) AS source, max({place}) AS place FROM freshet_fill AS f JOIN {log} AS r ON "
          "{match}{place} < f.place WHERE ({present}{preimages}) AND {after} GROUP BY f.id; "
          "INSERT INTO freshet_found SELECT s.id, s.source FROM freshet_step AS s JOIN {log} AS r "
          "ON r.rowid = s.source WHERE NOT {not_sent}; "
          "CREATE OR REPLACE TEMP TABLE freshet_fill AS SELECT s.id AS id, s.place AS "
          "place{former} "
          "FROM freshet_step AS s JOIN {log} AS r ON r.rowid = s.source LEFT JOIN {log} AS p ON "
          "{preimage} WHERE {not_sent}",
          fmt::arg("place", kPlace), fmt::arg("log", log_.table), fmt::arg("match", match),
          fmt::arg("present", kPresent),
          fmt::arg("preimages", full ? " OR r._cdc_operation = 'update_preimage'" : ""),
          fmt::arg("after", AfterTruncate()), fmt::arg("not_sent", NotSent(name)),
          fmt::arg("former", FormerKey()), fmt::arg("preimage", kPreimage))));
    }
  }

  /// In the order of the columns, as the sink writes them: rows without a key are compared by this
  /// text. `v` has the found exception of column `found`.
  std::string OrderedExceptions(size_t found) const {
    std::string parts;
    for (size_t c = 0; c < schema_.columns().size(); ++c) {
      const std::string text = c == found ? std::string("v.exact") : Exact(c, "t");
      parts +=
          fmt::format(", CASE WHEN {0} IS NULL THEN '{{}}'::JSON ELSE json_object({1}, {0}) END",
                      text, QuoteText(schema_.columns()[c].name));
    }
    return fmt::format(", {} = nullif(json_merge_patch('{{}}'::JSON{})::VARCHAR, '{{}}')::JSON",
                       kExceptionsColumn, parts);
  }

  Status PutFound(size_t c) {
    const std::string& name = schema_.columns()[c].name;
    const std::string column = QuoteName(log_.names[c]);
    const std::string exceptions =
        log_.has_exceptions && schema_.key_columns().empty() ? OrderedExceptions(c)
        : log_.has_exceptions
            ? fmt::format(
                  ", {0} = CASE WHEN v.exact IS NULL THEN t.{0} ELSE json_merge_patch("
                  "coalesce(t.{0}, '{{}}'::JSON), json_object({1}, v.exact)) END",
                  kExceptionsColumn, QuoteText(name))
            : "";
    return connection_.Execute(fmt::format(
        "UPDATE {log} AS t SET {column} = v.value{exceptions}, {marks} = "
        "nullif(to_json(list_filter("
        "from_json(t.{marks}, '[\"VARCHAR\"]'), lambda x: x <> {name}))::VARCHAR, '[]')::JSON FROM "
        "(SELECT f.id AS id, s.{column} AS value, {exact} AS exact FROM freshet_found AS f JOIN "
        "{log} AS s ON s.rowid = f.source) AS v WHERE t.rowid = v.id",
        fmt::arg("log", log_.table), fmt::arg("column", column), fmt::arg("exceptions", exceptions),
        fmt::arg("marks", kUnchangedColumn), fmt::arg("name", QuoteText(name)),
        fmt::arg("exact", Exact(c, "s"))));
  }

  std::string Column(size_t c, std::string_view alias = "r") const {
    return log_.columns[c](alias);
  }

  /// The text of a column's exception in a row, or null.
  std::string Exact(size_t c, std::string_view alias = "r") const {
    if (!log_.has_exceptions) return "NULL::VARCHAR";
    return fmt::format("json_extract_string({}.{}, {})", alias, kExceptionsColumn,
                       QuoteText(JsonPointer(schema_.columns()[c].name)));
  }

  std::string Exceptions(std::string_view alias = "r") const {
    if (!log_.has_exceptions) return "NULL::VARCHAR";
    return fmt::format("{}.{}::VARCHAR", alias, kExceptionsColumn);
  }

  static std::string NotSent(const std::string& name, std::string_view alias = "r") {
    return fmt::format("coalesce(list_contains(from_json({}.{}, '[\"VARCHAR\"]'), {}), false)",
                       alias, kUnchangedColumn, QuoteText(name));
  }

  /// Key columns and the exact texts of their exceptions, as k0, e0, k1, e1, ...
  std::string KeyList(std::string_view alias, std::string_view prefix = "") const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      const auto c = static_cast<size_t>(schema_.key_columns()[i]);
      out += fmt::format("{}{} AS {}k{}, {} AS {}e{}", i == 0 ? "" : ", ", Column(c, alias), prefix,
                         i, Exact(c, alias), prefix, i);
    }
    return out;
  }

  /// Notes the place of the last truncate, in place of what a fold before this one on the same
  /// connection left.
  Status FindTruncate() {
    return connection_.Execute(
        fmt::format("CREATE OR REPLACE TEMP TABLE freshet_truncate AS SELECT coalesce(max({}), "
                    "-1::HUGEINT) AS place FROM {} AS r WHERE r._cdc_operation = 'truncate'",
                    kPlace, log_.table));
  }

  std::string AfterTruncate() const {
    return fmt::format("{} > (SELECT place FROM freshet_truncate)", kPlace);
  }

  /// What limits the changelog, as `r`, to the keys asked for.
  std::string Limit() const {
    if (keys_.empty()) return {};
    std::string limit = fmt::format(" SEMI JOIN {} AS wanted ON ", keys_);
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      limit += fmt::format("{}{} IS NOT DISTINCT FROM wanted.k{}", i == 0 ? "" : " AND ",
                           Column(static_cast<size_t>(schema_.key_columns()[i])), i);
    }
    return limit;
  }

  /// The rows whose place another row before them has; empty when there are none. (Truncates apart:
  /// a second one changes nothing.)
  Result<std::string> SelectTwice() {
    FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
        "CREATE OR REPLACE TEMP TABLE freshet_twice AS SELECT {} AS place, min(r.rowid) AS kept "
        "FROM {} AS r{} WHERE r._cdc_operation <> 'truncate' GROUP BY ALL HAVING count(*) > 1",
        kPlace, log_.table, Limit())));
    FRESHET_TRY(const auto any, connection_.QueryText("SELECT '' FROM freshet_twice LIMIT 1"));
    if (any.empty()) return std::string();
    std::string select;
    for (size_t c = 0; c < schema_.columns().size(); ++c) select += Column(c) + ", ";
    return fmt::format(
        "SELECT {}{} FROM {} AS r JOIN freshet_twice AS t ON t.place = {} AND t.kept <> r.rowid "
        "WHERE r._cdc_operation <> 'truncate'",
        select, Exceptions(), log_.table, kPlace);
  }

  Result<std::string> FoldKeyed() {
    FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
        "CREATE OR REPLACE TEMP TABLE freshet_last AS SELECT id, place FROM (SELECT {}, "
        "arg_max(r.rowid, {}) AS id, max({}) AS place, arg_max({}, {}) AS present FROM {} AS r{} "
        "WHERE r._cdc_operation <> 'truncate' AND {} GROUP BY ALL) WHERE present",
        KeyList("r"), kPlace, kPlace, kPresent, kPlace, log_.table, Limit(), AfterTruncate())));
    FRESHET_TRY(
        const auto names,
        connection_.QueryText(fmt::format(
            "SELECT DISTINCT unnest(from_json(r._cdc_unchanged, '[\"VARCHAR\"]')) FROM "
            "freshet_last AS l JOIN {} AS r ON r.rowid = l.id WHERE r._cdc_unchanged IS NOT "
            "NULL",
            log_.table)));
    std::vector<size_t> not_sent;
    for (const Connection::Row& row : names) {
      const int c = schema_.IndexOf(row.at(0).value_or(""));
      if (c < 0) continue;
      not_sent.push_back(static_cast<size_t>(c));
      FRESHET_RETURN_IF_ERROR(TraceColumn(static_cast<size_t>(c)));
    }
    return KeyedSql(not_sent);
  }

  /// Fills freshet_source_<c>: for each last row whose column was not sent, the row that has the
  /// value. Goes back along the key; where the row came from another key, along that one.
  Status TraceColumn(size_t c) {
    const std::string& name = schema_.columns()[c].name;
    const bool full = schema_.replica_identity() == change::ReplicaIdentity::kFull;
    // Rows that have the value, and rows that came from another key without it.
    FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
        "CREATE OR REPLACE TEMP TABLE freshet_known AS "
        "SELECT {key}, {place} AS place, r.rowid AS id, NULL::HUGEINT AS before, {none} FROM {log} "
        "AS r WHERE {after} AND ({present}{preimages}) AND NOT {not_sent} "
        "UNION ALL SELECT {key}, {place}, NULL, {place} - 1, {old_key} FROM {log} AS r JOIN {log} "
        "AS "
        "p ON p._cdc_lsn = r._cdc_lsn AND p._cdc_seq = r._cdc_seq - 1 AND p._cdc_operation = "
        "'update_preimage' WHERE r._cdc_operation = 'update_postimage' AND {after} AND {not_sent} "
        "AND NOT ({same_key})",
        fmt::arg("key", KeyList("r")), fmt::arg("place", kPlace), fmt::arg("none", NullKey("old_")),
        fmt::arg("log", log_.table), fmt::arg("after", AfterTruncate()),
        fmt::arg("present", kPresent),
        fmt::arg("preimages", full ? " OR r._cdc_operation = 'update_preimage'" : ""),
        fmt::arg("not_sent", NotSent(name)), fmt::arg("old_key", KeyList("p", "old_")),
        fmt::arg("same_key", SameKeyAsPreimage()))));
    FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
        "CREATE OR REPLACE TEMP TABLE freshet_pending AS SELECT l.id AS last, l.place AS place, {} "
        "FROM freshet_last AS l JOIN {} AS r ON r.rowid = l.id WHERE {}; "
        "CREATE OR REPLACE TEMP TABLE freshet_source_{} (last BIGINT, id BIGINT)",
        KeyList("r"), log_.table, NotSent(name), c)));
    while (true) {  // once more for each time a row changed its key
      FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
          "CREATE OR REPLACE TEMP TABLE freshet_step AS SELECT p.last AS last, k.id AS id, "
          "k.before "
          "AS before, {} FROM freshet_pending AS p ASOF JOIN freshet_known AS k ON {} AND p.place "
          ">= "
          "k.place; INSERT INTO freshet_source_{} SELECT last, id FROM freshet_step WHERE id IS "
          "NOT "
          "NULL; CREATE OR REPLACE TEMP TABLE freshet_pending AS SELECT last, before AS place, {} "
          "FROM freshet_step WHERE id IS NULL",
          OldKeyNames(), MatchPending(), c, RenamedOldKey())));
      FRESHET_TRY(const auto rest, connection_.QueryText("SELECT '' FROM freshet_pending LIMIT 1"));
      if (rest.empty()) return {};
    }
  }

  std::string NullKey(std::string_view prefix) const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      const auto c = static_cast<size_t>(schema_.key_columns()[i]);
      out += fmt::format("{}NULL::{} AS {}k{}, NULL::VARCHAR AS {}e{}", i == 0 ? "" : ", ",
                         DuckDbType(schema_.columns()[c].type), prefix, i, prefix, i);
    }
    return out;
  }

  std::string SameKeyAsPreimage() const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      const auto c = static_cast<size_t>(schema_.key_columns()[i]);
      out += fmt::format("{}{} IS NOT DISTINCT FROM {} AND {} IS NOT DISTINCT FROM {}",
                         i == 0 ? "" : " AND ", Column(c), Column(c, "p"), Exact(c), Exact(c, "p"));
    }
    return out;
  }

  std::string OldKeyNames() const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      out += fmt::format("{}k.old_k{} AS old_k{}, k.old_e{} AS old_e{}", i == 0 ? "" : ", ", i, i,
                         i, i);
    }
    return out;
  }

  std::string RenamedOldKey() const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      out += fmt::format("{}old_k{} AS k{}, old_e{} AS e{}", i == 0 ? "" : ", ", i, i, i, i);
    }
    return out;
  }

  /// Equality of keys; ASOF joins find no null, so that a key that is an exception is made text.
  std::string MatchPending() const {
    std::string out;
    for (size_t i = 0; i < schema_.key_columns().size(); ++i) {
      out += fmt::format(
          "{0}coalesce(p.k{1}::VARCHAR, '') = coalesce(k.k{1}::VARCHAR, '') AND coalesce(p.e{1}, "
          "'') = coalesce(k.e{1}, '')",
          i == 0 ? "" : " AND ", i);
    }
    return out;
  }

  std::string KeyedSql(const std::vector<size_t>& not_sent) const {
    std::string joins;
    std::string exceptions = Exceptions();
    std::vector<std::string> values;
    for (size_t c = 0; c < schema_.columns().size(); ++c) values.push_back(Column(c));
    std::string merged = fmt::format("coalesce({}, '{{}}')::JSON", exceptions);
    for (const size_t c : not_sent) {
      const std::string source = fmt::format("v{}", c);
      joins += fmt::format(
          " LEFT JOIN freshet_source_{0} AS s{0} ON s{0}.last = l.id LEFT JOIN {1} AS {2} ON "
          "{2}.rowid = s{0}.id",
          c, log_.table, source);
      values[c] = fmt::format("CASE WHEN s{}.id IS NULL THEN {} ELSE {} END", c, Column(c),
                              Column(c, source));
      const std::string old = Exact(c, source);
      merged += fmt::format(", CASE WHEN {} IS NULL THEN '{{}}'::JSON ELSE json_object({}, {}) END",
                            old, QuoteText(schema_.columns()[c].name), old);
    }
    if (!not_sent.empty() && log_.has_exceptions) {
      exceptions = fmt::format("nullif(json_merge_patch({})::VARCHAR, '{{}}')", merged);
    }
    std::string select;
    for (const std::string& value : values) select += value + ", ";
    return fmt::format("SELECT {}{} FROM freshet_last AS l JOIN {} AS r ON r.rowid = l.id{}",
                       select, exceptions, log_.table, joins);
  }

  /// Adds up equal rows. A value that was not sent stands in the old row beside the new one.
  Result<std::string> FoldBag() const {
    std::string rows;
    std::string names;
    // In the order of the columns, as the sink writes them. The function wants two at least.
    std::string merged = "'{}'::JSON, '{}'::JSON";
    for (size_t c = 0; c < schema_.columns().size(); ++c) {
      const std::string& name = schema_.columns()[c].name;
      rows += fmt::format("CASE WHEN {} THEN {} ELSE {} END AS c{}, ", NotSent(name),
                          Column(c, "p"), Column(c), c);
      names += fmt::format("c{}, ", c);
      const std::string text =
          fmt::format("CASE WHEN {} THEN {} ELSE {} END", NotSent(name), Exact(c, "p"), Exact(c));
      merged +=
          fmt::format(", CASE WHEN {0} IS NULL THEN '{{}}'::JSON ELSE json_object({1}, {0}) END",
                      text, QuoteText(name));
    }
    const std::string exceptions = log_.has_exceptions
                                       ? fmt::format(
                                             "CASE WHEN r._cdc_unchanged IS NULL THEN {} ELSE "
                                             "nullif(json_merge_patch({})::VARCHAR, '{{}}') END",
                                             Exceptions(), merged)
                                       : "NULL::VARCHAR";
    return fmt::format(
        "SELECT {names}exact FROM (SELECT {names}exact, sum(step) AS copies FROM (SELECT "
        "{rows}{exceptions} AS exact, CASE WHEN {present} THEN 1 ELSE -1 END AS step FROM {log} AS "
        "r LEFT JOIN {log} AS p ON r._cdc_unchanged IS NOT NULL AND p._cdc_lsn = r._cdc_lsn AND "
        "p._cdc_seq = r._cdc_seq - 1 AND p._cdc_operation = 'update_preimage' WHERE "
        "r._cdc_operation <> 'truncate' AND {after}) GROUP BY "
        "{names}exact HAVING sum(step) > 0), range(copies::BIGINT)",
        fmt::arg("names", names), fmt::arg("rows", rows), fmt::arg("exceptions", exceptions),
        fmt::arg("present", kPresent), fmt::arg("log", log_.table),
        fmt::arg("after", AfterTruncate()));
  }

  Connection& connection_;
  const ChangelogRelation& log_;
  const change::TableSchema& schema_;
  const std::string keys_;
};

}  // namespace

Result<std::string> FoldChangelog(Connection& connection, const ChangelogRelation& log,
                                  const change::TableSchema& schema, const std::string& keys) {
  return Fold(connection, log, schema, keys).Run();
}

Status FillUnchanged(Connection& connection, const ChangelogRelation& log,
                     const change::TableSchema& schema, uint64_t from) {
  return Fold(connection, log, schema, {}).Fill(from);
}

}  // namespace freshet::sink::duckdb
