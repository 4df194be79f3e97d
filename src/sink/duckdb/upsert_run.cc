#include "sink/duckdb/upsert_run.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <xxhash.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace freshet::sink::duckdb {
namespace {

using change::ChangeKind;
using change::LogicalKind;
using change::LogicalType;
using change::TableChanges;

template <typename Value>
void AppendBytes(const Value& value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A value of fixed width is its bytes.
void EncodeFixed(const arrow::Array& values, int64_t row, std::string& out) {
  const auto& type = static_cast<const arrow::FixedWidthType&>(*values.type());
  const auto width = static_cast<size_t>(type.bit_width()) / CHAR_BIT;
  const auto* bytes = reinterpret_cast<const char*>(values.data()->buffers[1]->data());
  out.append(bytes + static_cast<size_t>(values.offset() + row) * width, width);
}

/// Equal numbers get equal bytes: one zero, one NaN.
template <typename ArrowArray>
void EncodeFloat(const arrow::Array& values, int64_t row, std::string& out) {
  auto value = static_cast<const ArrowArray&>(values).Value(row);
  using Value = decltype(value);
  if (value == 0) value = 0;
  if (std::isnan(value)) value = std::numeric_limits<Value>::quiet_NaN();
  AppendBytes(value, out);
}

void EncodeValue(const arrow::Array& values, const LogicalType& type, int64_t row,
                 std::string& out) {
  switch (type.kind) {
    case LogicalKind::kBool:
      out.push_back(static_cast<const arrow::BooleanArray&>(values).Value(row) ? '\1' : '\0');
      return;
    case LogicalKind::kFloat32:
      return EncodeFloat<arrow::FloatArray>(values, row, out);
    case LogicalKind::kFloat64:
      return EncodeFloat<arrow::DoubleArray>(values, row, out);
    case LogicalKind::kInt16:
    case LogicalKind::kInt32:
    case LogicalKind::kInt64:
    case LogicalKind::kUInt32:
    case LogicalKind::kDate:
    case LogicalKind::kTime:
    case LogicalKind::kTimestamp:
    case LogicalKind::kTimestampTz:
    case LogicalKind::kDecimal:
    case LogicalKind::kUuid:
      return EncodeFixed(values, row, out);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
    case LogicalKind::kBytes: {
      const std::string_view text = static_cast<const arrow::BinaryArray&>(values).GetView(row);
      AppendBytes(static_cast<uint32_t>(text.size()), out);
      out.append(text);
      return;
    }
    case LogicalKind::kList: {
      const auto& list = static_cast<const arrow::ListArray&>(values);
      const LogicalType element = change::ElementType(type);
      AppendBytes(list.value_length(row), out);
      for (int64_t i = 0; i < list.value_length(row); ++i) {
        const int64_t at = list.value_offset(row) + i;
        const bool null = list.values()->IsNull(at);
        out.push_back(null ? '\0' : '\1');
        if (!null) EncodeValue(*list.values(), element, at, out);
      }
      return;
    }
  }
}

const change::ValueException* FindException(const TableChanges& changes, int64_t row, int column) {
  const auto at =
      std::lower_bound(changes.exceptions.begin(), changes.exceptions.end(), std::pair(row, column),
                       [](const change::ValueException& e, const auto& key) {
                         return std::pair(e.row, static_cast<int>(e.column)) < key;
                       });
  if (at == changes.exceptions.end() || at->row != row || at->column != column) return nullptr;
  return &*at;
}

/// Some of the row's columns are not given.
bool IsPatch(const TableChanges& changes, int64_t row) {
  return std::any_of(changes.unchanged.begin(), changes.unchanged.end(), [row](const auto& marks) {
    return std::binary_search(marks.rows.begin(), marks.rows.end(), row);
  });
}

bool IsUnchanged(const TableChanges& changes, int64_t row, int column) {
  for (const change::UnchangedRows& marks : changes.unchanged) {
    if (marks.column == column) {
      return std::binary_search(marks.rows.begin(), marks.rows.end(), row);
    }
  }
  return false;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> ExceptionsOf(const TableChanges& changes,
                                                              int64_t row) {
  std::vector<std::pair<std::string, std::string>> out;
  auto at = std::lower_bound(changes.exceptions.begin(), changes.exceptions.end(), row,
                             [](const change::ValueException& e, int64_t r) { return e.row < r; });
  for (; at != changes.exceptions.end() && at->row == row; ++at) {
    out.emplace_back(changes.schema->columns()[static_cast<size_t>(at->column)].name, at->text);
  }
  return out;
}

UpsertRun::UpsertRun(const change::TableSchema& schema) : keyed_(!schema.key_columns().empty()) {
  for (const int c : schema.key_columns()) {
    key_names_.push_back(schema.columns()[static_cast<size_t>(c)].name);
  }
}

void UpsertRun::Add(std::shared_ptr<const change::ChangeBatch> batch, const TableChanges& changes,
                    bool snapshot_rows_may_exist) {
  const auto index = static_cast<int32_t>(changes_.size());
  std::vector<int> columns;
  if (keyed_) {
    for (const std::string& name : key_names_) {
      columns.push_back(changes.schema->IndexOf(name));
      CHECK(columns.back() >= 0);
    }
  } else {
    for (size_t c = 0; c < changes.schema->columns().size(); ++c) {
      columns.push_back(static_cast<int>(c));
    }
  }
  changes_.push_back(&changes);
  batch_of_.push_back(std::move(batch));
  key_columns_.push_back(std::move(columns));
  num_rows_ += changes.num_rows();
  if (keyed_) {
    AddKeyed(index, snapshot_rows_may_exist);
  } else {
    AddUnkeyed(index);
  }
}

void UpsertRun::AddKeyed(int32_t index, bool snapshot_rows_may_exist) {
  const TableChanges& changes = *changes_[static_cast<size_t>(index)];
  std::string key;
  std::string old_key;
  for (int32_t row = 0; row < static_cast<int32_t>(changes.num_rows()); ++row) {
    const RowRef ref{index, row};
    const ChangeKind kind = changes.kinds[static_cast<size_t>(row)];
    if (kind == ChangeKind::kTruncate) {
      Truncate();
      continue;
    }
    if (kind == ChangeKind::kUpdatePreimage) {
      open_preimage_ = ref;
      continue;
    }
    const RowRef preimage = open_preimage_;
    open_preimage_ = {};
    key.clear();
    EncodeKey(ref, {}, key);
    switch (kind) {
      case ChangeKind::kInsert:
        SetImage(FindOrAdd(key, ref, false), ref, nullptr, {});
        break;
      case ChangeKind::kSnapshot: {
        // A chunk's row may come twice, and one that says only some of its columns patches the
        // row that an update left without them.
        const bool patch = IsPatch(changes, row);
        Entry& entry = FindOrAdd(key, ref, patch || IsPiece(index, row) || snapshot_rows_may_exist);
        const Entry previous = entry;
        SetImage(entry, ref, patch ? &previous : nullptr, {});
        break;
      }
      case ChangeKind::kDelete: {
        Entry& entry = FindOrAdd(key, ref, true);
        entry.present = false;
        entry.merged = -1;
        break;
      }
      case ChangeKind::kUpdatePostimage: {
        old_key.clear();
        if (preimage.changes >= 0) EncodeKey(preimage, {}, old_key);
        if (preimage.changes < 0 || old_key == key) {
          Entry& entry = FindOrAdd(key, ref, true);
          const Entry previous = entry;
          SetImage(entry, ref, &previous, preimage);
          break;
        }
        Entry& from = FindOrAdd(old_key, preimage, true);
        const Entry previous = from;
        from.present = false;
        from.merged = -1;
        SetImage(FindOrAdd(key, ref, false), ref, &previous, preimage);
        break;
      }
      case ChangeKind::kUpdatePreimage:
      case ChangeKind::kTruncate:
        break;
    }
  }
}

/// The row stands in a piece of a snapshot that is taken beside the stream.
bool UpsertRun::IsPiece(int32_t index, int64_t row) const {
  const TableChanges& changes = *changes_[static_cast<size_t>(index)];
  const auto& transactions = batch_of_[static_cast<size_t>(index)]->transactions;
  return transactions[static_cast<size_t>(changes.transactions[static_cast<size_t>(row)])].ordinal >
         0;
}

/// Makes `image` the present row of `entry`. `previous` is what was known of the row that an update
/// replaces; null for a row that is new.
void UpsertRun::SetImage(Entry& entry, RowRef image, const Entry* previous, RowRef preimage) {
  const TableChanges& changes = *changes_[static_cast<size_t>(image.changes)];
  entry.present = true;
  entry.image = image;
  entry.merged = -1;
  if (changes.unchanged.empty()) return;

  MergedRow merged{.image = image, .target_key = {}, .from_run = {}, .from_target = {}};
  for (const change::UnchangedRows& marks : changes.unchanged) {
    if (!std::binary_search(marks.rows.begin(), marks.rows.end(), int64_t{image.row})) continue;
    const std::string& name = changes.schema->columns()[static_cast<size_t>(marks.column)].name;
    if (previous != nullptr && previous->present) {
      // The row before this update is in the run: itself an image, or put together from some.
      if (previous->merged >= 0) {
        const MergedRow& old = merged_[static_cast<size_t>(previous->merged)];
        const auto in_run = std::find_if(old.from_run.begin(), old.from_run.end(),
                                         [&](const auto& part) { return part.first == name; });
        if (in_run != old.from_run.end()) {
          merged.from_run.push_back(*in_run);
          continue;
        }
        if (std::find(old.from_target.begin(), old.from_target.end(), name) !=
            old.from_target.end()) {
          merged.from_target.push_back(name);
          merged.target_key = old.target_key;
          continue;
        }
      }
      merged.from_run.emplace_back(name, previous->image);
      continue;
    }
    // Under FULL the old tuple carries the value itself.
    if (preimage.changes >= 0 &&
        changes.schema->replica_identity() == change::ReplicaIdentity::kFull &&
        !IsUnchanged(*changes_[static_cast<size_t>(preimage.changes)], preimage.row,
                     marks.column)) {
      merged.from_run.emplace_back(name, preimage);
      continue;
    }
    if (previous == nullptr || !previous->in_target) continue;  // nowhere to be had: null
    merged.from_target.push_back(name);
    merged.target_key = previous->key;
  }
  if (merged.from_run.empty() && merged.from_target.empty()) return;
  entry.merged = static_cast<int32_t>(merged_.size());
  merged_.push_back(std::move(merged));
}

void UpsertRun::AddUnkeyed(int32_t index) {
  const TableChanges& changes = *changes_[static_cast<size_t>(index)];
  std::string content;
  for (int32_t row = 0; row < static_cast<int32_t>(changes.num_rows()); ++row) {
    const RowRef ref{index, row};
    const ChangeKind kind = changes.kinds[static_cast<size_t>(row)];
    if (kind == ChangeKind::kTruncate) {
      Truncate();
      continue;
    }
    const RowRef preimage = open_preimage_;
    open_preimage_ = {};
    const bool removes = kind == ChangeKind::kDelete || kind == ChangeKind::kUpdatePreimage;
    if (kind == ChangeKind::kUpdatePreimage) open_preimage_ = ref;
    content.clear();
    EncodeKey(ref, preimage, content);
    Entry& entry = FindOrAdd(content, ref, true);
    entry.net += removes ? -1 : 1;
    if (removes || entry.image.changes >= 0) continue;
    entry.image = ref;
    MergedRow merged{.image = ref, .target_key = {}, .from_run = {}, .from_target = {}};
    for (const change::UnchangedRows& marks : changes.unchanged) {
      if (preimage.changes < 0 || !IsUnchanged(changes, row, marks.column)) continue;
      merged.from_run.emplace_back(
          changes.schema->columns()[static_cast<size_t>(marks.column)].name, preimage);
    }
    if (merged.from_run.empty()) continue;
    entry.merged = static_cast<int32_t>(merged_.size());
    merged_.push_back(std::move(merged));
  }
}

void UpsertRun::Truncate() {
  truncated_ = true;
  open_preimage_ = {};
  entries_.clear();
  slots_.assign(slots_.size(), 0);
  key_bytes_.clear();
  merged_.clear();
}

/// Writes what identifies the row of `ref`: null or not and the bytes, column by column.
/// `unchanged_from` names the image that has the values not sent in `ref`.
void UpsertRun::EncodeKey(RowRef ref, RowRef unchanged_from, std::string& out) const {
  const TableChanges& changes = *changes_[static_cast<size_t>(ref.changes)];
  for (const int column : key_columns_[static_cast<size_t>(ref.changes)]) {
    const TableChanges* from = &changes;
    int64_t row = ref.row;
    if (unchanged_from.changes >= 0 && IsUnchanged(changes, row, column)) {
      from = changes_[static_cast<size_t>(unchanged_from.changes)];
      row = unchanged_from.row;
    }
    const arrow::Array& values = *from->rows->column(column);
    if (!values.IsNull(row)) {
      out.push_back('\1');
      EncodeValue(values, from->schema->columns()[static_cast<size_t>(column)].type, row, out);
      continue;
    }
    const change::ValueException* exception =
        from->exceptions.empty() ? nullptr : FindException(*from, row, column);
    out.push_back(exception == nullptr ? '\0' : '\2');
    if (exception == nullptr) continue;
    AppendBytes(static_cast<uint32_t>(exception->text.size()), out);
    out.append(exception->text);
  }
}

UpsertRun::Entry& UpsertRun::FindOrAdd(const std::string& key, RowRef ref, bool in_target) {
  constexpr size_t kFirstSlots = 1024;
  if (slots_.empty()) Rehash(kFirstSlots);
  if (entries_.size() * 2 >= slots_.size()) Rehash(slots_.size() * 2);
  const uint64_t hash = XXH3_64bits(key.data(), key.size());
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    if (slots_[at] == 0) {
      slots_[at] = static_cast<uint32_t>(entries_.size() + 1);
      entries_.push_back({.hash = hash,
                          .key_begin = key_bytes_.size(),
                          .key_size = static_cast<uint32_t>(key.size()),
                          .in_target = in_target && !truncated_,
                          .present = false,
                          .key = ref,
                          .image = {}});
      key_bytes_.append(key);
      return entries_.back();
    }
    Entry& entry = entries_[slots_[at] - 1];
    if (entry.hash == hash && entry.key_size == key.size() &&
        std::memcmp(key_bytes_.data() + entry.key_begin, key.data(), key.size()) == 0) {
      return entry;
    }
  }
}

void UpsertRun::Rehash(size_t slots) {
  slots_.assign(slots, 0);
  const size_t mask = slots - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t at = entries_[i].hash & mask;
    while (slots_[at] != 0) at = (at + 1) & mask;
    slots_[at] = static_cast<uint32_t>(i + 1);
  }
}

UpsertRun::Result UpsertRun::Collapse() const {
  CHECK(!inside_update());
  Result result{.truncate = truncated_, .deletions = {}, .rows = {}, .merged = {}};
  for (const Entry& entry : entries_) {
    int64_t copies = entry.present ? 1 : 0;
    if (keyed_) {
      if (entry.in_target) result.deletions.push_back({.key = entry.key, .count = 1});
    } else {
      copies = entry.net;
      if (copies < 0 && entry.in_target) {
        result.deletions.push_back({.key = entry.key, .count = -copies});
      }
    }
    for (; copies > 0; --copies) {
      if (entry.merged >= 0) {
        result.merged.push_back(merged_[static_cast<size_t>(entry.merged)]);
      } else {
        result.rows.push_back(entry.image);
      }
    }
  }
  std::sort(result.rows.begin(), result.rows.end());
  return result;
}

void UpsertRun::Clear() {
  Truncate();
  truncated_ = false;
  num_rows_ = 0;
  batch_of_.clear();
  changes_.clear();
  key_columns_.clear();
}

}  // namespace freshet::sink::duckdb
