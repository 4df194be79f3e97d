#include "change/logical_type.h"

#include <arrow/type.h>
#include <fmt/format.h>

#include "base/check.h"

namespace freshet::change {
namespace {

/// numeric's typmod: ((precision << 16) | (scale & 0x7ff)) + 4; scale is an 11-bit signed number
/// since 15. Source: numeric.c, make_numeric_typmod().
LogicalType NumericType(int32_t typmod) {
  constexpr int32_t kMaxDecimal128Digits = 38;
  if (typmod < 4) return {.kind = LogicalKind::kNumericText};
  const int32_t bits = typmod - 4;
  const int32_t precision = (bits >> 16) & 0xFFFF;
  const int32_t scale = ((bits & 0x7FF) ^ 1024) - 1024;
  // Arrow has negative scales, most targets do not: those columns travel as exact text. A scale
  // above the precision (0.00123 in numeric(3,5)) needs as many digits as the scale says.
  if (scale < 0 || precision > kMaxDecimal128Digits || scale > precision) {
    return {.kind = LogicalKind::kNumericText};
  }
  return {.kind = LogicalKind::kDecimal, .precision = precision, .scale = scale};
}

LogicalType ScalarType(uint32_t oid, int32_t typmod) {
  switch (oid) {
    case 16:
      return {.kind = LogicalKind::kBool};
    case 17:
      return {.kind = LogicalKind::kBytes};
    case 20:
      return {.kind = LogicalKind::kInt64};
    case 21:
      return {.kind = LogicalKind::kInt16};
    case 23:
      return {.kind = LogicalKind::kInt32};
    case 26:  // oid
    case 28:  // xid
    case 29:  // cid
      return {.kind = LogicalKind::kUInt32};
    case 18:  // "char"
    case 19:  // name
    case 25:  // text
    case 1042:
    case 1043:
      return {.kind = LogicalKind::kText};
    case 114:
    case 3802:
      return {.kind = LogicalKind::kJson};
    case 700:
      return {.kind = LogicalKind::kFloat32};
    case 701:
      return {.kind = LogicalKind::kFloat64};
    case 1082:
      return {.kind = LogicalKind::kDate};
    case 1083:
      return {.kind = LogicalKind::kTime};
    case 1114:
      return {.kind = LogicalKind::kTimestamp};
    case 1184:
      return {.kind = LogicalKind::kTimestampTz};
    case 1700:
      return NumericType(typmod);
    case 2950:
      return {.kind = LogicalKind::kUuid};
    default:
      return {.kind = LogicalKind::kExactText};
  }
}

/// The element type of a built-in array type; 0 when `oid` is none.
uint32_t ElementOid(uint32_t oid) {
  struct Pair {
    uint32_t array;
    uint32_t element;
  };
  static constexpr Pair kPairs[] = {
      {1000, 16},   {1001, 17},   {1002, 18},   {1003, 19},   {1005, 21},   {1007, 23},
      {1009, 25},   {1011, 28},   {1012, 29},   {1014, 1042}, {1015, 1043}, {1016, 20},
      {1021, 700},  {1022, 701},  {1028, 26},   {1115, 1114}, {1182, 1082}, {1183, 1083},
      {1185, 1184}, {1231, 1700}, {2951, 2950}, {199, 114},   {3807, 3802},
  };
  for (const Pair& pair : kPairs) {
    if (pair.array == oid) return pair.element;
  }
  return 0;
}

std::string_view Name(LogicalKind kind) {
  switch (kind) {
    case LogicalKind::kBool:
      return "bool";
    case LogicalKind::kInt16:
      return "int16";
    case LogicalKind::kInt32:
      return "int32";
    case LogicalKind::kInt64:
      return "int64";
    case LogicalKind::kUInt32:
      return "uint32";
    case LogicalKind::kFloat32:
      return "float32";
    case LogicalKind::kFloat64:
      return "float64";
    case LogicalKind::kDecimal:
      return "decimal";
    case LogicalKind::kNumericText:
      return "numeric_text";
    case LogicalKind::kText:
      return "text";
    case LogicalKind::kJson:
      return "json";
    case LogicalKind::kBytes:
      return "bytes";
    case LogicalKind::kDate:
      return "date";
    case LogicalKind::kTime:
      return "time";
    case LogicalKind::kTimestamp:
      return "timestamp";
    case LogicalKind::kTimestampTz:
      return "timestamptz";
    case LogicalKind::kUuid:
      return "uuid";
    case LogicalKind::kList:
      return "list";
    case LogicalKind::kExactText:
      return "exact_text";
  }
  return "exact_text";
}

}  // namespace

std::string ToString(const LogicalType& type) {
  if (type.kind == LogicalKind::kDecimal) {
    return fmt::format("decimal({},{})", type.precision, type.scale);
  }
  if (type.kind == LogicalKind::kList) return fmt::format("list<{}>", ToString(ElementType(type)));
  return std::string(Name(type.kind));
}

LogicalType ElementType(const LogicalType& list) {
  CHECK(list.kind == LogicalKind::kList);
  return {.kind = list.element, .precision = list.precision, .scale = list.scale};
}

std::shared_ptr<arrow::DataType> ArrowType(const LogicalType& type) {
  switch (type.kind) {
    case LogicalKind::kBool:
      return arrow::boolean();
    case LogicalKind::kInt16:
      return arrow::int16();
    case LogicalKind::kInt32:
      return arrow::int32();
    case LogicalKind::kInt64:
      return arrow::int64();
    case LogicalKind::kUInt32:
      return arrow::uint32();
    case LogicalKind::kFloat32:
      return arrow::float32();
    case LogicalKind::kFloat64:
      return arrow::float64();
    case LogicalKind::kDecimal:
      return arrow::decimal128(type.precision, type.scale);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
      return arrow::utf8();
    case LogicalKind::kBytes:
      return arrow::binary();
    case LogicalKind::kDate:
      return arrow::date32();
    case LogicalKind::kTime:
      return arrow::time64(arrow::TimeUnit::MICRO);
    case LogicalKind::kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case LogicalKind::kTimestampTz:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case LogicalKind::kUuid:
      return arrow::fixed_size_binary(16);
    case LogicalKind::kList:
      return arrow::list(ArrowType(ElementType(type)));
  }
  return arrow::utf8();
}

LogicalType LogicalTypeOfBuiltin(uint32_t type_oid, int32_t typmod) {
  const uint32_t element = ElementOid(type_oid);
  if (element == 0) return ScalarType(type_oid, typmod);
  const LogicalType of = ScalarType(element, typmod);
  return {
      .kind = LogicalKind::kList, .precision = of.precision, .scale = of.scale, .element = of.kind};
}

}  // namespace freshet::change
