#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/ids.h"
#include "change/table_schema.h"
#include "sink/sink.h"

namespace freshet::sink::files {

class Storage;

/// One committed data file.
struct DataFile {
  std::string path;  ///< under the sink's prefix
  change::TableName table;
  int64_t sequence = 0;  ///< files of one table in this order are in commit order
  std::string format;    ///< "parquet" or "jsonl"
  int64_t rows = 0;
  int64_t bytes = 0;
  std::string checksum;      ///< XXH3-64 of the bytes, 16 hex digits
  change::Lsn first_lsn;     ///< `_cdc_lsn` of the first row
  change::Lsn last_lsn;      ///< `_cdc_lsn` of the last row
  uint64_t fingerprint = 0;  ///< of the table version, see TableSchema::fingerprint()

  bool operator==(const DataFile&) const = default;
};

/// A list of older data files, moved out of the manifest: one JSON object a line, never changed.
struct FileList {
  std::string path;
  int64_t level = 0;  ///< 0: from the manifest; n: merged from lists of level n - 1
  int64_t files = 0;

  bool operator==(const FileList&) const = default;
};

/// The one object that says what the sink has committed. Bytes: docs/files_layout.md.
struct Manifest {
  std::string sink;     ///< name of the sink that writes here
  int64_t version = 0;  ///< counts commits, openings included
  std::string writer;   ///< random token of the process that may commit
  UnixMicros committed_at = 0;
  std::optional<StoredPosition> position;  ///< none until the first flush
  int64_t next_sequence = 1;
  std::vector<FileList> lists;   ///< oldest first
  std::vector<DataFile> recent;  ///< newest files, behind those of the lists

  bool operator==(const Manifest&) const = default;
};

std::string ToJson(const Manifest& manifest);
/// Errors: kCorrupt, kUnsupported (a newer format).
Result<Manifest> ParseManifest(std::string_view json);

/// One line of a list, without the line's end.
std::string ToJson(const DataFile& file);
Result<DataFile> ParseDataFile(std::string_view json);

/// Files the manifest itself lists before it moves them to a list.
inline constexpr size_t kMaxRecentFiles = 256;
/// Lists of one level that are merged into one of the next.
inline constexpr int64_t kMergeLists = 16;
/// Lists of this level (65,536 files) are not merged any more.
inline constexpr int64_t kTopLevel = 2;

inline constexpr std::string_view kManifestPath = "_freshet/manifest.json";

/// Reads the manifest; none when there is none. Errors: those of Storage, kCorrupt, kUnsupported.
Result<std::optional<Manifest>> ReadManifest(Storage& storage);

/// Keeps the manifest small before more files are added: moves `recent` to a list when there are
/// kMaxRecentFiles, and merges lists. What it replaced is added to `superseded`, to be deleted once
/// the changed manifest is written.
Status Compact(Storage& storage, Manifest& manifest, std::vector<std::string>& superseded);

/// Calls `visit` with every committed file, oldest first.
Status VisitFiles(Storage& storage, const Manifest& manifest,
                  const std::function<Status(const DataFile&)>& visit);

}  // namespace freshet::sink::files
