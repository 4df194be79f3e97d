#include "sink/files/files_sink.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/logging.h"
#include "sink/changelog_columns.h"
#include "sink/files/checksum_stream.h"

namespace freshet::sink::files {
namespace {

/// Bytes of rows held for open files; above it the largest file is closed early.
constexpr int64_t kMaxBufferedBytes = int64_t{96} << 20;
/// Files open at a time; above it the largest is closed early.
constexpr size_t kMaxOpenFiles = 64;

constexpr std::string_view kIntentPrefix = "intent-";

/// 16 random hex digits that tell this opening of the sink from every other.
std::string NewWriterToken() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

std::string IntentPath(std::string_view writer) {
  return fmt::format("{}/{}{}.json", kOwnFolder, kIntentPrefix, writer);
}

std::string SchemaColumnInTheWay(const change::TableSchema& schema) {
  for (const auto& field : ChangelogFields()) {
    if (schema.IndexOf(field->name()) >= 0) return field->name();
  }
  return {};
}

std::optional<Layout> LayoutOf(const std::string& text) {
  auto layout = Layout::Create(text);
  return layout.has_value() ? std::optional(*std::move(layout)) : std::nullopt;
}

}  // namespace

FilesSink::FilesSink(SinkOptions sink_options, Options options, const Clock& clock)
    : sink_options_(std::move(sink_options)),
      options_(std::move(options)),
      clock_(clock),
      layout_(LayoutOf(options_.layout)) {}

FilesSink::~FilesSink() { DropUnflushed(); }

Result<std::optional<StoredPosition>> FilesSink::Open(std::stop_token) {
  DropUnflushed();
  tables_.clear();
  if (!layout_.has_value()) return Fail(Layout::Create(options_.layout).error());
  if (storage_ == nullptr) {
    FRESHET_TRY(storage_, OpenStorage(options_, StorageUse::kWrite));
  }
  FRESHET_RETURN_IF_ERROR(storage_->Lock());

  FRESHET_TRY(std::optional<Manifest> found, ReadManifest(*storage_));
  Manifest next = std::move(found).value_or(Manifest{});
  if (next.version > 0 && next.sink != sink_options_.name) {
    return Fail(ErrorKind::kConfig,
                "{} belongs to the sink '{}', this one is '{}'; give each sink a folder of its "
                "own, or the sink its old name",
                storage_->Target(), next.sink, sink_options_.name);
  }
  // A predecessor that still runs finds another writer's token here and stops: first this, then the
  // cleaning.
  next.sink = sink_options_.name;
  next.writer = NewWriterToken();
  FRESHET_RETURN_IF_ERROR(CommitManifest(std::move(next)));
  FRESHET_RETURN_IF_ERROR(DeleteLeftovers());
  next_sequence_ = manifest_.next_sequence;
  written_ = manifest_.position.value_or(StoredPosition{});
  return manifest_.position;
}

void FilesSink::DropUnflushed() {
  // A writer may still hold bytes for its stream, so it goes before the file.
  for (auto& [table, file] : open_) file.writer.reset();
  open_.clear();
  finished_.clear();
}

/// Deletes what an earlier writer did not commit: temporary files, and data files that its intent
/// names and the manifest does not. A committed file of an intent is among the manifest's `recent`,
/// because lists are made before files are added.
Status FilesSink::DeleteLeftovers() {
  const std::string temporary = fmt::format("{}/tmp", kOwnFolder);
  FRESHET_TRY(const std::vector<std::string> unfinished, storage_->List(temporary));
  for (const std::string& name : unfinished) {
    FRESHET_RETURN_IF_ERROR(storage_->Delete(fmt::format("{}/{}", temporary, name)));
  }

  std::set<std::string> committed;
  for (const DataFile& file : manifest_.recent) committed.insert(file.path);
  FRESHET_TRY(const std::vector<std::string> own, storage_->List(std::string(kOwnFolder)));
  for (const std::string& name : own) {
    if (!name.starts_with(kIntentPrefix)) continue;
    const std::string intent = fmt::format("{}/{}", kOwnFolder, name);
    FRESHET_TRY(const std::string json, storage_->Read(intent));
    const auto paths = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
    if (!paths.is_array()) {
      return Fail(ErrorKind::kCorrupt,
                  "{} is no list of paths; look for files that the manifest "
                  "does not name, then delete it",
                  storage_->Full(intent));
    }
    for (const auto& path : paths) {
      if (!path.is_string() || committed.contains(path.get<std::string>())) continue;
      FRESHET_RETURN_IF_ERROR(storage_->Delete(path.get<std::string>()));
      ++leftovers_total_;
    }
    FRESHET_RETURN_IF_ERROR(storage_->Delete(intent));
  }
  return {};
}

Status FilesSink::Prepare(const change::TableSchema& schema) {
  CHECK(storage_ != nullptr);
  if (const std::string column = SchemaColumnInTheWay(schema); !column.empty()) {
    return Fail(ErrorKind::kUnsupported,
                "table {} has a column '{}', a name that the changelog needs; rename the column or "
                "exclude the table",
                change::ToString(schema.name()), column);
  }
  auto at = tables_.find(schema.id());
  if (at == tables_.end()) {
    FRESHET_TRY(std::optional<TableRecord> record, ReadRecord(TableRecord::PathOf(schema.id())));
    if (!record.has_value()) {
      FRESHET_TRY(record, ReadRecord(TableRecord::PathOf(schema.name())));
      if (record.has_value() && record->id().value != 0 && record->id() != schema.id()) {
        // Another table had the name. What its files hold is not this one's.
        FRESHET_RETURN_IF_ERROR(TableRecord::Admit(
            schema.name(), {SchemaChange::kRecreateTable, "it was dropped and made anew"},
            sink_options_.schema_changes));
        record.reset();
      }
    }
    at = tables_.emplace(schema.id(), std::move(record).value_or(TableRecord(schema.name()))).first;
  }
  // A version that is known was admitted before; after a restart an older one may come again.
  if (!at->second.Has(schema.fingerprint())) {
    for (const TableRecord::Difference& difference : at->second.Differences(schema)) {
      FRESHET_RETURN_IF_ERROR(
          TableRecord::Admit(schema.name(), difference, sink_options_.schema_changes));
    }
  }
  // Written ahead of the rows: ids and versions are only ever added, so a crash in between leaves
  // nothing wrong.
  if (!at->second.Add(schema)) return {};
  const std::string json = at->second.ToJson();
  FRESHET_RETURN_IF_ERROR(storage_->Replace(TableRecord::PathOf(schema.id()), json));
  return storage_->Replace(TableRecord::PathOf(schema.name()), json);
}

Result<std::optional<TableRecord>> FilesSink::ReadRecord(const std::string& path) const {
  auto json = storage_->Read(path);
  if (!json.has_value() && json.error().kind == ErrorKind::kNotFound) {
    return std::optional<TableRecord>();
  }
  if (!json.has_value()) return Fail(std::move(json).error());
  auto record = TableRecord::Parse(*json);
  if (!record.has_value()) {
    return FailWhile(fmt::format("read {}", storage_->Full(path)), record.error());
  }
  return std::optional(*std::move(record));
}

Status FilesSink::Write(const std::shared_ptr<const change::ChangeBatch>& batch,
                        const StoredPosition& behind) {
  CHECK(storage_ != nullptr);
  for (const change::TableChanges& table : batch->tables) {
    if (table.num_rows() == 0) continue;
    FRESHET_RETURN_IF_ERROR(WriteTable(*batch, table));
    // After each: one transaction may touch more tables than files may be open.
    FRESHET_RETURN_IF_ERROR(FinishLargestWhileOverBudget());
  }
  written_ = behind;
  FRESHET_FAILPOINT("after_sink_write");
  return {};
}

Status FilesSink::WriteTable(const change::ChangeBatch& batch, const change::TableChanges& table) {
  if (!table.exceptions.empty()) {
    exceptions_total_ += static_cast<int64_t>(table.exceptions.size());
    if (sink_options_.exceptions == ExceptionPolicy::kFail) {
      const auto column = static_cast<size_t>(table.exceptions.front().column);
      return Fail(ErrorKind::kUnsupported,
                  "table {}, column '{}': a value does not fit its type, and exceptions is 'fail'; "
                  "set it to 'keep_text' to keep such values exactly",
                  change::ToString(table.schema->name()), table.schema->columns()[column].name);
    }
  }
  Rows rows{.batch = batch, .table = table, .columns = table.rows->columns()};
  auto changelog = ChangelogColumns(batch, table, clock_.Now(),
                                    sink_options_.exceptions == ExceptionPolicy::kKeepText);
  std::move(changelog.begin(), changelog.end(), std::back_inserter(rows.columns));

  // Runs of rows whose commits share a partition: nearly always all of them.
  const auto partition_of = [&](int64_t row) {
    const int32_t transaction = table.transactions[static_cast<size_t>(row)];
    return layout_->PartitionOf(batch.transactions[static_cast<size_t>(transaction)].commit_time);
  };
  std::vector<int64_t> partitions;
  for (const change::Transaction& t : batch.transactions) {
    partitions.push_back(layout_->PartitionOf(t.commit_time));
  }
  if (std::adjacent_find(partitions.begin(), partitions.end(), std::not_equal_to<>()) ==
      partitions.end()) {
    return AppendRange(rows, 0, table.num_rows(), partitions.front());
  }
  for (int64_t begin = 0, end = 0; begin < table.num_rows(); begin = end) {
    const int64_t partition = partition_of(begin);
    for (end = begin + 1; end < table.num_rows() && partition_of(end) == partition;) ++end;
    FRESHET_RETURN_IF_ERROR(AppendRange(rows, begin, end, partition));
  }
  return {};
}

Status FilesSink::AppendRange(const Rows& rows, int64_t begin, int64_t end, int64_t partition) {
  const auto lsn_of = [&](int64_t row) {
    const int32_t transaction = rows.table.transactions[static_cast<size_t>(row)];
    return rows.batch.transactions[static_cast<size_t>(transaction)].commit_lsn;
  };
  while (begin < end) {
    FRESHET_TRY(OpenFile* const file, FileFor(*rows.table.schema, partition));
    const int64_t take = std::min(end - begin, options_.rotate.rows - file->file.rows);
    std::vector<std::shared_ptr<arrow::Array>> columns = rows.columns;
    if (take < rows.table.num_rows()) {
      for (auto& column : columns) column = column->Slice(begin, take);
    }
    if (Status added = file->writer->Append(columns); !added.has_value()) {
      return FailWhile(storage_->Full(file->file.path), std::move(added).error());
    }
    if (file->file.rows == 0) file->file.first_lsn = lsn_of(begin);
    begin += take;
    file->file.last_lsn = lsn_of(begin - 1);
    file->file.rows += take;
    rows_total_ += take;
    if (file->file.rows >= options_.rotate.rows ||
        file->stream->bytes() >= options_.rotate.bytes.bytes) {
      FRESHET_RETURN_IF_ERROR(FinishFile(rows.table.schema->name()));
    }
  }
  return {};
}

/// The table's open file; a new one when there is none, or when it is of another version or
/// partition. One file a table at a time, so that the order of sequences is the order of commits.
Result<FilesSink::OpenFile*> FilesSink::FileFor(const change::TableSchema& schema,
                                                int64_t partition) {
  const auto at = open_.find(schema.name());
  if (at != open_.end()) {
    if (at->second.file.fingerprint == schema.fingerprint() && at->second.partition == partition) {
      return &at->second;
    }
    FRESHET_RETURN_IF_ERROR(FinishFile(schema.name()));
  }
  OpenFile file{.file = {}, .partition = partition, .pending = {}, .stream = {}, .writer = {}};
  file.file.table = schema.name();
  file.file.sequence = next_sequence_++;
  file.file.fingerprint = schema.fingerprint();
  file.file.format = options_.format == Format::kParquet ? "parquet" : "jsonl";
  // The writer's token in the name keeps two writers, of which one was fenced, from one name.
  const std::string sequence =
      fmt::format("{:012}-{}", file.file.sequence, manifest_.writer.substr(0, 8));
  file.file.path = fmt::format("{}.{}", layout_->Render(schema.name(), partition, sequence),
                               FileExtension(options_.format, options_.compression));
  FRESHET_TRY(file.pending, storage_->Create(file.file.path));
  file.stream = std::make_shared<ChecksumStream>(file.pending->stream());
  const auto record = tables_.find(schema.id());
  CHECK(record != tables_.end());  // Prepare() comes first
  FRESHET_TRY(file.writer, options_.format == Format::kParquet
                               ? MakeParquetWriter(schema, record->second.FieldIds(schema),
                                                   options_.compression, file.stream)
                               : MakeJsonLinesWriter(schema, options_.compression, file.stream));
  return &open_.insert_or_assign(schema.name(), std::move(file)).first->second;
}

Status FilesSink::FinishFile(const change::TableName& table) {
  auto node = open_.extract(table);
  CHECK(!node.empty());
  OpenFile& open = node.mapped();
  if (Status ended = open.writer->Finish(); !ended.has_value()) {
    return FailWhile(storage_->Full(open.file.path), std::move(ended).error());
  }
  open.writer.reset();
  FRESHET_RETURN_IF_ERROR(open.pending->Finish());
  open.file.bytes = open.stream->bytes();
  open.file.checksum = open.stream->Checksum();
  finished_.push_back({std::move(open.file), std::move(open.pending)});
  return {};
}

Status FilesSink::FinishLargestWhileOverBudget() {
  while (true) {
    int64_t buffered = 0;
    auto largest = open_.begin();
    for (auto at = open_.begin(); at != open_.end(); ++at) {
      const int64_t bytes = at->second.writer->buffered_bytes();
      buffered += bytes;
      if (bytes > largest->second.writer->buffered_bytes()) largest = at;
    }
    if (buffered <= kMaxBufferedBytes && open_.size() <= kMaxOpenFiles) return {};
    const change::TableName name = largest->first;
    FRESHET_RETURN_IF_ERROR(FinishFile(name));
  }
}

Status FilesSink::FinishAll() {
  while (!open_.empty()) {
    const change::TableName name = open_.begin()->first;
    FRESHET_RETURN_IF_ERROR(FinishFile(name));
  }
  std::sort(finished_.begin(), finished_.end(), [](const FinishedFile& a, const FinishedFile& b) {
    return a.file.sequence < b.file.sequence;
  });
  return {};
}

/// S3 has no lock: whoever opened last wrote a token of its own into the manifest.
Status FilesSink::CheckStillOurs() {
  FRESHET_TRY(const std::optional<Manifest> current, ReadManifest(*storage_));
  if (current.has_value() && current->writer == manifest_.writer) return {};
  return Fail(ErrorKind::kBusy,
              "another freshet process took over {}; stop one of the two, or give each sink a "
              "prefix of its own",
              storage_->Target());
}

Status FilesSink::CommitManifest(Manifest next) {
  next.version += 1;
  next.committed_at = clock_.Now();
  FRESHET_RETURN_IF_ERROR(storage_->Replace(std::string(kManifestPath), ToJson(next)));
  manifest_ = std::move(next);
  return {};
}

Result<StoredPosition> FilesSink::Flush() {
  CHECK(storage_ != nullptr);
  FRESHET_RETURN_IF_ERROR(FinishAll());
  if (finished_.empty() && manifest_.position == written_) return written_;

  FRESHET_RETURN_IF_ERROR(CheckStillOurs());
  Manifest next = manifest_;
  std::vector<std::string> superseded;
  next.position = written_;
  next.next_sequence = next_sequence_;

  if (!finished_.empty()) {
    // Only here, where a new intent replaces the last: what an intent names must stay in `recent`.
    FRESHET_RETURN_IF_ERROR(Compact(*storage_, next, superseded));
    auto intent = nlohmann::json::array();
    std::vector<std::unique_ptr<PendingFile>> pending;
    for (FinishedFile& file : finished_) {
      intent.push_back(file.file.path);
      pending.push_back(std::move(file.pending));
      next.recent.push_back(file.file);
    }
    FRESHET_RETURN_IF_ERROR(storage_->Replace(IntentPath(manifest_.writer), intent.dump()));
    FRESHET_RETURN_IF_ERROR(storage_->Publish(pending));
  }
  FRESHET_FAILPOINT("before_sink_commit");
  // Publishing may have taken long; what is left of the race is in docs/files_layout.md.
  FRESHET_RETURN_IF_ERROR(CheckStillOurs());
  FRESHET_RETURN_IF_ERROR(CommitManifest(std::move(next)));
  FRESHET_FAILPOINT("after_sink_commit");

  for (const FinishedFile& file : finished_) {
    ++files_total_;
    bytes_total_ += file.file.bytes;
  }
  finished_.clear();
  for (const std::string& path : superseded) {
    // Litter at worst: nothing names it any more.
    if (const Status deleted = storage_->Delete(path); !deleted.has_value()) {
      logging::Warning("a merged list of files could not be deleted",
                       {{"path", storage_->Full(path)}, {"error", deleted.error().message}});
    }
  }
  return written_;
}

Status FilesSink::Close() {
  DropUnflushed();
  tables_.clear();
  storage_.reset();
  return {};
}

Description FilesSink::Describe() const {
  Description out{
      .kind = "files",
      .target = TargetOf(options_.url),
      .guarantee =
          "exactly once, for readers of the manifest at any time and for readers of the "
          "folder after recovery",
      .limits =
          {"Changes become visible when a file is closed, not one by one.",
           "A file has the columns and types of one version of its table; a later version's are in "
           "later files."},
      .counters = {{"rows_total", "Rows written to files, committed or not.", rows_total_},
                   {"files_total", "Files committed.", files_total_},
                   {"bytes_total", "Bytes of committed files.", bytes_total_},
                   {"leftovers_total", "Uncommitted files deleted when opening.", leftovers_total_},
                   {"exceptions_total", "Values that do not fit their type.", exceptions_total_}}};
  if (options_.url.starts_with("s3://")) {
    out.limits.push_back(
        "S3 has no lock: of two processes with one prefix the older stops at its next flush, "
        "unless "
        "both flush in the same instant.");
  }
  return out;
}

}  // namespace freshet::sink::files
