#include "sink/duckdb/upsert_writer.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <deque>

#include "base/check.h"
#include "sink/changelog_columns.h"
#include "sink/duckdb/json_path.h"
#include "sink/duckdb/vectors.h"

namespace freshet::sink::duckdb {
namespace {

using change::TableChanges;
using Types = TableAppender::Types;

constexpr std::string_view kPatch = "temp.main.freshet_patch";

/// The text of an exception, as SQL over the target's `_cdc_exceptions`.
std::string ExceptionSql(const std::string& table, std::string_view column) {
  return fmt::format("json_extract_string({}.{}, {})", table, QuoteName(kExceptionsColumn),
                     QuoteText(JsonPointer(column)));
}

/// One application of a run to its target.
class Writer {
 public:
  Writer(Connection& connection, const TargetTable& table, const UpsertRun& run,
         const MappingOf& mapping_of)
      : connection_(connection),
        table_(table),
        run_(run),
        mapping_of_(mapping_of),
        result_(run.Collapse()) {}

  Result<bool> Apply() {
    const auto needs_target = [](const MergedRow& row) { return !row.from_target.empty(); };
    const auto middle = std::stable_partition(result_.merged.begin(), result_.merged.end(),
                                              [&](const auto& row) { return !needs_target(row); });
    const std::span<const MergedRow> whole(result_.merged.begin(), middle);
    const std::span<const MergedRow> patched(middle, result_.merged.end());
    CHECK(patched.empty() || run_.keyed());

    if (!patched.empty()) FRESHET_RETURN_IF_ERROR(StagePatched(patched));
    if (result_.truncate) {
      FRESHET_RETURN_IF_ERROR(connection_.Execute("DELETE FROM " + table_.name.Sql()));
    }
    if (!result_.deletions.empty()) {
      FRESHET_RETURN_IF_ERROR(run_.keyed() ? DeleteKeys() : DeleteContents());
    }
    FRESHET_RETURN_IF_ERROR(AddRows(whole));
    if (!patched.empty()) {
      FRESHET_RETURN_IF_ERROR(connection_.Execute(fmt::format(
          "INSERT INTO {} SELECT * FROM {}; DROP TABLE {}", table_.name.Sql(), kPatch, kPatch)));
    }
    return result_.truncate || !result_.deletions.empty();
  }

 private:
  const ColumnMapping& MappingOf_(const TableChanges& changes) const {
    return mapping_of_(*changes.schema);
  }

  /// The target column that keeps exceptions; -1 when none does.
  static int ExceptionsPlace(const ColumnMapping& mapping) {
    return mapping.extra[static_cast<size_t>(ExtraColumn::kExceptions)];
  }

  Types TypesFor(const TableChanges& changes) const {
    const ColumnMapping& mapping = MappingOf_(changes);
    Types types(table_.columns.size());
    for (size_t s = 0; s < mapping.target_of.size(); ++s) {
      if (mapping.target_of[s] < 0) continue;
      types[static_cast<size_t>(mapping.target_of[s])] = changes.schema->columns()[s].type;
    }
    for (size_t c = 0; c < types.size(); ++c) {
      if (const auto* fill = mapping.fill_at(c); fill != nullptr) types[c] = fill->type;
    }
    return types;
  }

  /// Writes one value; of another table version too, as long as it has the column.
  void WriteOne(RowRef from, std::string_view column, _duckdb_vector* vector, uint64_t at) const {
    const TableChanges& changes = run_.changes(from.changes);
    const int index = changes.schema->IndexOf(column);
    if (index < 0) return WriteNulls(vector, at, 1);
    WriteVector(*changes.rows->column(index),
                changes.schema->columns()[static_cast<size_t>(index)].type,
                {.first = from.row, .count = 1}, vector, at);
  }

