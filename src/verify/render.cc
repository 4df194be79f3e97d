#include "verify/render.h"

#include <arrow/array.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <string_view>

#include "base/check.h"

namespace freshet::verify {
namespace {

using change::LogicalKind;
using change::LogicalType;

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

template <typename ArrayType>
const ArrayType& As(const arrow::Array& array) {
  return static_cast<const ArrayType&>(array);
}

template <typename Float>
void AppendFloat(Float value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
  } else {
    char buffer[64];
    out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
  }
}

/// Digits with the point `scale` places from the right: 5 at scale 2 is 0.05.
void AppendDecimal(const arrow::Decimal128& value, int32_t scale, std::string& out) {
  std::string digits = value.ToIntegerString();
  if (digits.front() == '-') {
    out.push_back('-');
    digits.erase(0, 1);
  }
  const auto places = static_cast<size_t>(scale);
  if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
  out.append(digits, 0, digits.size() - places);
  if (places == 0) return;
  out.push_back('.');
  out.append(digits, digits.size() - places);
}

struct CivilDay {
  int64_t year;
  int month;
  int day;
};

/// The proleptic Gregorian date of a day counted from 1970-01-01. Counts in eras of 400 years that
/// begin on the first of March, so that the leap day ends a year.
CivilDay CivilFromDays(int64_t days) {
  constexpr int64_t kDaysPerEra = 146'097;
  constexpr int64_t kDaysFromMarchZeroTo1970 = 719'468;
  const int64_t shifted = days + kDaysFromMarchZeroTo1970;
  const int64_t era = (shifted >= 0 ? shifted : shifted - kDaysPerEra + 1) / kDaysPerEra;
  const int64_t day_of_era = shifted - era * kDaysPerEra;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t march_month = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * march_month + 2) / 5 + 1;
  const int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return {.year = year, .month = static_cast<int>(month), .day = static_cast<int>(day)};
}

/// Year, month, day; a year before 1 counts backwards and asks for " BC" at the end of the value.
bool AppendCivil(const CivilDay& civil, std::string& out) {
  const bool before_christ = civil.year <= 0;
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}",
                 before_christ ? 1 - civil.year : civil.year, civil.month, civil.day);
  return before_christ;
}

void AppendTimeOfDay(int64_t micros, std::string& out) {
  const int64_t seconds = micros / kMicrosPerSecond;
  fmt::format_to(std::back_inserter(out), "{:02}:{:02}:{:02}", seconds / 3'600, seconds / 60 % 60,
                 seconds % 60);
  const int64_t fraction = micros % kMicrosPerSecond;
  if (fraction == 0) return;
  fmt::format_to(std::back_inserter(out), ".{:06}", fraction);
  out.erase(out.find_last_not_of('0') + 1);
}

void AppendDate(int32_t days, std::string& out) {
  if (AppendCivil(CivilFromDays(days), out)) out += " BC";
}

void AppendTimestamp(int64_t micros, bool with_zone, std::string& out) {
  int64_t days = micros / kMicrosPerDay;
  int64_t of_day = micros % kMicrosPerDay;
  if (of_day < 0) {
    of_day += kMicrosPerDay;
    --days;
  }
  const bool before_christ = AppendCivil(CivilFromDays(days), out);
  out.push_back(' ');
  AppendTimeOfDay(of_day, out);
  if (with_zone) out += "+00";
  if (before_christ) out += " BC";
}

void AppendHex(std::string_view bytes, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
}

void AppendUuid(std::string_view bytes, std::string& out) {
  CHECK(bytes.size() == 16);
  constexpr size_t kGroups[] = {4, 2, 2, 2, 6};
  size_t at = 0;
  for (const size_t size : kGroups) {
    if (at > 0) out.push_back('-');
    AppendHex(bytes.substr(at, size), out);
    at += size;
  }
}

bool NeedsQuotes(std::string_view element, char delimiter) {
  constexpr std::string_view kSpecial = "{}\"\\ \t\n\r\v\f";
  if (element.empty()) return true;
  if (element.find_first_of(kSpecial) != std::string_view::npos) return true;
  if (element.find(delimiter) != std::string_view::npos) return true;
  return element.size() == 4 &&
         std::equal(element.begin(), element.end(), "null",
                    [](char a, char b) { return a == b || (a >= 'A' && a <= 'Z' && a + 32 == b); });
}

void AppendElement(std::string_view element, char delimiter, std::string& out) {
  if (!NeedsQuotes(element, delimiter)) {
    out.append(element);
    return;
  }
  out.push_back('"');
  for (const char c : element) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

void AppendList(const LogicalType& type, const arrow::ListArray& list, int64_t row,
                std::string& out) {
  const LogicalType element_type = change::ElementType(type);
  const arrow::Array& values = *list.values();
  std::string element;
  out.push_back('{');
  for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
    if (i > list.value_offset(row)) out.push_back(type.element_delimiter);
    if (values.IsNull(i)) {
      out += "NULL";
      continue;
    }
    element.clear();
    AppendRendered(element_type, values, i, element);
    AppendElement(element, type.element_delimiter, out);
  }
  out.push_back('}');
}

}  // namespace

void AppendRendered(const LogicalType& type, const arrow::Array& array, int64_t row,
                    std::string& out) {
  const auto integer = [&](auto value) { fmt::format_to(std::back_inserter(out), "{}", value); };
  switch (type.kind) {
    case LogicalKind::kBool:
      out.push_back(As<arrow::BooleanArray>(array).Value(row) ? 't' : 'f');
      return;
    case LogicalKind::kInt16:
      return integer(As<arrow::Int16Array>(array).Value(row));
    case LogicalKind::kInt32:
      return integer(As<arrow::Int32Array>(array).Value(row));
    case LogicalKind::kInt64:
      return integer(As<arrow::Int64Array>(array).Value(row));
    case LogicalKind::kUInt32:
      return integer(As<arrow::UInt32Array>(array).Value(row));
    case LogicalKind::kFloat32:
      return AppendFloat(As<arrow::FloatArray>(array).Value(row), out);
    case LogicalKind::kFloat64:
      return AppendFloat(As<arrow::DoubleArray>(array).Value(row), out);
    case LogicalKind::kDecimal:
      return AppendDecimal(arrow::Decimal128(As<arrow::Decimal128Array>(array).GetValue(row)),
                           type.scale, out);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
      out.append(As<arrow::StringArray>(array).GetView(row));
      return;
    case LogicalKind::kBytes:
      out += "\\x";
      return AppendHex(As<arrow::BinaryArray>(array).GetView(row), out);
    case LogicalKind::kDate:
      return AppendDate(As<arrow::Date32Array>(array).Value(row), out);
    case LogicalKind::kTime:
      return AppendTimeOfDay(As<arrow::Time64Array>(array).Value(row), out);
    case LogicalKind::kTimestamp:
      return AppendTimestamp(As<arrow::TimestampArray>(array).Value(row), false, out);
    case LogicalKind::kTimestampTz:
      return AppendTimestamp(As<arrow::TimestampArray>(array).Value(row), true, out);
    case LogicalKind::kUuid:
      return AppendUuid(As<arrow::FixedSizeBinaryArray>(array).GetView(row), out);
    case LogicalKind::kList:
      return AppendList(type, As<arrow::ListArray>(array), row, out);
  }
}

}  // namespace freshet::verify
