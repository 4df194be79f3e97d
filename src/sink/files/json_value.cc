#include "sink/files/json_value.h"

#include <arrow/array.h>
#include <arrow/util/base64.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iterator>

#include "sink/changelog_columns.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using change::LogicalType;

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

template <typename T>
void AppendNumber(T value, std::string& out) {
  char buffer[40];
  const auto [end, code] = std::to_chars(std::begin(buffer), std::end(buffer), value);
  out.append(buffer, end);
}

template <typename T>
void AppendFloat(T value, std::string& out) {
  if (value == 0 && std::signbit(value)) {
    out += "-0.0";  // "-0" is an integer to many parsers, and integers have no negative zero
  } else if (std::isfinite(value)) {
    AppendNumber(value, out);
  } else {
    out += std::isnan(value) ? R"("NaN")" : value > 0 ? R"("Infinity")" : R"("-Infinity")";
  }
}

template <typename ArrayType>
auto ValueOf(const arrow::Array& array, int64_t row) {
  return static_cast<const ArrayType&>(array).Value(row);
}

std::string_view ViewOf(const arrow::Array& array, int64_t row) {
  return static_cast<const arrow::BinaryArray&>(array).GetView(row);
}

void AppendList(const LogicalType& type, const arrow::Array& array, int64_t row, std::string& out) {
  const auto& list = static_cast<const arrow::ListArray&>(array);
  const LogicalType element = ElementType(type);
  out += '[';
  for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
    if (i > list.value_offset(row)) out += ',';
    AppendJsonValue(element, *list.values(), i, out);
  }
  out += ']';
}

void AppendTwoDigits(int64_t value, std::string& out) {
  out += static_cast<char>('0' + value / 10);
  out += static_cast<char>('0' + value % 10);
}

/// Days since 1970 of a date in the proleptic Gregorian calendar, for any 64-bit-safe year.
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
int64_t DaysFromCivil(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

struct CivilDate {
  int64_t year;
  int64_t month;
  int64_t day;
};

/// The inverse. std::chrono::year reaches 32767 only, PostgreSQL's dates 5874897. Same source.
CivilDate CivilFromDays(int64_t days) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted_month = (5 * day_of_year + 2) / 153;
  const int64_t month = shifted_month + (shifted_month < 10 ? 3 : -9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * shifted_month + 2) / 5 + 1};
}

/// Takes digits off the front of `text`: exactly `count`, or as many as there are when it is 0.
bool TakeDigits(std::string_view& text, size_t count, int64_t& value) {
  size_t n = 0;
  value = 0;
  while (n < text.size() && (count == 0 || n < count) && text[n] >= '0' && text[n] <= '9') {
    value = value * 10 + (text[n++] - '0');
    if (n > 9) return false;
  }
  text.remove_prefix(n);
  return n > 0 && (count == 0 || n == count);
}