  /// Writes what rows of a version hold in a target column that it has not.
  void WriteMissing(const ColumnMapping& mapping, size_t column, int64_t count,
                    _duckdb_vector* vector, uint64_t at) const {
    const ColumnMapping::Fill* fill = mapping.fill_at(column);
    if (fill == nullptr) return WriteNulls(vector, at, count);
    const std::vector<int32_t> same(static_cast<size_t>(count), 0);
    WriteVector(*fill->value, fill->type, {.rows = same.data(), .first = 0, .count = count}, vector,
                at);
  }

  /// Keeps `text` until the appender is drained and writes it.
  void WriteText(std::string text, _duckdb_vector* vector, uint64_t at) {
    if (text.empty()) return WriteNulls(vector, at, 1);
    texts_.push_back(std::move(text));
    WriteOneText(texts_.back(), vector, at);
  }

  Status Drain(TableAppender& appender) {
    FRESHET_RETURN_IF_ERROR(appender.Drain());
    texts_.clear();
    return {};
  }

  Status Advance(TableAppender& appender) {
    FRESHET_RETURN_IF_ERROR(appender.Advance(1));
    if (appender.at() == 0) texts_.clear();
    return {};
  }

  // ---- rows that come

  Status AddRows(std::span<const MergedRow> merged) {
    std::unique_ptr<TableAppender> appender;
    std::vector<int32_t> rows;
    for (size_t i = 0; i < result_.rows.size();) {
      const int32_t index = result_.rows[i].changes;
      rows.clear();
      for (; i < result_.rows.size() && result_.rows[i].changes == index; ++i) {
        rows.push_back(result_.rows[i].row);
      }
      const TableChanges& changes = run_.changes(index);
      FRESHET_RETURN_IF_ERROR(AppenderFor(changes, appender));
      FRESHET_RETURN_IF_ERROR(AddSelected(changes, rows, *appender));
    }
    for (const MergedRow& row : merged) {
      const TableChanges& changes = run_.changes(row.image.changes);
      FRESHET_RETURN_IF_ERROR(AppenderFor(changes, appender));
      WriteRow(row, 0, *appender);
      FRESHET_RETURN_IF_ERROR(Advance(*appender));
    }
    return appender == nullptr ? Status() : appender->Flush();
  }

  Status AppenderFor(const TableChanges& changes, std::unique_ptr<TableAppender>& appender) {
    Types types = TypesFor(changes);
    if (appender != nullptr && appender->types() == types) return {};
    if (appender != nullptr) FRESHET_RETURN_IF_ERROR(appender->Flush());
    FRESHET_TRY(appender, TableAppender::ToTable(connection_, table_.name, std::move(types)));
    return {};
  }

  Status AddSelected(const TableChanges& changes, const std::vector<int32_t>& rows,
                     TableAppender& appender) {
    const ColumnMapping& mapping = MappingOf_(changes);
    const int exceptions_place = ExceptionsPlace(mapping);
    const std::shared_ptr<arrow::Array> exceptions =
        exceptions_place >= 0 && !changes.exceptions.empty() ? ExceptionsColumn(changes) : nullptr;
    const auto total = static_cast<int64_t>(rows.size());
    // Mostly all rows of a batch stay: one run of rows is copied faster than single ones. Without a
    // key one row may stand for several equal ones, so the ends alone do not tell.
    const bool one_run = rows.back() - rows.front() + 1 == total &&
                         std::adjacent_find(rows.begin(), rows.end()) == rows.end();
    for (int64_t done = 0; done < total;) {
      const int64_t count = std::min(appender.free(), total - done);
      const Selection selection = one_run ? Selection{.first = rows.front() + done, .count = count}
                                          : Selection{.rows = rows.data() + done, .count = count};
      for (size_t c = 0; c < table_.columns.size(); ++c) {
        const int source = mapping.source_at(c);
        if (source >= 0) {
          WriteVector(*changes.rows->column(source),
                      changes.schema->columns()[static_cast<size_t>(source)].type, selection,
                      appender.vector(c), appender.at());
        } else if (static_cast<int>(c) == exceptions_place && exceptions != nullptr) {
          WriteChangelogColumn(*exceptions, selection, appender.vector(c), appender.at());
        } else {
          WriteMissing(mapping, c, count, appender.vector(c), appender.at());
        }
      }
      FRESHET_RETURN_IF_ERROR(appender.Advance(count));
      done += count;
    }
    return exceptions == nullptr ? Status() : Drain(appender);
  }

