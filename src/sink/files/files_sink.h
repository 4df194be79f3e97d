#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sink/files/file_writer.h"
#include "sink/files/layout.h"
#include "sink/files/manifest.h"
#include "sink/files/options.h"
#include "sink/files/storage.h"
#include "sink/files/table_record.h"
#include "sink/registry.h"
#include "sink/sink.h"

namespace freshet::sink::files {

/// Writes a changelog of each table as Parquet or JSON lines files, to a folder or a bucket.
///
/// What lies where, the manifest and how to read it safely: docs/files_layout.md. Exactly once: a
/// flush makes its files invisible and complete, names them in an intent, makes them visible, and
/// then replaces the manifest, which lists them and holds the position. Open() deletes what an
/// intent names and the manifest does not. Memory: kMaxBufferedBytes of rows, and for S3 some parts
/// of 10 MB (s3_storage.cc).
class FilesSink final : public Sink {
 public:
  FilesSink(SinkOptions sink_options, Options options, const Clock& clock);
  ~FilesSink() override;

  Result<std::optional<StoredPosition>> Open(std::stop_token stop) override;
  Status Prepare(const change::TableSchema& schema) override;
  Status Write(const std::shared_ptr<const change::ChangeBatch>& batch,
               const StoredPosition& behind) override;
  Result<StoredPosition> Flush() override;
  Status Close() override;
  Description Describe() const override;

 private:
  /// The file that a table's rows go to.
  struct OpenFile {
    DataFile file;
    int64_t partition = 0;
    std::unique_ptr<PendingFile> pending;
    std::shared_ptr<ChecksumStream> stream;
    std::unique_ptr<FileWriter> writer;
  };

  /// A file complete, and still invisible.
  struct FinishedFile {
    DataFile file;
    std::unique_ptr<PendingFile> pending;
  };

  /// Rows of one TableChanges, ready to be sliced.
  struct Rows {
    const change::ChangeBatch& batch;
    const change::TableChanges& table;
    std::vector<std::shared_ptr<arrow::Array>> columns;
  };

  void DropUnflushed();
  Status DeleteLeftovers();
  Status CheckStillOurs();
  Status CommitManifest(Manifest next);

  Result<std::optional<TableRecord>> ReadRecord(const std::string& path) const;
  Status WriteTable(const change::ChangeBatch& batch, const change::TableChanges& table);
  Status AppendRange(const Rows& rows, int64_t begin, int64_t end, int64_t partition);
  Result<OpenFile*> FileFor(const change::TableSchema& schema, int64_t partition);
  Status FinishFile(const change::TableName& table);
  Status FinishLargestWhileOverBudget();
  Status FinishAll();

  const SinkOptions sink_options_;
  const Options options_;
  const Clock& clock_;
  const std::optional<Layout> layout_;

  std::unique_ptr<Storage> storage_;
  Manifest manifest_;  ///< as last committed
  std::map<change::TableId, TableRecord> tables_;
  std::map<change::TableName, OpenFile> open_;
  std::vector<FinishedFile> finished_;
  int64_t next_sequence_ = 1;
  StoredPosition written_;

  std::atomic<int64_t> rows_total_{0};
  std::atomic<int64_t> files_total_{0};
  std::atomic<int64_t> bytes_total_{0};
  std::atomic<int64_t> leftovers_total_{0};
  std::atomic<int64_t> exceptions_total_{0};
};

std::unique_ptr<Factory> MakeFactory();

/// A factory that is bound already, for tests.
std::unique_ptr<Factory> MakeFactory(Options options);

}  // namespace freshet::sink::files