bool TakeChar(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

bool TakeDate(std::string_view& text, int64_t& days) {
  int64_t year = 0;
  int64_t month = 0;
  int64_t day = 0;
  const bool negative = text.starts_with('-');
  const bool expanded = negative || text.starts_with('+');
  if (expanded) text.remove_prefix(1);
  if (!TakeDigits(text, expanded ? 0 : 4, year) || !TakeChar(text, '-') ||
      !TakeDigits(text, 2, month) || !TakeChar(text, '-') || !TakeDigits(text, 2, day)) {
    return false;
  }
  days = DaysFromCivil(negative ? -year : year, month, day);
  return true;
}

bool TakeTime(std::string_view& text, int64_t& micros) {
  int64_t hour = 0;
  int64_t minute = 0;
  int64_t second = 0;
  int64_t fraction = 0;
  if (!TakeDigits(text, 2, hour) || !TakeChar(text, ':') || !TakeDigits(text, 2, minute) ||
      !TakeChar(text, ':') || !TakeDigits(text, 2, second)) {
    return false;
  }
  if (TakeChar(text, '.') && !TakeDigits(text, 6, fraction)) return false;
  micros = ((hour * 60 + minute) * 60 + second) * kMicrosPerSecond + fraction;
  return true;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void AppendJsonValue(const LogicalType& type, const arrow::Array& array, int64_t row,
                     std::string& out) {
  if (array.IsNull(row)) {
    out += "null";
    return;
  }
  switch (type.kind) {
    case LogicalKind::kBool:
      out += ValueOf<arrow::BooleanArray>(array, row) ? "true" : "false";
      return;
    case LogicalKind::kInt16:
      return AppendNumber(ValueOf<arrow::Int16Array>(array, row), out);
    case LogicalKind::kInt32:
      return AppendNumber(ValueOf<arrow::Int32Array>(array, row), out);
    case LogicalKind::kInt64:
      return AppendNumber(ValueOf<arrow::Int64Array>(array, row), out);
    case LogicalKind::kUInt32:
      return AppendNumber(ValueOf<arrow::UInt32Array>(array, row), out);
    case LogicalKind::kFloat32:
      return AppendFloat(ValueOf<arrow::FloatArray>(array, row), out);
    case LogicalKind::kFloat64:
      return AppendFloat(ValueOf<arrow::DoubleArray>(array, row), out);
    case LogicalKind::kDecimal:
      out += '"';
      out += static_cast<const arrow::Decimal128Array&>(array).FormatValue(row);
      out += '"';
      return;
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
      return AppendJsonString(ViewOf(array, row), out);
    case LogicalKind::kBytes:
      out += '"';
      AppendBase64(ViewOf(array, row), out);
      out += '"';
      return;
    case LogicalKind::kDate:
      out += '"';
      AppendDate(ValueOf<arrow::Date32Array>(array, row), out);
      out += '"';
      return;
    case LogicalKind::kTime:
      out += '"';
      AppendTime(ValueOf<arrow::Time64Array>(array, row), out);
      out += '"';
      return;
    case LogicalKind::kTimestamp:
    case LogicalKind::kTimestampTz:
      out += '"';
      AppendTimestamp(ValueOf<arrow::TimestampArray>(array, row),
                      type.kind == LogicalKind::kTimestampTz, out);
      out += '"';
      return;
    case LogicalKind::kUuid:
      out += '"';
      AppendUuid(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(row), out);
      out += '"';
      return;
    case LogicalKind::kList:
      return AppendList(type, array, row, out);
  }
}

void AppendDate(int64_t days, std::string& out) {
  constexpr int64_t kLastPlainYear = 9'999;
  const CivilDate date = CivilFromDays(days);
  if (date.year >= 0 && date.year <= kLastPlainYear) {
    AppendTwoDigits(date.year / 100, out);
    AppendTwoDigits(date.year % 100, out);
  } else {
    fmt::format_to(std::back_inserter(out), "{}{:05}", date.year < 0 ? '-' : '+',
                   std::abs(date.year));
  }
  out += '-';
  AppendTwoDigits(date.month, out);
  out += '-';
  AppendTwoDigits(date.day, out);
}

void AppendTime(int64_t micros_of_day, std::string& out) {
  const int64_t seconds = micros_of_day / kMicrosPerSecond;
  AppendTwoDigits(seconds / 3'600, out);
  out += ':';
  AppendTwoDigits(seconds / 60 % 60, out);
  out += ':';
  AppendTwoDigits(seconds % 60, out);
  out += '.';
  const int64_t micros = micros_of_day % kMicrosPerSecond;
  AppendTwoDigits(micros / 10'000, out);
  AppendTwoDigits(micros / 100 % 100, out);
  AppendTwoDigits(micros % 100, out);
}

void AppendTimestamp(int64_t unix_micros, bool utc, std::string& out) {
  const int64_t days = unix_micros / kMicrosPerDay - (unix_micros % kMicrosPerDay < 0 ? 1 : 0);
  AppendDate(days, out);
  out += 'T';
  AppendTime(unix_micros - days * kMicrosPerDay, out);
  if (utc) out += 'Z';
}

bool ParseDate(std::string_view text, int32_t& days) {
  int64_t wide = 0;
  if (!TakeDate(text, wide) || !text.empty()) return false;
  days = static_cast<int32_t>(wide);
  return true;
}

bool ParseTime(std::string_view text, int64_t& micros_of_day) {
  return TakeTime(text, micros_of_day) && text.empty();
}

bool ParseTimestamp(std::string_view text, int64_t& unix_micros) {
  int64_t days = 0;
  int64_t time = 0;
  if (!TakeDate(text, days) || !TakeChar(text, 'T') || !TakeTime(text, time)) return false;
  if (!text.empty() && text != "Z") return false;
  unix_micros = days * kMicrosPerDay + time;
  return true;
}

void AppendBase64(std::string_view bytes, std::string& out) {
  out += arrow::util::base64_encode(bytes);
}

bool ParseBase64(std::string_view text, std::string& bytes) {
  auto decoded = arrow::util::base64_decode(text);
  if (!decoded.ok()) return false;
  bytes = *std::move(decoded);
  return true;
}

void AppendUuid(std::string_view bytes, std::string& out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    const auto byte = static_cast<unsigned char>(bytes[i]);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

bool ParseUuid(std::string_view text, std::string& bytes) {
  bytes.clear();
  int high = -1;
  for (const char c : text) {
    if (c == '-') continue;
    const int digit = HexDigit(c);
    if (digit < 0) return false;
    if (high < 0) {
      high = digit;
    } else {
      bytes += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return bytes.size() == 16 && high < 0;
}

}  // namespace freshet::sink::files
