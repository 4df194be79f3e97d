#include "sink/duckdb/vectors.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/util/decimal.h>
#include <duckdb.h>

#include <cstring>
#include <string_view>

#include "base/check.h"

namespace freshet::sink::duckdb {
namespace {

using change::LogicalKind;
using change::LogicalType;

constexpr uint64_t kSignBit = uint64_t{1} << 63;

/// DuckDB stores a decimal in the narrowest integer that holds its digits.
enum class DecimalWidth : uint8_t { k16, k32, k64, k128 };
DecimalWidth WidthOf(int32_t precision) {
  if (precision <= 4) return DecimalWidth::k16;
  if (precision <= 9) return DecimalWidth::k32;
  return precision <= 18 ? DecimalWidth::k64 : DecimalWidth::k128;
}

/// Calls `body(place, row)` for every selected row.
template <typename Body>
void ForEach(const Selection& selection, Body&& body) {
  if (selection.rows == nullptr) {
    for (int64_t i = 0; i < selection.count; ++i) body(i, selection.first + i);
  } else {
    for (int64_t i = 0; i < selection.count; ++i) body(i, int64_t{selection.rows[i]});
  }
}

/// A vector's validity starts as "all valid"; only nulls are marked.
void MarkNulls(const arrow::Array& values, const Selection& selection, duckdb_vector vector,
               uint64_t at) {
  if (values.null_count() == 0) return;
  duckdb_vector_ensure_validity_writable(vector);
  uint64_t* validity = duckdb_vector_get_validity(vector);
  ForEach(selection, [&](int64_t place, int64_t row) {
    if (values.IsNull(row)) {
      const uint64_t bit = at + static_cast<uint64_t>(place);
      validity[bit / 64] &= ~(uint64_t{1} << (bit % 64));
    }
  });
}

template <typename Value>
Value* DataAt(duckdb_vector vector, uint64_t at) {
  return static_cast<Value*>(duckdb_vector_get_data(vector)) + at;
}

/// Types whose bytes are the same on both sides.
template <typename ArrowArray>
void WriteSame(const arrow::Array& values, const Selection& selection, duckdb_vector vector,
               uint64_t at) {
  using Value = typename ArrowArray::value_type;
  const Value* from = static_cast<const ArrowArray&>(values).raw_values();
  Value* to = DataAt<Value>(vector, at);
  if (selection.rows == nullptr) {
    std::memcpy(to, from + selection.first, sizeof(Value) * static_cast<size_t>(selection.count));
  } else {
    ForEach(selection, [&](int64_t place, int64_t row) { to[place] = from[row]; });
  }
}

void WriteBool(const arrow::Array& values, const Selection& selection, duckdb_vector vector,
               uint64_t at) {
  const auto& from = static_cast<const arrow::BooleanArray&>(values);
  bool* to = DataAt<bool>(vector, at);
  ForEach(selection, [&](int64_t place, int64_t row) { to[place] = from.Value(row); });
}

duckdb_string_t ViewString(std::string_view text) {
  constexpr size_t kInlined = 12;
  duckdb_string_t out{};
  if (text.size() <= kInlined) {
    out.value.inlined.length = static_cast<uint32_t>(text.size());
    std::memcpy(out.value.inlined.inlined, text.data(), text.size());
  } else {
    out.value.pointer.length = static_cast<uint32_t>(text.size());
    std::memcpy(out.value.pointer.prefix, text.data(), sizeof(out.value.pointer.prefix));
    out.value.pointer.ptr = const_cast<char*>(text.data());  // DuckDB only reads
  }
  return out;
}

void WriteText(const arrow::Array& values, const Selection& selection, duckdb_vector vector,
               uint64_t at) {
  const auto& from = static_cast<const arrow::BinaryArray&>(values);  // also of utf8
  auto* to = DataAt<duckdb_string_t>(vector, at);
  ForEach(selection,
          [&](int64_t place, int64_t row) { to[place] = ViewString(from.GetView(row)); });
}

void WriteDecimal(const arrow::Array& values, int32_t precision, const Selection& selection,
                  duckdb_vector vector, uint64_t at) {
  const auto& from = static_cast<const arrow::Decimal128Array&>(values);
  const auto narrow = [&]<typename Integer>(Integer* to) {
    ForEach(selection, [&](int64_t place, int64_t row) {
      int64_t low;  // little-endian: the low half comes first
      std::memcpy(&low, from.GetValue(row), sizeof(low));
      to[place] = static_cast<Integer>(low);
    });
  };
  switch (WidthOf(precision)) {
    case DecimalWidth::k16:
      return narrow(DataAt<int16_t>(vector, at));
    case DecimalWidth::k32:
      return narrow(DataAt<int32_t>(vector, at));
    case DecimalWidth::k64:
      return narrow(DataAt<int64_t>(vector, at));
    case DecimalWidth::k128: {
      auto* to = DataAt<duckdb_hugeint>(vector, at);
      ForEach(selection, [&](int64_t place, int64_t row) {
        std::memcpy(&to[place], from.GetValue(row), sizeof(to[place]));
      });
    }
  }
}

/// DuckDB keeps a UUID as a 128-bit integer with the top bit flipped, so that they sort as text.
void WriteUuid(const arrow::Array& values, const Selection& selection, duckdb_vector vector,
               uint64_t at) {
  const auto& from = static_cast<const arrow::FixedSizeBinaryArray&>(values);
  auto* to = DataAt<duckdb_hugeint>(vector, at);
  ForEach(selection, [&](int64_t place, int64_t row) {
    uint64_t words[2];
    std::memcpy(words, from.GetValue(row), sizeof(words));
    to[place].lower = __builtin_bswap64(words[1]);
    to[place].upper = static_cast<int64_t>(__builtin_bswap64(words[0]) ^ kSignBit);
  });
}

void WriteList(const arrow::Array& values, const LogicalType& type, const Selection& selection,
               duckdb_vector vector, uint64_t at) {
  const auto& from = static_cast<const arrow::ListArray&>(values);
  const LogicalType element = change::ElementType(type);
  uint64_t size = duckdb_list_vector_get_size(vector);
  ForEach(selection, [&](int64_t place, int64_t row) {
    const int64_t count = from.IsNull(row) ? 0 : from.value_length(row);
    auto* entry = DataAt<duckdb_list_entry>(vector, at) + place;
    *entry = {.offset = size, .length = static_cast<uint64_t>(count)};
    if (count == 0) return;
    CHECK(duckdb_list_vector_reserve(vector, size + entry->length) == DuckDBSuccess);
    WriteVector(*from.values(), element, {.first = from.value_offset(row), .count = count},
                duckdb_list_vector_get_child(vector), size);
    size += entry->length;
    CHECK(duckdb_list_vector_set_size(vector, size) == DuckDBSuccess);
  });
}

Status FromArrow(const arrow::Status& status) {
  if (status.ok()) return {};
  return Fail(status.IsOutOfMemory() ? ErrorKind::kNoSpace : ErrorKind::kFatal,
              "build an Arrow array: {}", status.ToString());
}

/// Appends value after value: `append(place)` for those that are there.
template <typename Append>
Status ReadEach(duckdb_vector vector, uint64_t first, uint64_t count, arrow::ArrayBuilder& builder,
                Append&& append) {
  uint64_t* validity = duckdb_vector_get_validity(vector);
  FRESHET_RETURN_IF_ERROR(FromArrow(builder.Reserve(static_cast<int64_t>(count))));
  for (uint64_t i = first; i < first + count; ++i) {
    const bool valid = validity == nullptr || duckdb_validity_row_is_valid(validity, i);
    FRESHET_RETURN_IF_ERROR(FromArrow(valid ? append(i) : builder.AppendNull()));
  }
  return {};
}

template <typename Builder>
Status ReadSame(duckdb_vector vector, uint64_t first, uint64_t count,
                arrow::ArrayBuilder& builder) {
  const auto* data = DataAt<typename Builder::value_type>(vector, 0);
  return ReadEach(vector, first, count, builder,
                  [&](uint64_t i) { return static_cast<Builder&>(builder).Append(data[i]); });
}

std::string_view TextOf(duckdb_string_t& text) {
  return {duckdb_string_t_data(&text), duckdb_string_t_length(text)};
}

Status ReadDecimal(duckdb_vector vector, int32_t precision, uint64_t first, uint64_t count,
                   arrow::ArrayBuilder& to) {
  auto& builder = static_cast<arrow::Decimal128Builder&>(to);
  const auto narrow = [&]<typename Integer>(const Integer* data) {
    return ReadEach(vector, first, count, to, [&](uint64_t i) {
      return builder.Append(arrow::Decimal128(int64_t{data[i]}));
    });
  };
  switch (WidthOf(precision)) {
    case DecimalWidth::k16:
      return narrow(DataAt<int16_t>(vector, 0));
    case DecimalWidth::k32:
      return narrow(DataAt<int32_t>(vector, 0));
    case DecimalWidth::k64:
      return narrow(DataAt<int64_t>(vector, 0));
    case DecimalWidth::k128:
      break;
  }
  const auto* data = DataAt<duckdb_hugeint>(vector, 0);
  return ReadEach(vector, first, count, to, [&](uint64_t i) {
    return builder.Append(arrow::Decimal128(data[i].upper, data[i].lower));
  });
}

Status ReadRange(duckdb_vector vector, const LogicalType& type, uint64_t first, uint64_t count,
                 arrow::ArrayBuilder& builder);

Status ReadList(duckdb_vector vector, const LogicalType& type, uint64_t first, uint64_t count,
                arrow::ArrayBuilder& to) {
  auto& builder = static_cast<arrow::ListBuilder&>(to);
  const auto* entries = DataAt<duckdb_list_entry>(vector, 0);
  duckdb_vector child = duckdb_list_vector_get_child(vector);
  uint64_t* validity = duckdb_vector_get_validity(vector);
  for (uint64_t i = first; i < first + count; ++i) {
    if (validity != nullptr && !duckdb_validity_row_is_valid(validity, i)) {
      FRESHET_RETURN_IF_ERROR(FromArrow(builder.AppendNull()));
      continue;
    }
    FRESHET_RETURN_IF_ERROR(FromArrow(builder.Append()));
    FRESHET_RETURN_IF_ERROR(ReadRange(child, change::ElementType(type), entries[i].offset,
                                      entries[i].length, *builder.value_builder()));
  }
  return {};
}

Status ReadRange(duckdb_vector vector, const LogicalType& type, uint64_t first, uint64_t count,
                 arrow::ArrayBuilder& builder) {
  switch (type.kind) {
    case LogicalKind::kBool:
      return ReadSame<arrow::BooleanBuilder>(vector, first, count, builder);
    case LogicalKind::kInt16:
      return ReadSame<arrow::Int16Builder>(vector, first, count, builder);
    case LogicalKind::kInt32:
      return ReadSame<arrow::Int32Builder>(vector, first, count, builder);
    case LogicalKind::kInt64:
      return ReadSame<arrow::Int64Builder>(vector, first, count, builder);
    case LogicalKind::kUInt32:
      return ReadSame<arrow::UInt32Builder>(vector, first, count, builder);
    case LogicalKind::kFloat32:
      return ReadSame<arrow::FloatBuilder>(vector, first, count, builder);
    case LogicalKind::kFloat64:
      return ReadSame<arrow::DoubleBuilder>(vector, first, count, builder);
    case LogicalKind::kDate:
      return ReadSame<arrow::Date32Builder>(vector, first, count, builder);
    case LogicalKind::kTime:
      return ReadSame<arrow::Time64Builder>(vector, first, count, builder);
    case LogicalKind::kTimestamp:
    case LogicalKind::kTimestampTz:
      return ReadSame<arrow::TimestampBuilder>(vector, first, count, builder);
    case LogicalKind::kDecimal:
      return ReadDecimal(vector, type.precision, first, count, builder);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
    case LogicalKind::kBytes: {
      auto* data = DataAt<duckdb_string_t>(vector, 0);
      return ReadEach(vector, first, count, builder, [&](uint64_t i) {
        return static_cast<arrow::BinaryBuilder&>(builder).Append(TextOf(data[i]));
      });
    }
    case LogicalKind::kUuid: {
      const auto* data = DataAt<duckdb_hugeint>(vector, 0);
      return ReadEach(vector, first, count, builder, [&](uint64_t i) {
        const uint64_t words[2] = {
            __builtin_bswap64(static_cast<uint64_t>(data[i].upper) ^ kSignBit),
            __builtin_bswap64(data[i].lower)};
        return static_cast<arrow::FixedSizeBinaryBuilder&>(builder).Append(
            reinterpret_cast<const uint8_t*>(words));
      });
    }
    case LogicalKind::kList:
      return ReadList(vector, type, first, count, builder);
  }
  CHECK(false);
}

}  // namespace

void WriteVector(const arrow::Array& values, const LogicalType& type, const Selection& selection,
                 duckdb_vector vector, uint64_t at) {
  MarkNulls(values, selection, vector, at);
  switch (type.kind) {
    case LogicalKind::kBool:
      return WriteBool(values, selection, vector, at);
    case LogicalKind::kInt16:
      return WriteSame<arrow::Int16Array>(values, selection, vector, at);
    case LogicalKind::kInt32:
      return WriteSame<arrow::Int32Array>(values, selection, vector, at);
    case LogicalKind::kInt64:
      return WriteSame<arrow::Int64Array>(values, selection, vector, at);
    case LogicalKind::kUInt32:
      return WriteSame<arrow::UInt32Array>(values, selection, vector, at);
    case LogicalKind::kFloat32:
      return WriteSame<arrow::FloatArray>(values, selection, vector, at);
    case LogicalKind::kFloat64:
      return WriteSame<arrow::DoubleArray>(values, selection, vector, at);
    case LogicalKind::kDate:
      return WriteSame<arrow::Date32Array>(values, selection, vector, at);
    case LogicalKind::kTime:
      return WriteSame<arrow::Time64Array>(values, selection, vector, at);
    case LogicalKind::kTimestamp:
    case LogicalKind::kTimestampTz:
      return WriteSame<arrow::TimestampArray>(values, selection, vector, at);
    case LogicalKind::kDecimal:
      return WriteDecimal(values, type.precision, selection, vector, at);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
    case LogicalKind::kBytes:
      return WriteText(values, selection, vector, at);
    case LogicalKind::kUuid:
      return WriteUuid(values, selection, vector, at);
    case LogicalKind::kList:
      return WriteList(values, type, selection, vector, at);
  }
}

void WriteNulls(duckdb_vector vector, uint64_t at, int64_t count) {
  duckdb_vector_ensure_validity_writable(vector);
  uint64_t* validity = duckdb_vector_get_validity(vector);
  for (int64_t i = 0; i < count; ++i) {
    duckdb_validity_set_row_invalid(validity, at + static_cast<uint64_t>(i));
  }
}

void WriteChangelogColumn(const arrow::Array& values, const Selection& selection,
                          duckdb_vector vector, uint64_t at) {
  MarkNulls(values, selection, vector, at);
  switch (values.type_id()) {
    case arrow::Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(values);
      const auto& codes = static_cast<const arrow::Int8Array&>(*coded.indices());
      const auto& names = static_cast<const arrow::StringArray&>(*coded.dictionary());
      auto* to = DataAt<duckdb_string_t>(vector, at);
      ForEach(selection, [&](int64_t place, int64_t row) {
        to[place] = ViewString(names.GetView(codes.Value(row)));
      });
      return;
    }
    case arrow::Type::UINT64:
      return WriteSame<arrow::UInt64Array>(values, selection, vector, at);
    case arrow::Type::INT64:
      return WriteSame<arrow::Int64Array>(values, selection, vector, at);
    case arrow::Type::TIMESTAMP:
      return WriteSame<arrow::TimestampArray>(values, selection, vector, at);
    default:
      return WriteText(values, selection, vector, at);
  }
}

