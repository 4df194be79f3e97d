#include "sink/duckdb/duckdb_sink.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <algorithm>

#include "base/check.h"
#include "base/failpoint.h"
#include "sink/changelog_columns.h"
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
           return index < 0 || current.columns()[static_cast<size_t>(index)].type == column.type;
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
  FRESHET_RETURN_IF_ERROR(connection_->Execute(fmt::format(
      "CREATE SCHEMA IF NOT EXISTS freshet; CREATE TABLE IF NOT EXISTS {} (sink "
      "VARCHAR, source VARCHAR, log_id VARCHAR, log_offset BIGINT, commit_end UBIGINT, ordinal "
      "BIGINT, updated_at TIMESTAMPTZ)",
      kPositions)));
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
Status DuckDbSink::CheckOwned(const change::TableName& source, const TargetTable& table) const {
  for (const auto& [name, other] : targets_) {
    if (name == source || !(other.table.name == table.name)) continue;
    return Fail(ErrorKind::kUnsupported,
                "tables {} and {} would both be {} in DuckDB, which ignores the case of names: "
                "exclude one, or rename it in the source",
                change::ToString(name), change::ToString(source), table.name.Sql());
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
  Target& target = targets_[schema.name()];
  if (target.versions.contains(schema.fingerprint())) return {};
  FRESHET_TRY(auto table, FindTarget(*connection_, schema.name()));
  if (target.versions.empty()) FRESHET_RETURN_IF_ERROR(CheckOwned(schema.name(), table));
  const bool existed = table.exists;
  FRESHET_TRY(Evolution evolution, PlanEvolution(std::move(table), schema, sink_options_));
  if (!evolution.statements.empty()) FRESHET_RETURN_IF_ERROR(Evolve(target, evolution));
  if (existed && target.versions.empty()) {
    FRESHET_TRY(const auto rows, connection_->QueryText(fmt::format("SELECT '' FROM {} LIMIT 1",
                                                                    evolution.table.name.Sql())));
    target.had_rows = !rows.empty();
  }
  target.table = std::move(evolution.table);
  target.versions[schema.fingerprint()] = {.schema = std::make_shared<const TableSchema>(schema),
                                           .mapping = std::move(evolution.mapping)};
  return {};
}

/// Runs the DDL of a new table version, in the open transaction.
Status DuckDbSink::Evolve(Target& target, const Evolution& evolution) {
  if (target.appender != nullptr) FRESHET_RETURN_IF_ERROR(target.appender->Flush());
  target.appender.reset();
  if (target.deleted) FRESHET_RETURN_IF_ERROR(RebuildForAlter(target));
  for (const std::string& statement : evolution.statements) {
    FRESHET_RETURN_IF_ERROR(connection_->Execute(statement));
  }
  return {};
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
    const auto at = targets_.find(changes.schema->name());
    CHECK(at != targets_.end() && at->second.versions.contains(changes.schema->fingerprint()));
    Target& target = at->second;
    FRESHET_RETURN_IF_ERROR(CheckExceptions(changes));
    if (sink_options_.mode == WriteMode::kAppend) {
      FRESHET_RETURN_IF_ERROR(
          AppendChanges(target, target.versions[changes.schema->fingerprint()], *batch, changes));
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

Status DuckDbSink::AppendChanges(Target& target, const Version& version,
                                 const change::ChangeBatch& batch, const TableChanges& changes) {
  const uint64_t fingerprint = changes.schema->fingerprint();
  const ColumnMapping& mapping = version.mapping;
  if (target.appender != nullptr && target.appends != fingerprint) {
    FRESHET_RETURN_IF_ERROR(target.appender->Flush());
    target.appender.reset();
  }
  if (target.appender == nullptr) {
    TableAppender::Types types(target.table.columns.size());
    for (size_t s = 0; s < mapping.target_of.size(); ++s) {
      types[static_cast<size_t>(mapping.target_of[s])] = changes.schema->columns()[s].type;
    }
    FRESHET_TRY(target.appender,
                TableAppender::ToTable(*connection_, target.table.name, std::move(types)));
    target.appends = fingerprint;
  }
  TableAppender& appender = *target.appender;
  const auto extras = ChangelogColumns(batch, changes, clock_.Now(),
                                       sink_options_.exceptions == ExceptionPolicy::kKeepText);
  std::vector<const arrow::Array*> extra_of(target.table.columns.size(), nullptr);
  for (size_t e = 0; e < kExtraColumns; ++e) {
    if (mapping.extra[e] >= 0) extra_of[static_cast<size_t>(mapping.extra[e])] = extras[e].get();
  }
  for (int64_t done = 0; done < changes.num_rows();) {
    const Selection selection{.first = done,
                              .count = std::min(appender.free(), changes.num_rows() - done)};
    for (size_t c = 0; c < target.table.columns.size(); ++c) {
      const int source = c < mapping.source_of.size() ? mapping.source_of[c] : -1;
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
  const MappingOf mapping_of =
      [&versions = target.versions](const TableSchema& schema) -> const ColumnMapping& {
    return versions.at(schema.fingerprint()).mapping;
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
    if (target.appender != nullptr) FRESHET_RETURN_IF_ERROR(target.appender->Flush());
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
                     "A column added with a default holds null in rows that were there before.",
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
