#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "change/table_schema.h"
#include "sink/files/manifest.h"
#include "sink/files/storage.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace freshet::sink::files {

/// What ReadDataFile() gives: `schema`'s columns in their order and Arrow types, then the columns
/// of ChangelogFields(), the operation as plain utf8.
std::shared_ptr<arrow::Schema> ChangelogSchema(const change::TableSchema& schema);

/// Reads one data file in order, at most kReadRows rows at a time. Columns are found by name; one
/// that the file does not have is null, one of another type is cast. The checksum is not checked.
///
/// Errors: those of Storage, kMalformed (names file and, for JSON lines, line), kUnsupported (a
/// cast that would lose something), and what `visit` returns.
Status ReadDataFile(Storage& storage, const DataFile& file, const change::TableSchema& schema,
                    const std::function<Status(const arrow::RecordBatch&)>& visit);

inline constexpr int64_t kReadRows = 16'384;

namespace internal {
/// The two formats; `in` is the whole file, unpacked for JSON lines.
Status ReadParquet(std::shared_ptr<arrow::io::RandomAccessFile> in, const std::string& name,
                   const change::TableSchema& schema,
                   const std::function<Status(const arrow::RecordBatch&)>& visit);
Status ReadJsonLines(std::shared_ptr<arrow::io::RandomAccessFile> in, const std::string& name,
                     const change::TableSchema& schema,
                     const std::function<Status(const arrow::RecordBatch&)>& visit);
}  // namespace internal

}  // namespace freshet::sink::files
