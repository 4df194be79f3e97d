#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "change/table_schema.h"
#include "sink/files/manifest.h"
#include "sink/files/options.h"
#include "sink/files/storage.h"
#include "sink/files/table_record.h"
#include "sink/read_back.h"

namespace arrow {
class Array;
}

namespace freshet::sink::duckdb {
class Connection;
class Database;
}  // namespace freshet::sink::duckdb

namespace freshet::sink::files {

/// Reads what the changelog in a sink's committed files adds up to.
///
/// The rows of one table are loaded into a DuckDB of its own, which spills to disk what does not
/// fit kMemoryLimit, and folded there as the DuckDB sink's changelog is. They stay loaded until
/// another table is asked for; a further scan loads only files committed since. Errors: kCorrupt
/// when a file is not, byte for byte, what was committed.
class FilesReadBack final : public ReadBack {
 public:
  static constexpr const char* kMemoryLimit = "128MB";

  explicit FilesReadBack(Options options);
  ~FilesReadBack() override;

  Status Scan(const change::TableSchema& schema, const std::shared_ptr<arrow::RecordBatch>& keys,
              const Visit& visit) override;

 private:
  Status FindRecord(const change::TableSchema& schema);
  Result<std::vector<DataFile>> Files();
  Status MakeTable(const change::TableSchema& schema);
  Status CheckBytes(const DataFile& file);
  Result<std::shared_ptr<arrow::Array>> Missing(const change::Column& column);
  Status Load(const DataFile& file, const change::TableSchema& schema);
  Status RenameInJson(const DataFile& file, const change::TableSchema& schema);
  Status NoteMissing(const DataFile& file, const change::TableSchema& schema);
  Status Fold(const change::TableSchema& schema, const std::shared_ptr<arrow::RecordBatch>& keys,
              const Visit& visit);

  const Options options_;
  std::unique_ptr<Storage> storage_;
  std::optional<TableRecord> record_;  ///< of the table that is read; its versions' files are its
  std::string spill_folder_;
  std::shared_ptr<duckdb::Database> database_;
  std::unique_ptr<duckdb::Connection> connection_;
  uint64_t loaded_version_ = 0;  ///< fingerprint of the schema the table was made for
  int64_t loaded_sequence_ = 0;  ///< files up to this one are loaded
};

}  // namespace freshet::sink::files
