#include "sink/files/read_back.h"

#include <arrow/array.h>
#include <arrow/io/memory.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "sink/changelog_columns.h"
#include "sink/duckdb/changelog_query.h"
#include "sink/duckdb/column_type.h"
#include "sink/duckdb/database.h"
#include "sink/duckdb/json_names.h"
#include "sink/duckdb/scan.h"
#include "sink/duckdb/source_value.h"
#include "sink/duckdb/table_appender.h"
#include "sink/duckdb/vectors.h"
#include "sink/files/checksum_stream.h"
#include "sink/files/data_file_reader.h"
#include "sink/files/table_record.h"

namespace freshet::sink::files {
namespace {

constexpr std::string_view kTable = "changelog";

/// Merged lists are deleted once a newer manifest is there: a reader of the older begins again.
constexpr int kManifestTries = 3;

/// The columns behind the source's that folding needs, and their DuckDB types.
struct FoldColumn {
  std::string_view name;
  std::string_view type;
};
constexpr std::array<FoldColumn, 5> kFoldColumns = {{{kOperationColumn, "VARCHAR"},
                                                     {kLsnColumn, "UBIGINT"},
                                                     {kSeqColumn, "BIGINT"},
                                                     {kExceptionsColumn, "VARCHAR"},
                                                     {kUnchangedColumn, "VARCHAR"}}};

/// Source columns have plain names there: DuckDB's ignore case, PostgreSQL's do not.
std::string ColumnName(size_t column) { return fmt::format("c{}", column); }

}  // namespace

FilesReadBack::FilesReadBack(Options options) : options_(std::move(options)) {}

FilesReadBack::~FilesReadBack() {
  connection_.reset();
  database_.reset();
  std::error_code ignored;
  if (!spill_folder_.empty()) std::filesystem::remove_all(spill_folder_, ignored);
}

Status FilesReadBack::Scan(const change::TableSchema& schema,
                           const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) {
  if (storage_ == nullptr) {
    auto storage = OpenStorage(options_, StorageUse::kRead);
    if (!storage.has_value()) {
      Error error = std::move(storage).error();
      // Not found is what a missing table is; without its bucket nothing can be said of any.
      if (error.kind == ErrorKind::kNotFound) error.kind = ErrorKind::kUnavailable;
      return Fail(std::move(error));
    }
    storage_ = *std::move(storage);
  }
  FRESHET_RETURN_IF_ERROR(FindRecord(schema));
  FRESHET_TRY(const std::vector<DataFile> files, Files());
  if (connection_ == nullptr || loaded_version_ != schema.fingerprint()) {
    FRESHET_RETURN_IF_ERROR(MakeTable(schema));
  }
  for (const DataFile& file : files) {
    if (file.sequence > loaded_sequence_) FRESHET_RETURN_IF_ERROR(Load(file, schema));
  }
  FRESHET_RETURN_IF_ERROR(connection_->Execute("BEGIN TRANSACTION"));
  const Status folded = Fold(schema, keys, visit);
  FRESHET_RETURN_IF_ERROR(connection_->Execute("ROLLBACK"));
  return folded;
}

/// Reads what is recorded of the table, under its oid or as older versions of freshet did by its
/// name alone. Errors: kNotFound when the sink never had it.
Status FilesReadBack::FindRecord(const change::TableSchema& schema) {
  record_.reset();
  for (const std::string& path :
       {TableRecord::PathOf(schema.id()), TableRecord::PathOf(schema.name())}) {
    const auto json = storage_->Read(path);
    if (!json.has_value() && json.error().kind == ErrorKind::kNotFound) continue;
    if (!json.has_value()) return Fail(json.error());
    auto record = TableRecord::Parse(*json);
    if (!record.has_value()) {
      return FailWhile(fmt::format("read {}", storage_->Full(path)), record.error());
    }
    if (record->id().value != 0 && record->id() != schema.id()) continue;  // another of its name
    record_ = *std::move(record);
    return {};
  }
  return Fail(ErrorKind::kNotFound, "{} has no table {}", storage_->Target(),
              change::ToString(schema.name()));
}

/// The table's committed files, in commit order.
Result<std::vector<DataFile>> FilesReadBack::Files() {
  std::vector<DataFile> files;
  for (int tries = 1;; ++tries) {
    files.clear();
    FRESHET_TRY(const auto manifest, ReadManifest(*storage_));
    const Status visited =
        VisitFiles(*storage_, manifest.value_or(Manifest{}), [&](const DataFile& file) -> Status {
          if (record_->Has(file.fingerprint)) files.push_back(file);
          return {};
        });
    if (visited.has_value()) return files;
    if (visited.error().kind != ErrorKind::kNotFound || tries == kManifestTries) {
      return Fail(visited.error());
    }
  }
}

/// An empty table for the changelog of `schema`, in a DuckDB of its own.
Status FilesReadBack::MakeTable(const change::TableSchema& schema) {
  connection_.reset();
  database_.reset();
  if (spill_folder_.empty()) {
    std::string name = (std::filesystem::temp_directory_path() / "freshet-fold-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      return Fail(FromErrno(errno, fmt::format("make the folder {}", name)));
    }
    spill_folder_ = name;
  }
  FRESHET_TRY(database_, duckdb::Database::OpenInMemory(kMemoryLimit, spill_folder_));
  FRESHET_TRY(connection_, database_->Connect());
  std::string columns;
  for (size_t c = 0; c < schema.columns().size(); ++c) {
    columns += fmt::format("{} {}, ", ColumnName(c), duckdb::DuckDbType(schema.columns()[c].type));
  }
  for (const FoldColumn& column : kFoldColumns) {
    columns += fmt::format("{}{} {}", &column == &kFoldColumns.front() ? "" : ", ", column.name,
                           column.type);
  }
  FRESHET_RETURN_IF_ERROR(
      connection_->Execute(fmt::format("CREATE TABLE {} ({})", kTable, columns)));
  loaded_version_ = schema.fingerprint();
  loaded_sequence_ = 0;
  return {};
}

/// Compares a file with its checksum in the manifest: a change may lie where folding does not look,
/// in a row that a later one replaces or a column that only says when it came.
Status FilesReadBack::CheckBytes(const DataFile& file) {
  constexpr int64_t kReadBytes = 1 << 20;
  FRESHET_TRY(const auto in, storage_->Open(file.path));
  arrow::io::MockOutputStream nowhere;
  ChecksumStream bytes(nowhere);
  std::string chunk(kReadBytes, '\0');
  while (true) {
    const auto got = in->Read(kReadBytes, chunk.data());
    const arrow::Status read = got.ok() ? bytes.Write(chunk.data(), *got) : got.status();
    if (!read.ok()) return Fail(FromArrow(read, fmt::format("read {}", storage_->Full(file.path))));
    if (*got == 0) break;
  }
  if (bytes.Checksum() == file.checksum) return {};
  return Fail(ErrorKind::kCorrupt,
              "{} has {} bytes with checksum {}, and was committed with {} and {}: restore it, or "
              "take a new snapshot into a prefix of its own",
              storage_->Full(file.path), bytes.bytes(), bytes.Checksum(), file.bytes,
              file.checksum);
}

/// What rows from before the column was added hold in it, one value; null when that is null, or no
/// value of the column's type.
Result<std::shared_ptr<arrow::Array>> FilesReadBack::Missing(const change::Column& column) {
  std::shared_ptr<arrow::Array> value;
  const auto text = record_->MissingValue(column);
  const auto sql = text.has_value() ? duckdb::SqlOfText(*text, column.type) : std::nullopt;
  if (!sql.has_value()) return value;
  const change::TableSchema one({}, {}, change::ReplicaIdentity::kDefault, {column});
  FRESHET_RETURN_IF_ERROR(duckdb::ScanSql(*connection_,
                                          fmt::format("SELECT {}, NULL::VARCHAR", *sql), one,
                                          [&](const arrow::RecordBatch& rows) -> Status {
                                            if (rows.column(0)->IsValid(0)) value = rows.column(0);
                                            return {};
                                          }));
  return value;
}

/// The rows of `file`, which were loaded last, as a condition.
std::string LoadedLast(const DataFile& file) {
  return fmt::format("rowid >= (SELECT count(*) FROM {}) - {}", kTable, file.rows);
}

/// Gives columns the names they have in `schema` where the rows of `file` name them as JSON.
Status FilesReadBack::RenameInJson(const DataFile& file, const change::TableSchema& schema) {
  const std::vector<duckdb::Rename> renames = record_->RenamesSince(file.fingerprint, schema);
  if (renames.empty()) return {};
  for (const std::string_view name : {kExceptionsColumn, kUnchangedColumn}) {
    const std::string json = name == kExceptionsColumn ? duckdb::RenamedKeys(name, renames)
                                                       : duckdb::RenamedItems(name, renames);
    FRESHET_RETURN_IF_ERROR(
        connection_->Execute(fmt::format("UPDATE {0} SET {1} = {2} WHERE {1} IS NOT NULL AND {3}",
                                         kTable, name, json, LoadedLast(file))));
  }
  return {};
}

/// Adds the exact texts of missing values that no column can hold, to the rows of `file`, which
/// were loaded last.
Status FilesReadBack::NoteMissing(const DataFile& file, const change::TableSchema& schema) {
  const std::vector<std::string> names = record_->NamesIn(file.fingerprint, schema);
  for (size_t c = 0; c < names.size(); ++c) {
    const change::Column& column = schema.columns()[c];
    const auto text = names[c].empty() ? record_->MissingValue(column) : std::nullopt;
    if (!text.has_value()) continue;
    FRESHET_TRY(const auto value, Missing(column));
    if (value != nullptr) continue;
    FRESHET_RETURN_IF_ERROR(connection_->Execute(fmt::format(
        "UPDATE {0} SET {1} = json_merge_patch(coalesce({1}, '{{}}')::JSON, json_object({2}, {3}))"
        "::VARCHAR WHERE {4}",
        kTable, kExceptionsColumn, duckdb::QuoteText(column.name), duckdb::QuoteText(*text),
        LoadedLast(file))));
  }
  return {};
}

Status FilesReadBack::Load(const DataFile& file, const change::TableSchema& schema) {
  const std::vector<std::string> names = record_->NamesIn(file.fingerprint, schema);
  arrow::ArrayVector missing(names.size());
  for (size_t c = 0; c < names.size(); ++c) {
    if (!names[c].empty()) continue;
    FRESHET_TRY(missing[c], Missing(schema.columns()[c]));
  }
  const std::vector<int32_t> first(static_cast<size_t>(kReadRows), 0);  // the one value, each time
  duckdb::TableAppender::Types types;
  for (const change::Column& column : schema.columns()) types.emplace_back(column.type);
  types.resize(types.size() + kFoldColumns.size());
  FRESHET_TRY(auto appender,
              duckdb::TableAppender::ToTable(
                  *connection_,
                  {.catalog = "memory", .schema = "main", .table = std::string(kTable)}, types));
  const auto source_columns = static_cast<int>(schema.columns().size());
  const auto append = [&](const arrow::RecordBatch& rows) -> Status {
    for (int64_t done = 0; done < rows.num_rows();) {
      const duckdb::Selection some{.first = done,
                                   .count = std::min(appender->free(), rows.num_rows() - done)};
      for (int c = 0; c < source_columns; ++c) {
        const auto index = static_cast<size_t>(c);
        const bool filled = missing[index] != nullptr;
        duckdb::WriteVector(
            filled ? *missing[index] : *rows.column(c), schema.columns()[index].type,
            filled ? duckdb::Selection{.rows = first.data(), .first = 0, .count = some.count}
                   : some,
            appender->vector(index), appender->at());
      }
      for (size_t i = 0; i < kFoldColumns.size(); ++i) {
        const auto values = rows.GetColumnByName(std::string(kFoldColumns[i].name));
        duckdb::WriteChangelogColumn(*values, some,
                                     appender->vector(static_cast<size_t>(source_columns) + i),
                                     appender->at());
      }
      FRESHET_RETURN_IF_ERROR(appender->Advance(some.count));
      done += some.count;
    }
    return appender->Drain();  // the rows go with this call
  };
  // A transaction a file: half of one must not be taken for loaded.
  FRESHET_RETURN_IF_ERROR(connection_->Execute("BEGIN TRANSACTION"));
  Status loaded = CheckBytes(file);
  if (loaded.has_value()) loaded = ReadDataFile(*storage_, file, schema, append, &names);
  if (loaded.has_value()) loaded = appender->Flush();
  if (loaded.has_value()) loaded = RenameInJson(file, schema);
  if (loaded.has_value()) loaded = NoteMissing(file, schema);
  if (!loaded.has_value()) {
    appender.reset();     // before what it writes to
    connection_.reset();  // and with it the table: the next scan begins anew
    if (loaded.error().kind == ErrorKind::kNotFound) {
      return Fail(
          ErrorKind::kCorrupt,
          "{} is gone, though the manifest names it: restore it, or take a new snapshot into "
          "a prefix of its own",
          storage_->Full(file.path));
    }
    return loaded;
  }
  FRESHET_RETURN_IF_ERROR(connection_->Execute("COMMIT"));
  loaded_sequence_ = file.sequence;
  return {};
}

Status FilesReadBack::Fold(const change::TableSchema& schema,
                           const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) {
  duckdb::ChangelogRelation changelog{
      .table = std::string(kTable), .columns = {}, .has_exceptions = true};
  for (size_t c = 0; c < schema.columns().size(); ++c) {
    changelog.columns.push_back(
        [c](std::string_view alias) { return fmt::format("{}.{}", alias, ColumnName(c)); });
  }
  std::string wanted;
  if (keys != nullptr) {
    FRESHET_TRY(wanted, duckdb::StageKeys(*connection_, schema, *keys));
  }
  FRESHET_TRY(const std::string sql,
              duckdb::FoldChangelog(*connection_, changelog, schema, wanted));
  return duckdb::ScanSql(*connection_, sql, schema, visit);
}

}  // namespace freshet::sink::files
