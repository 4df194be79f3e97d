#include "postgres/row_key.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <tuple>

#include "base/check.h"

namespace freshet::postgres {
namespace {

// A value: its tag, its size in 4 bytes where it has one, its bytes. A list's bytes are its items.
constexpr char kNull = 0;
constexpr char kValue = 1;
constexpr char kException = 2;
constexpr size_t kSizeBytes = sizeof(uint32_t);

/// Of the widest value of fixed size: decimal128 and uuid.
constexpr size_t kMaxFixedBytes = 16;

void AppendSize(size_t size, std::string& out) {
  const auto short_size = static_cast<uint32_t>(size);
  out.append(reinterpret_cast<const char*>(&short_size), kSizeBytes);
}

void AppendTagged(char tag, std::string_view bytes, std::string& out) {
  out.push_back(tag);
  AppendSize(bytes.size(), out);
  out.append(bytes);
}

void AppendValue(const arrow::Array& values, int64_t row, std::string& out) {
  if (values.IsNull(row)) {
    out.push_back(kNull);
    AppendSize(0, out);
    return;
  }
  switch (values.type_id()) {
    case arrow::Type::BOOL: {
      const char byte = static_cast<const arrow::BooleanArray&>(values).Value(row) ? 1 : 0;
      return AppendTagged(kValue, {&byte, 1}, out);
    }
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return AppendTagged(kValue, static_cast<const arrow::BinaryArray&>(values).GetView(row), out);
    case arrow::Type::LIST: {
      const auto& lists = static_cast<const arrow::ListArray&>(values);
      std::string items;
      for (int64_t i = lists.value_offset(row); i < lists.value_offset(row + 1); ++i) {
        AppendValue(*lists.values(), i, items);
      }
      return AppendTagged(kValue, items, out);
    }
    default: {
      const auto width = static_cast<size_t>(values.type()->byte_width());
      const uint8_t* first = values.data()->buffers[1]->data();
      const auto at = static_cast<size_t>(values.offset() + row) * width;
      return AppendTagged(kValue, {reinterpret_cast<const char*>(first) + at, width}, out);
    }
  }
}

struct TaggedBytes {
  char tag;
  std::string_view bytes;
};

TaggedBytes Take(std::string_view& key) {
  CHECK(key.size() > kSizeBytes);
  uint32_t size = 0;
  std::memcpy(&size, key.data() + 1, kSizeBytes);
  const TaggedBytes out{.tag = key[0], .bytes = key.substr(1 + kSizeBytes, size)};
  key.remove_prefix(1 + kSizeBytes + size);
  return out;
}

void AppendTo(const TaggedBytes& value, arrow::ArrayBuilder& builder) {
  if (value.tag == kNull) {
    CHECK(builder.AppendNull().ok());
    return;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(value.bytes.data());
  switch (builder.type()->id()) {
    case arrow::Type::BOOL:
      CHECK(static_cast<arrow::BooleanBuilder&>(builder).Append(bytes[0] != 0).ok());
      return;
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      CHECK(static_cast<arrow::BinaryBuilder&>(builder).Append(value.bytes).ok());
      return;
    case arrow::Type::LIST: {
      auto& lists = static_cast<arrow::ListBuilder&>(builder);
      CHECK(lists.Append().ok());
      for (std::string_view items = value.bytes; !items.empty();) {
        AppendTo(Take(items), *lists.value_builder());
      }
      return;
    }
    default: {
      alignas(kMaxFixedBytes) uint8_t aligned[kMaxFixedBytes];
      CHECK(value.bytes.size() <= kMaxFixedBytes);
      std::memcpy(aligned, bytes, value.bytes.size());
      auto buffer = std::make_shared<arrow::Buffer>(aligned, std::ssize(value.bytes));
      const auto one = arrow::ArrayData::Make(builder.type(), 1, {nullptr, std::move(buffer)}, 0);
      CHECK(builder.AppendArraySlice(*one, 0, 1).ok());
      return;
    }
  }
}

}  // namespace

struct RowKeyReader::KeyColumn {
  int index;
  const arrow::Array* values;
  const std::vector<int64_t>* unchanged;  ///< null: none

  bool IsUnchanged(int64_t row) const {
    return unchanged != nullptr && std::binary_search(unchanged->begin(), unchanged->end(), row);
  }
};

RowKeyReader::RowKeyReader(const change::TableChanges& changes) : changes_(changes) {
  for (const int index : changes.schema->key_columns()) {
    const auto marks = std::find_if(changes.unchanged.begin(), changes.unchanged.end(),
                                    [&](const auto& u) { return u.column == index; });
    columns_.push_back({.index = index,
                        .values = changes.rows->column(index).get(),
                        .unchanged = marks == changes.unchanged.end() ? nullptr : &marks->rows});
  }
}

RowKeyReader::~RowKeyReader() = default;

bool RowKeyReader::Append(int64_t row, std::optional<int64_t> old_row, std::string& out) const {
  const size_t begin = out.size();
  for (const KeyColumn& column : columns_) {
    int64_t from = row;
    if (column.IsUnchanged(row)) {
      if (!old_row || column.IsUnchanged(*old_row)) {
        out.resize(begin);
        return false;
      }
      from = *old_row;
    }
    const auto& all = changes_.exceptions;
    const auto exception = std::lower_bound(
        all.begin(), all.end(), std::tie(from, column.index),
        [](const auto& e, const auto& wanted) { return std::tie(e.row, e.column) < wanted; });
    if (exception != all.end() && exception->row == from && exception->column == column.index) {
      AppendTagged(kException, exception->text, out);
    } else {
      AppendValue(*column.values, from, out);
    }
  }
  return true;
}

KeyValue TakeKeyValue(std::string_view& key) {
  const char* begin = key.data();
  const TaggedBytes value = Take(key);
  if (value.tag == kException) return {.exception = true, .bytes = value.bytes};
  return {.exception = false, .bytes = {begin, static_cast<size_t>(key.data() - begin)}};
}

void AppendKeyValue(const KeyValue& value, arrow::ArrayBuilder& builder) {
  CHECK(!value.exception);
  std::string_view bytes = value.bytes;
  AppendTo(Take(bytes), builder);
}

}  // namespace freshet::postgres
