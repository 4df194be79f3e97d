#include "postgres/table_builder.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace freshet::postgres {
namespace {

using change::TableChanges;
using change::ValueException;

/// Cells kept allocated between batches: enough for a busy table, little for ten thousand idle
/// ones.
constexpr size_t kKeptCells = 1024;

/// Memory of one value's fixed part, in bytes: the value, or its offset.
int64_t FixedBytes(const change::LogicalType& type) {
  const int bits = change::ArrowType(type)->bit_width();
  return bits > 0 ? (bits + 7) / 8 : static_cast<int64_t>(sizeof(int32_t));
}

/// Moves the first `count` items out of `all`.
template <typename T>
std::vector<T> TakeFirst(std::vector<T>& all, int64_t count) {
  std::vector<T> rest(all.begin() + count, all.end());
  all.resize(static_cast<size_t>(count));
  return std::exchange(all, std::move(rest));
}

}  // namespace

TableBuilder::TableBuilder(std::shared_ptr<const change::TableSchema> schema, const TextRules& text)
    : schema_(std::move(schema)) {
  empty_row_bytes_ = sizeof(change::ChangeKind) + sizeof(int32_t) + sizeof(int64_t);
  columns_.reserve(schema_->columns().size());
  const std::vector<int>& key = schema_->key_columns();
  for (size_t i = 0; i < schema_->columns().size(); ++i) {
    const change::LogicalType& type = schema_->columns()[i].type;
    const bool in_key = std::find(key.begin(), key.end(), static_cast<int>(i)) != key.end();
    columns_.push_back(ColumnBuilder::Create(type, text, in_key));
    empty_row_bytes_ += FixedBytes(type);
  }
}

Status TableBuilder::DecodeUpTo(int64_t rows, const char* base) {
  CHECK(rows >= decoded_);
  const int64_t count = rows - decoded_;
  if (count == 0) return {};
  const auto first_exception = static_cast<int64_t>(exceptions_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    const size_t known = exceptions_.size();
    const Status appended = columns_[i]->Append(
        {.base = base, .first = cells_.data() + i, .stride = columns_.size(), .count = count},
        exceptions_);
    if (!appended.has_value()) {
      return FailWhile(fmt::format("table {}, column {}", change::ToString(schema_->name()),
                                   schema_->columns()[i].name),
                       appended.error());
    }
    for (size_t e = known; e < exceptions_.size(); ++e) {
      exceptions_[e].column = static_cast<int32_t>(i);
    }
  }
  std::sort(exceptions_.begin() + first_exception, exceptions_.end(),
            [](const ValueException& a, const ValueException& b) {
              return std::tie(a.row, a.column) < std::tie(b.row, b.column);
            });
  cells_.erase(cells_.begin(), cells_.begin() + count * static_cast<int64_t>(columns_.size()));
  decoded_ = rows;
  return {};
}

Result<TableChanges> TableBuilder::TakeBefore(int32_t transaction, const char* base) {
  const auto end = std::lower_bound(transactions_.begin(), transactions_.end(), transaction);
  FRESHET_TRY(TableChanges out, Take(end - transactions_.begin(), base));
  std::fill(transactions_.begin(), transactions_.end(), 0);
  return out;
}

Result<TableChanges> TableBuilder::Take(int64_t rows, const char* base) {
  FRESHET_RETURN_IF_ERROR(DecodeUpTo(rows, base));
  TableChanges out;
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  columns.reserve(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    FRESHET_TRY(BuiltColumn column, columns_[i]->Finish());
    columns.push_back(std::move(column.values));
    if (!column.unchanged.empty()) {
      out.unchanged.push_back(
          {.column = static_cast<int32_t>(i), .rows = std::move(column.unchanged)});
    }
  }
  out.schema = schema_;
  out.rows = arrow::RecordBatch::Make(schema_->arrow_schema(), rows, std::move(columns));
  out.kinds = TakeFirst(kinds_, rows);
  out.transactions = TakeFirst(transactions_, rows);
  out.ordinals = TakeFirst(ordinals_, rows);
  out.exceptions = std::exchange(exceptions_, {});
  decoded_ = 0;
  if (cells_.empty() && cells_.capacity() > kKeptCells) cells_.shrink_to_fit();
  return out;
}

}  // namespace freshet::postgres