  /// Writes the target's columns of a merged row into vectors `first`, `first + 1`, ...
  void WriteRow(const MergedRow& row, size_t first, TableAppender& appender) {
    const TableChanges& changes = run_.changes(row.image.changes);
    const ColumnMapping& mapping = MappingOf_(changes);
    const int exceptions_place = ExceptionsPlace(mapping);
    for (size_t c = 0; c < table_.columns.size(); ++c) {
      const int source = mapping.source_at(c);
      if (static_cast<int>(c) == exceptions_place) {
        WriteText(MergedExceptions(row), appender.vector(first + c), appender.at());
        continue;
      }
      if (source < 0) {
        WriteMissing(mapping, c, 1, appender.vector(first + c), appender.at());
        continue;
      }
      const std::string& name = changes.schema->columns()[static_cast<size_t>(source)].name;
      const auto part = std::find_if(row.from_run.begin(), row.from_run.end(),
                                     [&](const auto& p) { return p.first == name; });
      const RowRef from = part == row.from_run.end() ? row.image : part->second;
      if (run_.changes(from.changes).schema->IndexOf(name) < 0) {
        WriteMissing(MappingOf_(run_.changes(from.changes)), c, 1, appender.vector(first + c),
                     appender.at());
        continue;
      }
      WriteOne(from, name, appender.vector(first + c), appender.at());
    }
  }

  /// In the order of the columns, as ExceptionsColumn() has them: without a key, rows are found
  /// again by this text.
  std::string MergedExceptions(const MergedRow& row) const {
    auto texts = ExceptionsOf(run_.changes(row.image.changes), row.image.row);
    for (const auto& [column, ref] : row.from_run) {
      for (auto& exception : ExceptionsOf(run_.changes(ref.changes), ref.row)) {
        if (exception.first == column) texts.push_back(std::move(exception));
      }
    }
    const change::TableSchema& schema = *run_.changes(row.image.changes).schema;
    std::sort(texts.begin(), texts.end(), [&](const auto& a, const auto& b) {
      return schema.IndexOf(a.first) < schema.IndexOf(b.first);
    });
    std::string object;
    for (const auto& [name, text] : texts) {
      object += object.empty() ? '{' : ',';
      AppendJsonString(name, object);
      object += ':';
      AppendJsonString(text, object);
    }
    if (!object.empty()) object += '}';
    return object;
  }

  // ---- rows that go

  struct KeyColumn {
    std::string source;
    std::string target;
    change::LogicalType type;
  };

  std::vector<KeyColumn> KeyColumns(const TableChanges& changes) const {
    std::vector<KeyColumn> out;
    const ColumnMapping& mapping = MappingOf_(changes);
    const auto add = [&](size_t c) {
      const change::Column& column = changes.schema->columns()[c];
      if (mapping.target_of[c] < 0) return;
      out.push_back({.source = column.name,
                     .target = table_.columns[static_cast<size_t>(mapping.target_of[c])].name,
                     .type = column.type});
    };
    if (run_.keyed()) {
      for (const int c : changes.schema->key_columns()) add(static_cast<size_t>(c));
    } else {
      for (size_t c = 0; c < changes.schema->columns().size(); ++c) add(c);
    }
    return out;
  }

  /// Whether a key has a value that only `_cdc_exceptions` tells from another (an infinite date).
  bool HasExceptionalKey(RowRef ref, const std::vector<KeyColumn>& key) const {
    for (const auto& [name, text] : ExceptionsOf(run_.changes(ref.changes), ref.row)) {
      for (const KeyColumn& column : key) {
        if (column.source == name) return true;
      }
    }
    return false;
  }

