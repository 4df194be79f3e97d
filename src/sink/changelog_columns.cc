#include "sink/changelog_columns.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>

#include "base/check.h"

namespace freshet::sink {
namespace {

using change::ChangeKind;
using change::TableChanges;
using change::Transaction;

constexpr int kKinds = 6;

/// The operations' names at the place of their kind less one, made once.
std::shared_ptr<arrow::Array> OperationNames() {
  static const std::shared_ptr<arrow::Array> names = [] {
    arrow::StringBuilder builder;
    for (int kind = 1; kind <= kKinds; ++kind) {
      CHECK(builder.Append(change::ChangeKindName(static_cast<ChangeKind>(kind))).ok());
    }
    return builder.Finish().ValueOrDie();
  }();
  return names;
}

/// An array of fixed-width values without nulls, filled by `value(row)`.
template <typename CType, typename Value>
std::shared_ptr<arrow::ArrayData> Fill(const std::shared_ptr<arrow::DataType>& type, int64_t rows,
                                       const Value& value) {
  auto buffer = arrow::AllocateBuffer(rows * static_cast<int64_t>(sizeof(CType))).ValueOrDie();
  auto* const out = buffer->template mutable_data_as<CType>();
  for (int64_t row = 0; row < rows; ++row) out[row] = value(static_cast<size_t>(row));
  return arrow::ArrayData::Make(type, rows, {nullptr, std::move(buffer)}, 0);
}

std::shared_ptr<arrow::Array> Operations(const TableChanges& table) {
  const auto& type = ChangelogFields().front()->type();
  auto data = Fill<int8_t>(type, table.num_rows(), [&](size_t row) {
    return static_cast<int8_t>(static_cast<int>(table.kinds[row]) - 1);
  });
  data->dictionary = OperationNames()->data();
  return arrow::MakeArray(data);
}

std::shared_ptr<arrow::Array> UnchangedColumn(const TableChanges& table) {
  if (table.unchanged.empty()) {
    return arrow::MakeArrayOfNull(arrow::utf8(), table.num_rows()).ValueOrDie();
  }
  std::vector<std::string> lists(static_cast<size_t>(table.num_rows()));
  for (const change::UnchangedRows& column : table.unchanged) {
    const std::string& name = table.schema->columns()[static_cast<size_t>(column.column)].name;
    for (const int64_t row : column.rows) {
      std::string& list = lists[static_cast<size_t>(row)];
      list += list.empty() ? '[' : ',';
      AppendJsonString(name, list);
    }
  }
  arrow::StringBuilder builder;
  for (const std::string& list : lists) {
    CHECK((list.empty() ? builder.AppendNull() : builder.Append(list + "]")).ok());
  }
  return builder.Finish().ValueOrDie();
}

}  // namespace

const std::vector<std::shared_ptr<arrow::Field>>& ChangelogFields() {
  static const std::vector<std::shared_ptr<arrow::Field>> fields = [] {
    const auto field = [](std::string_view name, std::shared_ptr<arrow::DataType> type) {
      return arrow::field(std::string(name), std::move(type));
    };
    const auto micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    return std::vector<std::shared_ptr<arrow::Field>>{
        field(kOperationColumn, arrow::dictionary(arrow::int8(), arrow::utf8())),
        field(kTimestampColumn, micros),
        field(kIngestionColumn, micros),
        field(kLsnColumn, arrow::uint64()),
        field(kSeqColumn, arrow::int64()),
        field(kXidColumn, arrow::int64()),
        field(kExceptionsColumn, arrow::utf8()),
        field(kUnchangedColumn, arrow::utf8())};
  }();
  return fields;
}

int64_t SequenceOf(const Transaction& transaction, int64_t ordinal) {
  if (transaction.ordinal == 0) return ordinal;
  return transaction.ordinal * kSeqsPerSnapshotPiece + ordinal + 1;
}

std::vector<std::shared_ptr<arrow::Array>> ChangelogColumns(const change::ChangeBatch& batch,
                                                            const TableChanges& table,
                                                            UnixMicros ingested_at,
                                                            bool keep_exceptions) {
  const auto& fields = ChangelogFields();
  const int64_t rows = table.num_rows();
  const auto transaction = [&](size_t row) -> const Transaction& {
    return batch.transactions[static_cast<size_t>(table.transactions[row])];
  };
  const auto& micros = fields[1]->type();
  return {
      Operations(table),
      arrow::MakeArray(
          Fill<int64_t>(micros, rows, [&](size_t row) { return transaction(row).commit_time; })),
      arrow::MakeArray(Fill<int64_t>(micros, rows, [&](size_t) { return ingested_at; })),
      arrow::MakeArray(Fill<uint64_t>(
          arrow::uint64(), rows, [&](size_t row) { return transaction(row).commit_lsn.value; })),
      arrow::MakeArray(Fill<int64_t>(
          arrow::int64(), rows,
          [&](size_t row) { return SequenceOf(transaction(row), table.ordinals[row]); })),
      arrow::MakeArray(Fill<int64_t>(
          arrow::int64(), rows,
          [&](size_t row) { return static_cast<int64_t>(transaction(row).xid.value); })),
      keep_exceptions ? ExceptionsColumn(table)
                      : arrow::MakeArrayOfNull(arrow::utf8(), rows).ValueOrDie(),
      UnchangedColumn(table),
  };
}

std::shared_ptr<arrow::Array> ExceptionsColumn(const TableChanges& table) {
  if (table.exceptions.empty()) {
    return arrow::MakeArrayOfNull(arrow::utf8(), table.num_rows()).ValueOrDie();
  }
  arrow::StringBuilder builder;
  auto next = table.exceptions.begin();
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    std::string object;
    for (; next != table.exceptions.end() && next->row == row; ++next) {
      object += object.empty() ? '{' : ',';
      AppendJsonString(table.schema->columns()[static_cast<size_t>(next->column)].name, object);
      object += ':';
      AppendJsonString(next->text, object);
    }
    CHECK((object.empty() ? builder.AppendNull() : builder.Append(object + "}")).ok());
  }
  return builder.Finish().ValueOrDie();
}

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') [[likely]] {
      continue;
    }
    out.append(text, copied, i - copied);
    copied = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    }
  }
  out.append(text, copied, text.size() - copied);
  out += '"';
}

}  // namespace freshet::sink
