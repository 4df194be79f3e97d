#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "change/change_batch.h"

namespace freshet::sink::duckdb {

/// A row of one of the run's TableChanges.
struct RowRef {
  int32_t changes = -1;  ///< index into UpsertRun::changes(); -1 names no row
  int32_t row = 0;
  auto operator<=>(const RowRef&) const = default;
};

/// A row put together from several images, because some of its values were not sent (unchanged
/// TOAST). Columns are named, since the images may be of different table versions.
struct MergedRow {
  RowRef image;       ///< all columns but those below
  RowRef target_key;  ///< the row that stood in the target under this row's key has the values of
                      ///< `from_target`; names no row when there are none
  std::vector<std::pair<std::string, RowRef>> from_run;
  std::vector<std::string> from_target;
};

/// Collapses the changes of one table to what has to be done to a target that equals the source as
/// it was before them: which rows go, and which come.
///
/// Keyed tables end with the last image of each key; a row whose first image is an insert cannot be
/// in the target, so nothing is deleted for it. Tables without a key (replica identity FULL) are
/// bags of rows: a deleted row takes away one equal row. Key values are compared as exact bytes,
/// their exception texts included. Holds the batches it is given until Clear(). Threads: one.
class UpsertRun {
 public:
  /// `schema` gives the key; all versions added must have the same key columns by name and type.
  explicit UpsertRun(const change::TableSchema& schema);

  /// Adds the rows of `changes`, a table of `batch`, in order. `snapshot_rows_may_exist`: the
  /// target had rows before the snapshot; of one in pieces beside the stream they always may.
  void Add(std::shared_ptr<const change::ChangeBatch> batch, const change::TableChanges& changes,
           bool snapshot_rows_may_exist);

  /// The last row added is the old half of an update: the run must not end here.
  bool inside_update() const { return open_preimage_.changes >= 0; }

  struct Deletion {
    RowRef key;         ///< its key columns, or all columns where there is no key
    int64_t count = 1;  ///< rows to delete; more than one only without a key
  };
  struct Result {
    bool truncate = false;            ///< first of all, the target is emptied
    std::vector<Deletion> deletions;  ///< then these rows go
    std::vector<RowRef> rows;         ///< then these come, in order of commit
    std::vector<MergedRow> merged;    ///< and these; their target values are read before all else
  };

  /// What is to be done. Valid until the next Add() or Clear().
  Result Collapse() const;

  void Clear();

  const change::TableChanges& changes(int32_t index) const {
    return *changes_[static_cast<size_t>(index)];
  }
  bool empty() const { return changes_.empty(); }
  bool keyed() const { return keyed_; }

  /// Images added so far.
  int64_t num_rows() const { return num_rows_; }

 private:
  /// What is known of one key, or of one content where there is no key.
  struct Entry {
    uint64_t hash;
    size_t key_begin;  ///< in key_bytes_
    uint32_t key_size;
    bool in_target;       ///< the target may have it; never set after a truncate
    bool present;         ///< keyed: the row is there at the end of the run
    int32_t merged = -1;  ///< index into merged_, when the present row is one
    RowRef key;           ///< an image with the key's values
    RowRef image;         ///< keyed: the present row
    int64_t net = 0;      ///< not keyed: rows added minus rows taken away
  };

  void AddKeyed(int32_t index, bool snapshot_rows_may_exist);
  void AddUnkeyed(int32_t index);
  bool IsPiece(int32_t index, int64_t row) const;
  void Truncate();

  Entry& FindOrAdd(const std::string& key, RowRef ref, bool in_target);
  void Rehash(size_t slots);
  void EncodeKey(RowRef ref, RowRef unchanged_from, std::string& out) const;
  void SetImage(Entry& entry, RowRef image, const Entry* previous, RowRef preimage);

  bool keyed_;
  std::vector<std::string> key_names_;
  std::vector<const change::TableChanges*> changes_;
  std::vector<std::shared_ptr<const change::ChangeBatch>> batch_of_;  ///< by changes_
  std::vector<std::vector<int>> key_columns_;  ///< by changes_: columns that identify a row
  int64_t num_rows_ = 0;
  bool truncated_ = false;
  RowRef open_preimage_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  ///< open addressing; 0 empty, else entry index + 1
  std::string key_bytes_;
  std::vector<MergedRow> merged_;
};

/// The exact texts of a row's exceptions, (column name, text), in column order.
std::vector<std::pair<std::string, std::string>> ExceptionsOf(const change::TableChanges& changes,
                                                              int64_t row);

}  // namespace freshet::sink::duckdb
