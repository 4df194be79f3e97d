#pragma once

#include <memory>
#include <string>

#include "sink/read_back.h"
#include "sink/sink.h"

namespace freshet::sink::duckdb {

/// Reads the tables of a DuckDB file back: of a sink that runs in this process, or of one that is
/// stopped. Each Scan() is one transaction; it opens the file and lets go of it again.
class DuckDbReadBack final : public ReadBack {
 public:
  DuckDbReadBack(std::string path, WriteMode mode) : path_(std::move(path)), mode_(mode) {}

  Status Scan(const change::TableSchema& schema, const std::shared_ptr<arrow::RecordBatch>& keys,
              const Visit& visit) override;

 private:
  std::string path_;
  WriteMode mode_;
};

}  // namespace freshet::sink::duckdb
