#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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

/// Reads one data file in order, at most kReadRows rows at a time. Columns are found by name, or
/// where `names` is given by the name at their place there, which is empty for one that the file
/// does not have; such a column is null. A file of another version of the table may have other
/// types: what does not fit `schema`'s is null. The checksum is not checked.
///
/// Errors: those of Storage, kMalformed (names file and, for JSON lines, line), and what `visit`
/// returns.
Status ReadDataFile(Storage& storage, const DataFile& file, const change::TableSchema& schema,
                    const std::function<Status(const arrow::RecordBatch&)>& visit,
                    const std::vector<std::string>* names = nullptr);

inline constexpr int64_t kReadRows = 16'384;

namespace internal {

/// The two formats.
struct ReadRequest {
  std::shared_ptr<arrow::io::RandomAccessFile> in;
  std::string name;  ///< for messages; its ending says how JSON lines are packed
  const change::TableSchema& schema;
  bool other_version;  ///< the file's types need not be those of `schema`
  const std::function<Status(const arrow::RecordBatch&)>& visit;
  const std::vector<std::string>* names;  ///< of the file's columns, by column of `schema`; or null

  /// The file's name for what ChangelogSchema() has at place `column` under the name `own`.
  const std::string& NameOf(int column, const std::string& own) const {
    const auto at = static_cast<size_t>(column);
    return names != nullptr && at < names->size() ? (*names)[at] : own;
  }
};
Status ReadParquet(const ReadRequest& request);
Status ReadJsonLines(const ReadRequest& request);

}  // namespace internal

}  // namespace freshet::sink::files
