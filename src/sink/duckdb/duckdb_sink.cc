#include "sink/duckdb/duckdb_sink.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <algorithm>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/logging.h"
#include "sink/changelog_columns.h"
#include "sink/duckdb/changelog_query.h"
#include "sink/duckdb/scan.h"
#include "sink/duckdb/source_value.h"
#include "sink/duckdb/upsert_writer.h"
#include "sink/duckdb/vectors.h"

namespace freshet::sink::duckdb {
namespace {

using change::TableChanges;
using change::TableSchema;

constexpr std::string_view kPositions = "freshet.positions";

/// The run may take rows of `next` beside those of `current`: keys compare, and a value of one
/// version can stand in a row of the other.
bool SameRun(const TableSchema& current, const TableSchema& next) {
  if (current == next) return true;
  if (current.key_columns().empty() || next.key_columns().empty()) return false;
  const auto key_of = [](const TableSchema& schema) {
    std::vector<std::string> names;
    for (const int c : schema.key_columns()) {
      names.push_back(schema.columns()[static_cast<size_t>(c)].name);
    }
    return names;
  };
  if (key_of(current) != key_of(next)) return false;
  // Columns may only be added, so that no name stands for two columns within a run: one that is new
  // to `current` is then new to all versions before it.
  const bool dropped =
      std::any_of(current.columns().begin(), current.columns().end(),
                  [&](const auto& column) { return next.IndexOf(column.name) < 0; });
  return !dropped &&
         std::all_of(next.columns().begin(), next.columns().end(), [&](const auto& column) {
           const int index = current.IndexOf(column.name);
           if (index < 0) return true;
           const auto& same = current.columns()[static_cast<size_t>(index)];
           return same.type == column.type && same.attnum == column.attnum;
         });
}

/// The rows of a snapshot's piece are new to a target that took all before them.
bool IsFresh(const change::ChangeBatch& batch, const TableChanges& changes) {
  return changes.unchanged.empty() &&
         std::any_of(batch.snapshots.begin(), batch.snapshots.end(), [&](const auto& step) {
           return step.step == change::SnapshotStep::kFresh && step.table == changes.schema->id();
         });
}

}  // namespace

DuckDbSink::DuckDbSink(Options options, SinkOptions sink_options, const Clock& clock)
    : options_(std::move(options)), sink_options_(std::move(sink_options)), clock_(clock) {}

DuckDbSink::~DuckDbSink() { Drop(); }

/// Forgets all that is not durable. Appenders go before the connection: dropping one applies its
/// rows to the transaction, which the connection then rolls back.
void DuckDbSink::Drop() {
  targets_.clear();
  connection_.reset();
  database_.reset();
  in_transaction_ = false;
  at_boundary_ = true;
  buffered_bytes_ = 0;
}

Result<std::optional<StoredPosition>> DuckDbSink::Open(std::stop_token) {
  Drop();
  FRESHET_TRY(database_, Database::Open(options_.path, Access::kReadWrite));
  FRESHET_TRY(connection_, database_->Connect());
  FRESHET_RETURN_IF_ERROR(connection_->Execute(fmt::format(
      "SET GLOBAL memory_limit = '{}B'; SET GLOBAL threads = {}; SET GLOBAL wal_autocheckpoint = "
      "'{}B'",
      options_.memory_limit.bytes, options_.threads, options_.checkpoint_wal.bytes)));
  memory_bytes_ = options_.memory_limit.bytes;
  FRESHET_RETURN_IF_ERROR(connection_->Execute(fmt::format(
      "CREATE SCHEMA IF NOT EXISTS freshet; CREATE TABLE IF NOT EXISTS {} (sink "
      "VARCHAR, source VARCHAR, log_id VARCHAR, log_offset BIGINT, commit_end UBIGINT, ordinal "
      "BIGINT, updated_at TIMESTAMPTZ)",
      kPositions)));
  FRESHET_RETURN_IF_ERROR(connection_->Execute(CreateColumnsTableSql()));
  FRESHET_TRY(
      const auto rows,
      connection_->QueryText(fmt::format(
          "SELECT source, log_id, log_offset::VARCHAR, commit_end::VARCHAR, ordinal::VARCHAR FROM "
          "{} WHERE sink = {}",
          kPositions, QuoteText(sink_options_.name))));
  flushed_ = {};
  std::optional<StoredPosition> position;
  if (rows.size() > 1) {
    return Fail(ErrorKind::kCorrupt,
                "DuckDB file {}: {} has {} positions for sink {}: keep the lowest commit_end only",
                options_.path, kPositions, rows.size(), sink_options_.name);
  }
  if (!rows.empty()) {
    const Connection::Row& row = rows[0];
    flushed_ = {.source = row.at(0).value_or(""),
                .log_id = row.at(1).value_or(""),
                .log_offset = std::stoll(row.at(2).value_or("0")),
                .position = {.commit_end = {std::stoull(row.at(3).value_or("0"))},
                             .ordinal = std::stoll(row.at(4).value_or("0"))}};
    position = flushed_;
  }
  written_ = flushed_;
  has_position_ = position.has_value();
  return position;
}

Status DuckDbSink::BeginUnlessBegun() {
  CHECK(connection_ != nullptr);
  if (in_transaction_) return {};
  FRESHET_RETURN_IF_ERROR(connection_->Execute("BEGIN TRANSACTION"));
  in_transaction_ = true;
  return {};
}

/// Refuses a table that somebody else fills. Ours appear in the transaction that stores our first
/// position: one that is there before is another sink's, of this file or of this sink under a
/// former name, and its rows would be added a second time. Nor can a mirror go on as a changelog.
Status DuckDbSink::CheckOwned(const TableSchema& schema, const TargetTable& table) const {
  for (const auto& [id, other] : targets_) {
    if (id == schema.id() || !(other.table.name == table.name) || table.recreated) continue;
    return Fail(ErrorKind::kUnsupported,
                "tables {} and {} would both be {} in DuckDB, which ignores the case of names: "
                "exclude one, or rename it in the source",
                change::ToString(other.table.source), change::ToString(schema.name()),
                table.name.Sql());
  }
  if (!table.exists) return {};
  const bool changelog = table.IndexOf(kOperationColumn) >= 0;
  if (has_position_ && changelog != (sink_options_.mode == WriteMode::kAppend)) {
    return Fail(
        ErrorKind::kConfig,
        "DuckDB file {}: {} was written in mode {}: set `mode` of sink '{}' back, or give it "
        "a file of its own",
        options_.path, table.name.Sql(), changelog ? "append" : "upsert", sink_options_.name);
  }
  if (has_position_) return {};
  return Fail(ErrorKind::kConfig,
              "DuckDB file {} already has a table {}, and sink '{}' never wrote there: give the "
              "sink a file of its own, or its former name, or drop the table",
              options_.path, table.name.Sql(), sink_options_.name);
}

Status DuckDbSink::Prepare(const TableSchema& schema) {
  FRESHET_RETURN_IF_ERROR(BeginUnlessBegun());
  Target& target = targets_[schema.id()];
  if (!target.prepared.insert(schema.fingerprint()).second) return {};
  FRESHET_TRY(auto table, FindTarget(*connection_, schema.name(), schema.id()));
  if (target.in_force == 0) FRESHET_RETURN_IF_ERROR(CheckOwned(schema, table));
  if (target.in_force == 0 && !table.recreated) {
    return PutInForce(target, std::move(table), schema);
  }
  // Rows of the version before may still come. Policies are asked now.
  const auto evolution = PlanEvolution(std::move(table), schema, sink_options_);
  return evolution.has_value() ? Status() : Fail(evolution.error());
}

/// DuckDB holds blocks for each column of a table that it writes. The limit, where it is the
/// default, is one for tables as they mostly are, and is raised for others.
Status DuckDbSink::MakeRoomFor(size_t columns) {
  const auto needed = static_cast<int64_t>(columns) * Options::kMemoryOfAColumn;
  const bool is_default = options_.memory_limit.bytes == Options().memory_limit.bytes;
  if (!is_default || needed <= memory_bytes_) return {};
  logging::Info("a wide table: DuckDB may use more memory",
                {{"columns", static_cast<int64_t>(columns)}, {"memory_limit", needed}});
  FRESHET_RETURN_IF_ERROR(
      connection_->Execute(fmt::format("SET GLOBAL memory_limit = '{}B'", needed)));
  memory_bytes_ = needed;
  return {};
}

/// Gives the target's table the shape of `schema`.
Status DuckDbSink::PutInForce(Target& target, TargetTable table, const TableSchema& schema) {
  const bool first = target.in_force == 0;
  FRESHET_RETURN_IF_ERROR(MakeRoomFor(schema.columns().size()));
  if (table.in_the_way.has_value() &&
      sink_options_.schema_changes.Of(SchemaChange::kRenameTable) == SchemaChangePolicy::kEvolve) {
    FRESHET_RETURN_IF_ERROR(MoveAside(*table.in_the_way));
  }
  for (auto& [id, other] : targets_) {
    if (!table.recreated || &other == &target || !(other.table.name == table.name)) continue;
    FRESHET_RETURN_IF_ERROR(SettleRows(other));  // of the table that is no more
    other.in_force = 0;
  }
  const bool existed = table.exists;
  FRESHET_TRY(Evolution evolution, PlanEvolution(std::move(table), schema, sink_options_));
  if (!evolution.statements.empty()) {
    FRESHET_RETURN_IF_ERROR(Evolve(target, evolution, schema));
  } else {
    FRESHET_RETURN_IF_ERROR(FillNotSent(target));
    target.appender.reset();
  }
  if (evolution.remembers) {
    for (const std::string& sql : RememberSql(evolution.table, schema.id())) {
      FRESHET_RETURN_IF_ERROR(connection_->Execute(sql));
    }
  }
  if (existed && first) {
    FRESHET_TRY(const auto rows, connection_->QueryText(fmt::format("SELECT '' FROM {} LIMIT 1",
                                                                    evolution.table.name.Sql())));
    target.had_rows = !rows.empty();
  }
  target.table = std::move(evolution.table);
  if (target.run == nullptr) target.mappings.clear();
  target.mappings[schema.fingerprint()] = std::move(evolution.mapping);
  target.schema = std::make_shared<const TableSchema>(schema);
  target.in_force = schema.fingerprint();
  return {};
}

/// Gives a table another name, because the source has another table under its own: it was renamed,
/// to what its next row will say.
Status DuckDbSink::MoveAside(const QualifiedName& table) {
  for (auto& [id, target] : targets_) {
    if (!(target.table.name == table)) continue;
    FRESHET_RETURN_IF_ERROR(SettleRows(target));
    target.in_force = 0;
  }
  const std::string aside = fmt::format("freshet_renamed_{}", table.table);
  FRESHET_RETURN_IF_ERROR(connection_->Execute(
      fmt::format("ALTER TABLE {} RENAME TO {}", table.Sql(), QuoteName(aside))));
  return connection_->Execute(fmt::format(
      "UPDATE {} SET target_table = {} WHERE target_schema = {} AND target_table = {}",
      kColumnsTable, QuoteText(aside), QuoteText(table.schema), QuoteText(table.table)));
}

/// Hands the table all rows that were taken, and makes it ready for ALTER.
Status DuckDbSink::SettleRows(Target& target) {
  FRESHET_RETURN_IF_ERROR(FillNotSent(target));
  target.appender.reset();
  if (target.run != nullptr) FRESHET_RETURN_IF_ERROR(ApplyRun(target));
  if (target.deleted) FRESHET_RETURN_IF_ERROR(RebuildForAlter(target));
  return {};
}

/// Gives rows appended since the last time the values that were not sent.
Status DuckDbSink::FillNotSent(Target& target) {
  if (target.appender != nullptr) FRESHET_RETURN_IF_ERROR(target.appender->Flush());
  if (!target.not_sent_from.has_value()) return {};
  const ColumnMapping& mapping = target.mappings.at(target.in_force);
  ChangelogRelation log{
      .table = target.table.name.Sql(),
      .columns = {},
      .has_exceptions = mapping.extra[static_cast<size_t>(ExtraColumn::kExceptions)] >= 0};
  for (const int column : mapping.target_of) {
    const std::string name =
        column < 0 ? "" : target.table.columns[static_cast<size_t>(column)].name;
    log.names.push_back(name);
    log.columns.push_back([name](std::string_view alias) {
      return name.empty() ? std::string("NULL") : fmt::format("{}.{}", alias, QuoteName(name));
    });
  }
  const uint64_t from = *target.not_sent_from;
  target.not_sent_from.reset();
  target.deleted = true;  // as far as a later ALTER is concerned
  return FillUnchanged(*connection_, log, *target.schema, from);
}

/// Runs the DDL of a new table version, in the open transaction. Rows of the version before go to
/// the table first, unless they can be told what the new columns hold.
Status DuckDbSink::Evolve(Target& target, Evolution& evolution, const TableSchema& schema) {
  const auto values = ReadFills(evolution);
  if (!values.has_value()) return Fail(values.error());
  const bool all_fit = std::find(values->begin(), values->end(), nullptr) == values->end();
  if (target.run == nullptr || !evolution.adds_only || !all_fit ||
      !SameRun(*target.run_schema, schema)) {
    FRESHET_RETURN_IF_ERROR(SettleRows(target));
  } else if (target.deleted) {
    FRESHET_RETURN_IF_ERROR(RebuildForAlter(target));
  }
  for (const std::string& statement : evolution.statements) {
    FRESHET_RETURN_IF_ERROR(connection_->Execute(statement));
  }
  target.deleted = evolution.updates;  // as far as a later ALTER is concerned
  for (size_t i = 0; i < evolution.fills.size(); ++i) {
    const Evolution::Fill& fill = evolution.fills[i];
    if ((*values)[i] == nullptr) {
      FRESHET_RETURN_IF_ERROR(NoteFill(target, evolution, fill));
      continue;
    }
    for (auto& [fingerprint, mapping] : target.mappings) {  // of rows still in the run
      mapping.fill.resize(std::max(mapping.fill.size(), fill.target + 1));
      mapping.fill[fill.target] = {.value = (*values)[i], .type = fill.column.type};
    }
  }
  return {};
}

/// What rows from before hold in the columns that are added: one value each, which becomes the
/// default of its column; null for one that its type cannot hold.
///
/// The default is a plain text. With any other expression DuckDB 1.5 does not commit a second ALTER
/// of the table in the same transaction.
Result<std::vector<std::shared_ptr<arrow::Array>>> DuckDbSink::ReadFills(Evolution& evolution) {
  std::vector<std::shared_ptr<arrow::Array>> values;
  for (const Evolution::Fill& fill : evolution.fills) {
    values.emplace_back();
    const auto sql = SqlOfText(*fill.column.missing_value, fill.column.type);
    if (!sql.has_value()) continue;
    const TableSchema one({}, {}, change::ReplicaIdentity::kDefault, {fill.column});
    FRESHET_RETURN_IF_ERROR(ScanSql(
        *connection_, fmt::format("SELECT value, value::VARCHAR FROM (SELECT {} AS value)", *sql),
        one, [&](const arrow::RecordBatch& rows) -> Status {
          if (rows.column(0)->IsNull(0)) return {};
          values.back() = rows.column(0);
          const auto& text = static_cast<const arrow::StringArray&>(*rows.column(1));
          evolution.statements[fill.statement] += " DEFAULT " + QuoteText(text.GetView(0));
          return {};
        }));
  }
  return values;
}

/// Keeps a value that no column can hold beside the rows from before.
Status DuckDbSink::NoteFill(Target& target, const Evolution& evolution,
                            const Evolution::Fill& fill) {
  if (sink_options_.exceptions != ExceptionPolicy::kKeepText) return {};
  target.deleted = true;  // as far as a later ALTER is concerned
  return connection_->Execute(fmt::format(
      "UPDATE {0} SET {1} = json_merge_patch(coalesce({1}, '{{}}'::JSON), json_object({2}, {3}))",
      evolution.table.name.Sql(), kExceptionsColumn, QuoteText(fill.column.name),
      QuoteText(*fill.column.missing_value)));
}

/// Says in a changelog that the rows before those of `changes` are another table's.
Status DuckDbSink::MarkEmptied(const QualifiedName& table, const change::ChangeBatch& batch,
                               const TableChanges& changes) {
  if (changes.num_rows() == 0) return {};
  const change::Transaction& transaction =
      batch.transactions[static_cast<size_t>(changes.transactions.front())];
  const bool stream = transaction.kind == change::TransactionKind::kStream;
  return connection_->Execute(fmt::format(
      "INSERT INTO {} ({}, {}, {}, {}, {}, {}) VALUES ('truncate', make_timestamptz({}), "
      "make_timestamptz({}), {}, {}, {})",
      table.Sql(), kOperationColumn, kTimestampColumn, kIngestionColumn, kLsnColumn, kSeqColumn,
      kXidColumn, transaction.commit_time, clock_.Now(), transaction.commit_lsn.value,
      stream ? changes.ordinals.front() - 1 : -1, transaction.xid.value));
}

/// Replaces the table by a copy of itself. DuckDB does not commit an ALTER of a table that the same
/// transaction has deleted from; the copy it has not. Only a change of definition behind a buffer
/// that was full comes here.
Status DuckDbSink::RebuildForAlter(Target& target) {
  QualifiedName copy = target.table.name;
  copy.table = "freshet_rebuild";
  const std::string name = target.table.name.Sql();
  FRESHET_RETURN_IF_ERROR(connection_->Execute(
      fmt::format("CREATE TABLE {} AS FROM {}; DROP TABLE {}; ALTER TABLE {} RENAME TO {}",
                  copy.Sql(), name, name, copy.Sql(), QuoteName(target.table.name.table))));
  target.deleted = false;
  return {};
}

Status DuckDbSink::Write(const std::shared_ptr<const change::ChangeBatch>& batch,
                         const StoredPosition& behind) {
  CHECK(written_.position <= behind.position);
  FRESHET_RETURN_IF_ERROR(BeginUnlessBegun());
  for (const TableChanges& changes : batch->tables) {
    const auto at = targets_.find(changes.schema->id());
    CHECK(at != targets_.end() && at->second.prepared.contains(changes.schema->fingerprint()));
    Target& target = at->second;
    FRESHET_RETURN_IF_ERROR(CheckExceptions(changes));
    if (target.in_force != changes.schema->fingerprint()) {
      FRESHET_TRY(auto table,
                  FindTarget(*connection_, changes.schema->name(), changes.schema->id()));
      const bool emptied = table.recreated && sink_options_.mode == WriteMode::kAppend &&
                           sink_options_.schema_changes.Of(SchemaChange::kRecreateTable) ==
                               SchemaChangePolicy::kEvolve;
      FRESHET_RETURN_IF_ERROR(PutInForce(target, std::move(table), *changes.schema));
      if (emptied) FRESHET_RETURN_IF_ERROR(MarkEmptied(target.table.name, *batch, changes));
    }
    if (sink_options_.mode == WriteMode::kAppend) {
      FRESHET_RETURN_IF_ERROR(AppendChanges(target, *batch, changes));
    } else if (IsFresh(*batch, changes)) {
      FRESHET_RETURN_IF_ERROR(AppendFresh(target, changes));
    } else {
      FRESHET_RETURN_IF_ERROR(BufferChanges(target, batch, changes));
    }
    rows_ += changes.num_rows();
  }
  buffered_bytes_ += batch->size_bytes();
  at_boundary_ = batch->ends_transaction();
  written_ = behind;
  if (buffered_bytes_ >= options_.buffer.bytes) FRESHET_RETURN_IF_ERROR(ApplyRuns());
  FRESHET_FAILPOINT("after_sink_write");
  return {};
}

Status DuckDbSink::CheckExceptions(const TableChanges& changes) {
  if (changes.exceptions.empty()) return {};
  exceptions_ += static_cast<int64_t>(changes.exceptions.size());
  if (sink_options_.exceptions != ExceptionPolicy::kFail) return {};
  const auto& column =
      changes.schema->columns()[static_cast<size_t>(changes.exceptions.front().column)];
  return Fail(ErrorKind::kUnsupported,
              "table {}: column {} holds a value that DuckDB's type cannot, and exceptions is "
              "'fail': change the value in the source, or set exceptions to 'keep_text' or 'null'",
              change::ToString(changes.schema->name()), column.name);
}

Status DuckDbSink::AppendRows(Target& target, const TableChanges& changes,
                              const std::vector<std::shared_ptr<arrow::Array>>& extras) {
  const ColumnMapping& mapping = target.mappings.at(changes.schema->fingerprint());
  if (target.appender == nullptr) {
    TableAppender::Types types(target.table.columns.size());
    for (size_t s = 0; s < mapping.target_of.size(); ++s) {
      if (mapping.target_of[s] < 0) continue;
      types[static_cast<size_t>(mapping.target_of[s])] = changes.schema->columns()[s].type;
    }
    FRESHET_TRY(target.appender,
                TableAppender::ToTable(*connection_, target.table.name, std::move(types)));
  }
  TableAppender& appender = *target.appender;
  std::vector<const arrow::Array*> extra_of(target.table.columns.size(), nullptr);
  for (size_t e = 0; e < kExtraColumns; ++e) {
    if (mapping.extra[e] >= 0) extra_of[static_cast<size_t>(mapping.extra[e])] = extras[e].get();
  }
  for (int64_t done = 0; done < changes.num_rows();) {
    const Selection selection{.first = done,
                              .count = std::min(appender.free(), changes.num_rows() - done)};
    for (size_t c = 0; c < target.table.columns.size(); ++c) {
      const int source = mapping.source_at(c);
      if (source >= 0) {
        WriteVector(*changes.rows->column(source),
                    changes.schema->columns()[static_cast<size_t>(source)].type, selection,
                    appender.vector(c), appender.at());
      } else if (extra_of[c] != nullptr) {
        WriteChangelogColumn(*extra_of[c], selection, appender.vector(c), appender.at());
      } else {
        WriteNulls(appender.vector(c), appender.at(), selection.count);
      }
    }
    FRESHET_RETURN_IF_ERROR(appender.Advance(selection.count));
    done += selection.count;
  }
  return appender.Drain();
}

Status DuckDbSink::AppendChanges(Target& target, const change::ChangeBatch& batch,
                                 const TableChanges& changes) {
  const auto extras = ChangelogColumns(batch, changes, clock_.Now(),
                                       sink_options_.exceptions == ExceptionPolicy::kKeepText);
  FRESHET_RETURN_IF_ERROR(AppendRows(target, changes, extras));
  if (!changes.unchanged.empty() && sink_options_.unchanged == UnchangedPolicy::kFill &&
      !target.not_sent_from.has_value()) {
    // Rows come in the order of commits, so that of the batch's first row is the lowest.
    target.not_sent_from =
        batch.transactions[static_cast<size_t>(changes.transactions.front())].commit_lsn.value;
  }
  return {};
}

/// Rows that the target surely has not: there is nothing to look for, and nothing to collapse.
Status DuckDbSink::AppendFresh(Target& target, const TableChanges& changes) {
  if (target.run != nullptr) FRESHET_RETURN_IF_ERROR(ApplyRun(target));
  std::vector<std::shared_ptr<arrow::Array>> extras(kExtraColumns);
  if (!changes.exceptions.empty() && sink_options_.exceptions == ExceptionPolicy::kKeepText) {
    extras[static_cast<size_t>(ExtraColumn::kExceptions)] = ExceptionsColumn(changes);
  }
  return AppendRows(target, changes, extras);
}

Status DuckDbSink::BufferChanges(Target& target,
                                 const std::shared_ptr<const change::ChangeBatch>& batch,
                                 const TableChanges& changes) {
  if (target.run != nullptr && !SameRun(*target.run_schema, *changes.schema)) {
    FRESHET_RETURN_IF_ERROR(ApplyRun(target));
  }
  if (target.run == nullptr) target.run = std::make_unique<UpsertRun>(*changes.schema);
  target.run_schema = changes.schema;
  target.run->Add(batch, changes, target.had_rows);
  return {};
}

/// Collapses what is held in memory for one table and hands it to DuckDB.
Status DuckDbSink::ApplyRun(Target& target) {
  if (target.appender != nullptr) {  // rows from before
    FRESHET_RETURN_IF_ERROR(target.appender->Flush());
    target.appender.reset();
  }
  const MappingOf mapping_of =
      [&mappings = target.mappings](const TableSchema& schema) -> const ColumnMapping& {
    return mappings.at(schema.fingerprint());
  };
  FRESHET_TRY(const bool deleted,
              duckdb::ApplyRun(*connection_, target.table, *target.run, mapping_of));
  target.deleted = target.deleted || deleted;
  collapsed_rows_ += target.run->num_rows();
  target.run.reset();
  return {};
}

/// Hands everything held in memory to DuckDB, within the open transaction.
Status DuckDbSink::ApplyRuns() {
  for (const auto& [name, target] : targets_) {
    // The other half of an update is in the next batch.
    if (target.run != nullptr && target.run->inside_update()) return {};
  }
  for (auto& [name, target] : targets_) {
    FRESHET_RETURN_IF_ERROR(FillNotSent(target));
    if (target.run != nullptr) FRESHET_RETURN_IF_ERROR(ApplyRun(target));
  }
  buffered_bytes_ = 0;
  return {};
}

Status DuckDbSink::StorePosition() {
  const std::string values = fmt::format(
      "source = {}, log_id = {}, log_offset = {}, commit_end = {}, ordinal = {}, updated_at = "
      "make_timestamptz({})",
      QuoteText(written_.source), QuoteText(written_.log_id), written_.log_offset,
      written_.position.commit_end.value, written_.position.ordinal, clock_.Now());
  const std::string name = QuoteText(sink_options_.name);
  FRESHET_TRY(const auto known, connection_->QueryText(fmt::format(
                                    "SELECT '' FROM {} WHERE sink = {}", kPositions, name)));
  if (known.empty()) {
    FRESHET_RETURN_IF_ERROR(
        connection_->Execute(fmt::format("INSERT INTO {} (sink) VALUES ({})", kPositions, name)));
  }
  return connection_->Execute(
      fmt::format("UPDATE {} SET {} WHERE sink = {}", kPositions, values, name));
}

Result<StoredPosition> DuckDbSink::Flush() {
  CHECK(at_boundary_);
  if (!in_transaction_) return flushed_;
  FRESHET_RETURN_IF_ERROR(ApplyRuns());
  FRESHET_RETURN_IF_ERROR(StorePosition());
  FRESHET_FAILPOINT("before_sink_commit");
  FRESHET_RETURN_IF_ERROR(connection_->Execute("COMMIT"));
  FRESHET_FAILPOINT("after_sink_commit");
  in_transaction_ = false;
  for (auto& [name, target] : targets_) target.deleted = false;
  ++flushes_;
  has_position_ = true;
  flushed_ = written_;
  return flushed_;
}

Status DuckDbSink::Close() {
  Drop();
  return {};
}

Description DuckDbSink::Describe() const {
  return {.kind = "duckdb",
          .target = options_.path,
          .guarantee = "exactly once: rows, table definitions and position are one transaction",
          .limits = {"Names that differ only by the case of ASCII letters get a suffix.",
                     "A column added with a volatile default holds null in rows that were there "
                     "before, until the table's rows are read again.",
                     "Constraints, indexes and defaults of the source are not carried over.",
                     "Rows of a table that is dropped in the source stay."},
          .counters = {
              {"rows_total", "Row images taken.", rows_},
              {"applied_rows_total", "Row images collapsed and applied (mode upsert).",
               collapsed_rows_},
              {"exceptions_total", "Values that DuckDB's type cannot hold.", exceptions_},
              {"flushes_total", "Transactions committed.", flushes_},
          }};
}

}  // namespace freshet::sink::duckdb