  Status DeleteKeys() {
    const TableChanges& newest = run_.changes(result_.deletions.back().key.changes);
    const std::vector<KeyColumn> key = KeyColumns(newest);
    const auto plain_end =
        std::stable_partition(result_.deletions.begin(), result_.deletions.end(),
                              [&](const auto& d) { return !HasExceptionalKey(d.key, key); });
    const auto plain_count = static_cast<size_t>(plain_end - result_.deletions.begin());
    const std::span<const UpsertRun::Deletion> all(result_.deletions);
    if (plain_count > 0) {
      FRESHET_RETURN_IF_ERROR(DeleteMatching(all.first(plain_count), key, false));
    }
    if (plain_count < all.size()) {
      if (ExceptionsPlace(MappingOf_(newest)) < 0) {
        return Fail(ErrorKind::kUnsupported,
                    "table {}: a key holds a value its DuckDB type cannot: set exceptions to "
                    "'keep_text', so that rows can be told apart",
                    change::ToString(newest.schema->name()));
      }
      FRESHET_RETURN_IF_ERROR(DeleteMatching(all.subspan(plain_count), key, true));
    }
    return {};
  }

  /// `target` is the alias of the target table, `keys` that of the rows with the keys.
  std::string MatchSql(const std::vector<KeyColumn>& key, bool exceptional) const {
    std::string sql;
    for (size_t i = 0; i < key.size(); ++i) {
      if (i > 0) sql += " AND ";
      const std::string column = "target." + QuoteName(key[i].target);
      if (!exceptional) {
        sql += fmt::format("{} = keys.k{}", column, i);
        continue;
      }
      sql += fmt::format("{} IS NOT DISTINCT FROM keys.k{} AND {} IS NOT DISTINCT FROM keys.e{}",
                         column, i, ExceptionSql("target", key[i].source), i);
    }
    return sql;
  }

  /// Columns k0, k1, ... and, with exceptional keys, e0, e1, ...: their exact texts.
  void DescribeKey(const std::vector<KeyColumn>& key, bool exceptional,
                   std::vector<std::string>& names, Types& types) const {
    for (size_t i = 0; i < key.size(); ++i) {
      names.push_back(fmt::format("k{}", i));
      types.push_back(key[i].type);
    }
    for (size_t i = 0; exceptional && i < key.size(); ++i) {
      names.push_back(fmt::format("e{}", i));
      types.push_back(change::LogicalType{.kind = change::LogicalKind::kText});
    }
  }

  void WriteKey(RowRef ref, const std::vector<KeyColumn>& key, bool exceptional, size_t first,
                TableAppender& appender) {
    for (size_t i = 0; i < key.size(); ++i) {
      WriteOne(ref, key[i].source, appender.vector(first + i), appender.at());
      if (!exceptional) continue;
      std::string exact;
      for (const auto& [name, text] : ExceptionsOf(run_.changes(ref.changes), ref.row)) {
        if (name == key[i].source) exact = text;
      }
      WriteText(std::move(exact), appender.vector(first + key.size() + i), appender.at());
    }
  }

  Status DeleteMatching(std::span<const UpsertRun::Deletion> deletions,
                        const std::vector<KeyColumn>& key, bool exceptional) {
    std::vector<std::string> names;
    Types types;
    DescribeKey(key, exceptional, names, types);
    const std::string sql = fmt::format("DELETE FROM {} AS target USING incoming AS keys WHERE {}",
                                        table_.name.Sql(), MatchSql(key, exceptional));
    FRESHET_TRY(const auto appender,
                TableAppender::ToStatement(connection_, sql, names, std::move(types)));
    for (const UpsertRun::Deletion& deletion : deletions) {
      WriteKey(deletion.key, key, exceptional, 0, *appender);
      FRESHET_RETURN_IF_ERROR(Advance(*appender));
    }
    return appender->Flush();
  }

