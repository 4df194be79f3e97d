#include "sink/duckdb/column_type.h"

#include <fmt/format.h>

#include <cstdio>
#include <optional>

namespace freshet::sink::duckdb {
namespace {

using change::LogicalKind;

/// An integer type, and the decimal digits that every value of it fits in.
struct IntegerDigits {
  const char* name;
  int needs;
};
constexpr IntegerDigits kIntegers[] = {
    {"SMALLINT", 5}, {"INTEGER", 10}, {"UINTEGER", 10}, {"BIGINT", 19}};

const IntegerDigits* FindInteger(const std::string& type) {
  for (const IntegerDigits& integer : kIntegers) {
    if (type == integer.name) return &integer;
  }
  return nullptr;
}

struct Decimal {
  int precision = 0;
  int scale = 0;
};

std::optional<Decimal> ParseDecimal(const std::string& type) {
  Decimal decimal;
  if (std::sscanf(type.c_str(), "DECIMAL(%d,%d)", &decimal.precision, &decimal.scale) != 2) {
    return std::nullopt;
  }
  return decimal;
}

/// Whether every value of type `from` is one of type `to`.
bool Contains(const std::string& to, const std::string& from) {
  if (to == from) return true;
  if (to == "DOUBLE" && from == "FLOAT") return true;
  if (to == "VARCHAR" && from == "JSON") return true;
  const IntegerDigits* from_integer = FindInteger(from);
  const std::optional<Decimal> from_decimal = ParseDecimal(from);
  if (const std::optional<Decimal> decimal = ParseDecimal(to)) {
    const int whole = decimal->precision - decimal->scale;
    if (from_integer != nullptr) return whole >= from_integer->needs;
    return from_decimal.has_value() && decimal->scale >= from_decimal->scale &&
           whole >= from_decimal->precision - from_decimal->scale;
  }
  const IntegerDigits* to_integer = FindInteger(to);
  if (to_integer == nullptr || from_integer == nullptr) return false;
  if (from == "UINTEGER") return to == "BIGINT";
  return to != "UINTEGER" && to_integer->needs >= from_integer->needs;
}

}  // namespace

std::string DuckDbType(const change::LogicalType& type) {
  switch (type.kind) {
    case LogicalKind::kBool:
      return "BOOLEAN";
    case LogicalKind::kInt16:
      return "SMALLINT";
    case LogicalKind::kInt32:
      return "INTEGER";
    case LogicalKind::kInt64:
      return "BIGINT";
    case LogicalKind::kUInt32:
      return "UINTEGER";
    case LogicalKind::kFloat32:
      return "FLOAT";
    case LogicalKind::kFloat64:
      return "DOUBLE";
    case LogicalKind::kDecimal:
      return fmt::format("DECIMAL({},{})", type.precision, type.scale);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kExactText:
      return "VARCHAR";
    case LogicalKind::kJson:
      return "JSON";
    case LogicalKind::kBytes:
      return "BLOB";
    case LogicalKind::kDate:
      return "DATE";
    case LogicalKind::kTime:
      return "TIME";
    case LogicalKind::kTimestamp:
      return "TIMESTAMP";
    case LogicalKind::kTimestampTz:
      return "TIMESTAMP WITH TIME ZONE";
    case LogicalKind::kUuid:
      return "UUID";
    case LogicalKind::kList:
      return DuckDbType(change::ElementType(type)) + "[]";
  }
  return "VARCHAR";
}

TypeFit FitType(const std::string& existing, const change::LogicalType& wanted) {
  const std::string type = DuckDbType(wanted);
  if (Contains(existing, type)) return TypeFit::kFits;
  if (Contains(type, existing)) return TypeFit::kWiden;
  return TypeFit::kNeither;
}

}  // namespace freshet::sink::duckdb
