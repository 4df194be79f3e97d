#include "postgres/row_patch.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "postgres/row_key.h"

namespace freshet::postgres {
namespace {

using change::TableChanges;
using change::ValueException;

/// Builds one column of the wanted rows, and notes beside it what its array cannot say.
class ColumnPatch {
 public:
  ColumnPatch(const TableChanges& rows, int32_t column, TableChanges& out)
      : source_(*rows.rows->column_data(column)), column_(column), out_(out) {
    for (const ValueException& e : rows.exceptions) {
      if (e.column == column) exceptions_.push_back(&e);
    }
    CHECK(arrow::MakeBuilder(arrow::default_memory_pool(), source_.type, &builder_).ok());
  }

  /// Takes the value as it is. Rows come in ascending order.
  void Take(int64_t row) {
    if (row != run_end_) EndRun();
    if (run_begin_ == run_end_) run_begin_ = row;
    run_end_ = row + 1;
    while (next_ < exceptions_.size() && exceptions_[next_]->row < row) ++next_;
    if (next_ < exceptions_.size() && exceptions_[next_]->row == row) {
      out_.exceptions.push_back(
          {.row = length_, .column = column_, .text = exceptions_[next_]->text});
    }
    ++length_;
  }

  void Put(const KeyValue& value) {
    EndRun();
    if (value.exception) {
      CHECK(builder_->AppendNull().ok());
      out_.exceptions.push_back(
          {.row = length_, .column = column_, .text = std::string(value.bytes)});
    } else {
      AppendKeyValue(value, *builder_);
    }
    ++length_;
  }

  void LeaveOut() {
    EndRun();
    CHECK(builder_->AppendNull().ok());
    unchanged_.push_back(length_++);
  }

  std::shared_ptr<arrow::Array> Finish() {
    EndRun();
    if (!unchanged_.empty()) {
      out_.unchanged.push_back({.column = column_, .rows = std::move(unchanged_)});
    }
    std::shared_ptr<arrow::Array> array;
    CHECK(builder_->Finish(&array).ok());
    return array;
  }

 private:
  void EndRun() {
    if (run_begin_ < run_end_) {
      CHECK(builder_->AppendArraySlice(source_, run_begin_, run_end_ - run_begin_).ok());
    }
    run_begin_ = run_end_ = -1;
  }

  const arrow::ArrayData& source_;
  const int32_t column_;
  TableChanges& out_;
  std::vector<const ValueException*> exceptions_;  ///< of this column
  size_t next_ = 0;                                ///< in exceptions_
  std::unique_ptr<arrow::ArrayBuilder> builder_;
  int64_t length_ = 0;
  int64_t run_begin_ = -1;  ///< rows taken and not yet in the builder
  int64_t run_end_ = -1;
  std::vector<int64_t> unchanged_;
};

bool Wants(const PatchedRow& row, int32_t column) {
  return row.only == nullptr ||
         std::find(row.only->begin(), row.only->end(), column) != row.only->end();
}

/// The value of the `index`th key column in `key`.
KeyValue KeyValueAt(std::string_view key, size_t index) {
  for (; index > 0; --index) TakeKeyValue(key);
  return TakeKeyValue(key);
}

}  // namespace

TableChanges Patch(const TableChanges& rows, const std::vector<PatchedRow>& wanted) {
  CHECK(rows.unchanged.empty());
  TableChanges out;
  out.schema = rows.schema;
  for (const PatchedRow& row : wanted) {
    const auto at = static_cast<size_t>(row.row);
    out.kinds.push_back(rows.kinds[at]);
    out.transactions.push_back(rows.transactions[at]);
    out.ordinals.push_back(rows.ordinals[at]);
  }

  const std::vector<int>& key = rows.schema->key_columns();
  arrow::ArrayVector columns;
  for (int32_t c = 0; c < rows.rows->num_columns(); ++c) {
    const auto in_key = std::find(key.begin(), key.end(), c);
    ColumnPatch column(rows, c, out);
    for (const PatchedRow& row : wanted) {
      if (in_key != key.end() && !row.new_key.empty()) {
        column.Put(KeyValueAt(row.new_key, static_cast<size_t>(in_key - key.begin())));
      } else if (in_key != key.end() || Wants(row, c)) {
        column.Take(row.row);
      } else {
        column.LeaveOut();
      }
    }
    columns.push_back(column.Finish());
  }
  out.rows =
      arrow::RecordBatch::Make(rows.schema->arrow_schema(), std::ssize(wanted), std::move(columns));
  std::sort(out.exceptions.begin(), out.exceptions.end(),
            [](const ValueException& a, const ValueException& b) {
              return std::tie(a.row, a.column) < std::tie(b.row, b.column);
            });
  return out;
}

}  // namespace freshet::postgres