  /// Deletes `count` of the rows equal to each content: equal rows are as good as one another.
  Status DeleteContents() {
    const TableChanges& newest = run_.changes(result_.deletions.back().key.changes);
    const std::vector<KeyColumn> columns = KeyColumns(newest);
    const bool exceptions = ExceptionsPlace(MappingOf_(newest)) >= 0;
    std::vector<std::string> names;
    Types types;
    DescribeKey(columns, false, names, types);
    names.insert(names.end(), {"exact", "copies", "content"});
    types.push_back(change::LogicalType{.kind = change::LogicalKind::kText});
    types.push_back(change::LogicalType{.kind = change::LogicalKind::kInt64});
    types.push_back(change::LogicalType{.kind = change::LogicalKind::kInt64});
    std::string match = "true";  // a table may have no columns at all
    for (size_t i = 0; i < columns.size(); ++i) {
      match += fmt::format(" AND target.{} IS NOT DISTINCT FROM keys.k{}",
                           QuoteName(columns[i].target), i);
    }
    if (exceptions) {
      match += fmt::format(" AND target.{}::VARCHAR IS NOT DISTINCT FROM keys.exact",
                           QuoteName(kExceptionsColumn));
    }
    const std::string sql = fmt::format(
        "DELETE FROM {0} WHERE rowid IN (SELECT found FROM (SELECT target.rowid AS found, "
        "keys.copies AS copies, row_number() OVER (PARTITION BY keys.content) AS place FROM "
        "incoming AS keys JOIN {0} AS target ON {1}) WHERE place <= copies)",
        table_.name.Sql(), match);
    FRESHET_TRY(const auto appender,
                TableAppender::ToStatement(connection_, sql, names, std::move(types)));
    int64_t content = 0;
    for (const UpsertRun::Deletion& deletion : result_.deletions) {
      WriteKey(deletion.key, columns, false, 0, *appender);
      const size_t next = columns.size();
      const MergedRow alone{
          .image = deletion.key, .target_key = {}, .from_run = {}, .from_target = {}};
      WriteText(exceptions ? MergedExceptions(alone) : "", appender->vector(next), appender->at());
      WriteOneInt64(deletion.count, appender->vector(next + 1), appender->at());
      WriteOneInt64(content++, appender->vector(next + 2), appender->at());
      FRESHET_RETURN_IF_ERROR(Advance(*appender));
    }
    return appender->Flush();
  }

  // ---- rows with values that only the target has

  /// Puts the patched rows together in a temporary table, before anything is deleted: own values
  /// from the run, those that were not sent from the row that the target has under the old key.
  Status StagePatched(std::span<const MergedRow> rows) {
    FRESHET_RETURN_IF_ERROR(connection_.Execute(
        fmt::format("CREATE TEMP TABLE freshet_patch AS FROM {} LIMIT 0", table_.name.Sql())));
    // One statement for each table version and kind of key; usually that is one.
    std::vector<const MergedRow*> rest;
    for (const MergedRow& row : rows) rest.push_back(&row);
    while (!rest.empty()) {
      const change::TableSchema* schema = run_.changes(rest[0]->image.changes).schema.get();
      const std::vector<KeyColumn> key = KeyColumns(run_.changes(rest[0]->image.changes));
      const bool exceptional = HasExceptionalKey(rest[0]->target_key, key);
      const auto same = std::stable_partition(rest.begin(), rest.end(), [&](const MergedRow* row) {
        return run_.changes(row->image.changes).schema->fingerprint() == schema->fingerprint() &&
               HasExceptionalKey(row->target_key, key) == exceptional;
      });
      FRESHET_RETURN_IF_ERROR(Patch(
          std::span<const MergedRow* const>(rest.data(), static_cast<size_t>(same - rest.begin())),
          key, exceptional));
      rest.erase(rest.begin(), same);
    }
    return {};
  }