void WriteOneText(std::string_view text, duckdb_vector vector, uint64_t at) {
  *DataAt<duckdb_string_t>(vector, at) = ViewString(text);
}

void WriteOneInt64(int64_t value, duckdb_vector vector, uint64_t at) {
  *DataAt<int64_t>(vector, at) = value;
}

void WriteOneBool(bool value, duckdb_vector vector, uint64_t at) {
  *DataAt<bool>(vector, at) = value;
}

Status ReadVector(duckdb_vector vector, const LogicalType& type, uint64_t count,
                  arrow::ArrayBuilder& builder) {
  return ReadRange(vector, type, 0, count, builder);
}

duckdb_logical_type MakeVectorType(const LogicalType& type) {
  switch (type.kind) {
    case LogicalKind::kBool:
      return duckdb_create_logical_type(DUCKDB_TYPE_BOOLEAN);
    case LogicalKind::kInt16:
      return duckdb_create_logical_type(DUCKDB_TYPE_SMALLINT);
    case LogicalKind::kInt32:
      return duckdb_create_logical_type(DUCKDB_TYPE_INTEGER);
    case LogicalKind::kInt64:
      return duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    case LogicalKind::kUInt32:
      return duckdb_create_logical_type(DUCKDB_TYPE_UINTEGER);
    case LogicalKind::kFloat32:
      return duckdb_create_logical_type(DUCKDB_TYPE_FLOAT);
    case LogicalKind::kFloat64:
      return duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
    case LogicalKind::kDate:
      return duckdb_create_logical_type(DUCKDB_TYPE_DATE);
    case LogicalKind::kTime:
      return duckdb_create_logical_type(DUCKDB_TYPE_TIME);
    case LogicalKind::kTimestamp:
      return duckdb_create_logical_type(DUCKDB_TYPE_TIMESTAMP);
    case LogicalKind::kTimestampTz:
      return duckdb_create_logical_type(DUCKDB_TYPE_TIMESTAMP_TZ);
    case LogicalKind::kDecimal:
      return duckdb_create_decimal_type(static_cast<uint8_t>(type.precision),
                                        static_cast<uint8_t>(type.scale));
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
      return duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    case LogicalKind::kBytes:
      return duckdb_create_logical_type(DUCKDB_TYPE_BLOB);
    case LogicalKind::kUuid:
      return duckdb_create_logical_type(DUCKDB_TYPE_UUID);
    case LogicalKind::kList: {
      duckdb_logical_type element = MakeVectorType(change::ElementType(type));
      duckdb_logical_type list = duckdb_create_list_type(element);
      duckdb_destroy_logical_type(&element);
      return list;
    }
  }
  CHECK(false);
}

}  // namespace freshet::sink::duckdb
