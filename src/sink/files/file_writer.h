#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "sink/files/options.h"

namespace arrow {
class Array;
}  // namespace arrow

namespace freshet::sink::files {

class ChecksumStream;

/// Turns rows of one table version into the bytes of one file.
///
/// Two implementations: MakeParquetWriter(), MakeJsonLinesWriter(). Memory: kMaxRowGroupBytes of
/// rows at most, besides the stream's. Errors: those of the stream.
class FileWriter {
 public:
  virtual ~FileWriter() = default;

  /// Adds rows: the source's columns, then those of ChangelogColumns().
  virtual Status Append(const std::vector<std::shared_ptr<arrow::Array>>& columns) = 0;

  /// Writes all that is held back, and the file's end.
  virtual Status Finish() = 0;

  /// Memory held for rows not yet in the stream, in bytes; an upper bound.
  virtual int64_t buffered_bytes() const = 0;
};

/// Rows of a Parquet row group, and their bytes before encoding, at most.
inline constexpr int64_t kMaxRowGroupRows = 122'880;
inline constexpr int64_t kMaxRowGroupBytes = int64_t{32} << 20;

/// `field_ids`: of the schema's columns. `out` outlives the writer.
Result<std::unique_ptr<FileWriter>> MakeParquetWriter(const change::TableSchema& schema,
                                                      const std::vector<int32_t>& field_ids,
                                                      Compression compression,
                                                      std::shared_ptr<ChecksumStream> out);

Result<std::unique_ptr<FileWriter>> MakeJsonLinesWriter(const change::TableSchema& schema,
                                                        Compression compression,
                                                        std::shared_ptr<ChecksumStream> out);

/// "parquet", "jsonl", "jsonl.gz" or "jsonl.zst".
std::string_view FileExtension(Format format, Compression compression);

}  // namespace freshet::sink::files