  Status Patch(std::span<const MergedRow* const> rows, const std::vector<KeyColumn>& key,
               bool exceptional) {
    const TableChanges& changes = run_.changes(rows[0]->image.changes);
    const ColumnMapping& mapping = MappingOf_(changes);
    const size_t columns = table_.columns.size();
    std::vector<std::string> names;
    Types types = TypesFor(changes);
    for (size_t c = 0; c < columns; ++c) {
      names.push_back(fmt::format("c{}", c));
      if (!types[c].has_value()) types[c] = {.kind = change::LogicalKind::kText};
    }
    DescribeKey(key, exceptional, names, types);
    const size_t masks = names.size();
    std::vector<std::string> masked;  // columns that some row takes from the target
    for (const MergedRow* row : rows) {
      for (const std::string& name : row->from_target) {
        if (std::find(masked.begin(), masked.end(), name) != masked.end()) continue;
        names.push_back(fmt::format("m{}", masked.size()));
        types.push_back(change::LogicalType{.kind = change::LogicalKind::kBool});
        masked.push_back(name);
      }
    }
    FRESHET_TRY(const auto appender,
                TableAppender::ToStatement(connection_,
                                           PatchSql(mapping, changes, masked, key, exceptional),
                                           names, std::move(types)));
    for (const MergedRow* row : rows) {
      WriteRow(*row, 0, *appender);
      WriteKey(row->target_key, key, exceptional, columns, *appender);
      for (size_t m = 0; m < masked.size(); ++m) {
        const bool taken = std::find(row->from_target.begin(), row->from_target.end(), masked[m]) !=
                           row->from_target.end();
        WriteOneBool(taken, appender->vector(masks + m), appender->at());
      }
      FRESHET_RETURN_IF_ERROR(Advance(*appender));
    }
    return appender->Flush();
  }

  std::string PatchSql(const ColumnMapping& mapping, const TableChanges& changes,
                       const std::vector<std::string>& masked, const std::vector<KeyColumn>& key,
                       bool exceptional) const {
    std::string select;
    for (size_t c = 0; c < table_.columns.size(); ++c) {
      const int source = mapping.source_at(c);
      std::string value = fmt::format("keys.c{}", c);
      if (source >= 0) {
        const std::string& name = changes.schema->columns()[static_cast<size_t>(source)].name;
        const auto mask = std::find(masked.begin(), masked.end(), name);
        if (mask != masked.end()) {
          value = fmt::format("CASE WHEN keys.m{} THEN target.{} ELSE {} END",
                              mask - masked.begin(), QuoteName(table_.columns[c].name), value);
        }
      } else if (static_cast<int>(c) == ExceptionsPlace(mapping)) {
        value = PatchedExceptionsSql(value, masked);
      }
      select += (c == 0 ? "" : ", ") + value;
    }
    return fmt::format(
        "INSERT INTO {} SELECT {} FROM incoming AS keys LEFT JOIN {} AS target ON {}", kPatch,
        select, table_.name.Sql(), MatchSql(key, exceptional));
  }

  /// The row's own exceptions, and the target's for the columns that are taken from it.
  static std::string PatchedExceptionsSql(const std::string& own,
                                          const std::vector<std::string>& masked) {
    std::string merged = fmt::format("coalesce({}, '{{}}')::JSON", own);
    for (size_t m = 0; m < masked.size(); ++m) {
      const std::string old = ExceptionSql("target", masked[m]);
      merged += fmt::format(
          ", CASE WHEN keys.m{} AND {} IS NOT NULL THEN json_object({}, {}) ELSE '{{}}'::JSON END",
          m, old, QuoteText(masked[m]), old);
    }
    return fmt::format(
        "CASE WHEN target.{} IS NULL THEN {}::JSON ELSE nullif(json_merge_patch({})"
        "::VARCHAR, '{{}}')::JSON END",
        QuoteName(kExceptionsColumn), own, merged);
  }

  Connection& connection_;
  const TargetTable& table_;
  const UpsertRun& run_;
  const MappingOf& mapping_of_;
  UpsertRun::Result result_;
  std::deque<std::string> texts_;
};

}  // namespace

Result<bool> ApplyRun(Connection& connection, const TargetTable& table, const UpsertRun& run,
                      const MappingOf& mapping_of) {
  return Writer(connection, table, run, mapping_of).Apply();
}

}  // namespace freshet::sink::duckdb
