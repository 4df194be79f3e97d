#pragma once

#include <bit>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

/// Readers of PostgreSQL's text form of single values, as the pinned session settings render it
/// (datestyle ISO, timezone UTC, bytea_output hex, extra_float_digits 3).
///
/// Pure functions, inline because column_builder.cc runs them in its loops. Text is given as
/// (start, size) and never read beyond. Source: PostgreSQL manual, "Data Types".
namespace freshet::postgres {

/// What came of reading a value.
enum class ValueOutcome : uint8_t {
  kValue,
  kException,  ///< a value of the type that the Arrow type cannot hold
  kMalformed,  ///< no text the server writes for the type
};

/// 128-bit integers as the compilers have them; decimal128's memory form on little-endian machines.
__extension__ using Int128 = __int128;
__extension__ using UInt128 = unsigned __int128;

static_assert(std::endian::native == std::endian::little, "byte tricks below count on it");

inline constexpr int64_t kMicrosPerSecond = 1'000'000;
inline constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

namespace value_text_internal {

inline uint64_t Load8(const char* text) {
  uint64_t chunk;
  std::memcpy(&chunk, text, sizeof(chunk));
  return chunk;
}

/// Reads one digit; false when it is none.
inline bool ReadDigit(char c, unsigned& digit) {
  digit = static_cast<unsigned>(static_cast<unsigned char>(c)) - '0';
  return digit <= 9;
}

/// Reads two digits.
inline bool ReadTwoDigits(const char* text, int& value) {
  unsigned tens = 0;
  unsigned units = 0;
  const bool ok = ReadDigit(text[0], tens) && ReadDigit(text[1], units);
  value = static_cast<int>(tens * 10 + units);
  return ok;
}

/// Of eight characters, XORed with '0', the high bit of each that is no digit. Exact up to the
/// first such character, which is all anybody asks.
inline uint64_t NoDigits(uint64_t chunk) {
  return ((chunk + 0x7676'7676'7676'7676) | chunk) & 0x8080'8080'8080'8080;
}

/// The number that eight digits (characters XORed with '0') spell: neighbours are combined to
/// pairs, pairs to fours, fours to eight, each by one multiplication.
inline uint64_t EightDigits(uint64_t chunk) {
  chunk = chunk * 10 + (chunk >> 8);
  return (((chunk & 0x0000'00FF'0000'00FF) * 0x000F'4240'0000'0064 +
           ((chunk >> 16) & 0x0000'00FF'0000'00FF) * 0x0000'2710'0000'0001) >>
          32) &
         0xFFFF'FFFF;
}

inline constexpr uint64_t kEightZeros = 0x3030'3030'3030'3030;

/// Reads `size` digits, at most 19, so that nothing overflows.
inline bool ReadDigits(const char* text, size_t size, uint64_t& value) {
  uint64_t out = 0;
  for (; size >= 8; size -= 8, text += 8) {
    const uint64_t chunk = Load8(text) ^ kEightZeros;
    if (NoDigits(chunk) != 0) return false;
    out = out * 100'000'000 + EightDigits(chunk);
  }
  for (; size > 0; --size, ++text) {
    unsigned digit = 0;
    if (!ReadDigit(*text, digit)) return false;
    out = out * 10 + digit;
  }
  value = out;
  return true;
}

/// Three two-digit numbers of eight characters such as "12:34:56": digits where `separators` has
/// '0', exactly its character elsewhere. Byte i of the result is the number that begins there.
inline bool ReadPairs(const char* text, uint64_t separators, uint64_t digit_places,
                      uint64_t& pairs) {
  const uint64_t x = Load8(text) ^ separators;
  const uint64_t above_nine = (x + (digit_places & 0x0606'0606'0606'0606)) | x;
  if (((x & ~digit_places) | (above_nine & digit_places & 0xF0F0'F0F0'F0F0'F0F0)) != 0) {
    return false;
  }
  pairs = x * 10 + (x >> 8);
  return true;
}

/// "2024-02-" and "12:34:56" with their digits as '0', and where those stand.
inline constexpr uint64_t kDateSeparators = 0x2D30'302D'3030'3030;
inline constexpr uint64_t kDateDigits = 0x00FF'FF00'FFFF'FFFF;
inline constexpr uint64_t kClockSeparators = 0x3030'3A30'303A'3030;
inline constexpr uint64_t kClockDigits = 0xFFFF'00FF'FF00'FFFF;

constexpr bool IsLeapYear(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr int DaysInMonth(int64_t year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && IsLeapYear(year) ? 29 : kDays[month - 1];
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar; year 0 is 1 BC. Counts years
/// from March, so that a leap day comes last, in cycles of 400 years of 146,097 days.
constexpr int64_t DaysSince1970(int64_t year, int month, int day) {
  if (month <= 2) --year;
  const int64_t cycle = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_cycle = year - cycle * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_cycle =
      year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
  return cycle * 146'097 + day_of_cycle - 719'468;
}

/// Walks a date, time or timestamp front to back. Every reader returns false on odd text.
class CalendarReader {
 public:
  CalendarReader(const char* text, size_t size) : at_(text), end_(text + size) {
    constexpr std::string_view kBeforeChrist = " BC";
    if (size > kBeforeChrist.size() && end_[-1] == 'C' &&
        std::string_view(end_ - kBeforeChrist.size(), kBeforeChrist.size()) == kBeforeChrist) {
      before_christ_ = true;
      end_ -= kBeforeChrist.size();
    }
  }

  bool AtEnd() const { return at_ == end_; }
  bool before_christ() const { return before_christ_; }

  bool Skip(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  /// "2024-02-29", with a year of four to seven digits. Days since 1970.
  bool ReadDate(int64_t& days) {
    int64_t year = 0;
    int month = 0;
    int day = 0;
    uint64_t pairs = 0;
    if (end_ - at_ >= 10 && at_[4] == '-') {
      if (!ReadPairs(at_, kDateSeparators, kDateDigits, pairs)) return false;
      year = static_cast<int64_t>((pairs & 0xFF) * 100 + ((pairs >> 16) & 0xFF));
      month = static_cast<int>((pairs >> 40) & 0xFF);
      at_ += 8;
    } else if (!ReadLongYear(year) || !Skip('-') || !ReadPair(month) || !Skip('-')) {
      return false;
    }
    if (!ReadPair(day) || year == 0) return false;
    if (before_christ_) year = 1 - year;
    if (month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, month)) return false;
    days = DaysSince1970(year, month, day);
    return true;
  }

  /// "12:34:56.789012", the fraction of up to six digits optional. Microseconds since midnight; up
  /// to and including 24:00:00.
  bool ReadClock(int64_t& micros) {
    uint64_t pairs = 0;
    if (end_ - at_ < 8 || !ReadPairs(at_, kClockSeparators, kClockDigits, pairs)) return false;
    const auto hour = static_cast<int64_t>(pairs & 0xFF);
    const auto minute = static_cast<int64_t>((pairs >> 24) & 0xFF);
    const auto second = static_cast<int64_t>((pairs >> 48) & 0xFF);
    at_ += 8;
    int64_t fraction = 0;
    if (Skip('.') && !ReadFraction(fraction)) return false;
    micros = ((hour * 60 + minute) * 60 + second) * kMicrosPerSecond + fraction;
    return minute < 60 && second < 60 && micros <= kMicrosPerDay;
  }

  /// "+00", "-03:30", "+05:30:15". Microseconds east of UTC.
  bool ReadZone(int64_t& micros) {
    if (at_ == end_ || (*at_ != '+' && *at_ != '-')) return false;
    const bool west = *at_++ == '-';
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    if (!ReadPair(hours)) return false;
    if (Skip(':')) {
      if (!ReadPair(minutes)) return false;
      if (Skip(':') && !ReadPair(seconds)) return false;
    }
    if (minutes >= 60 || seconds >= 60) return false;
    const int64_t east = ((hours * 60 + minutes) * 60 + seconds) * kMicrosPerSecond;
    micros = west ? -east : east;
    return true;
  }

 private:
  bool ReadPair(int& value) {
    if (end_ - at_ < 2 || !ReadTwoDigits(at_, value)) return false;
    at_ += 2;
    return true;
  }

  /// One to six digits after the point, as microseconds.
  bool ReadFraction(int64_t& micros) {
    constexpr int kMaxDigits = 6;
    if (end_ - at_ >= 8) {
      uint64_t chunk = Load8(at_) ^ kEightZeros;
      const int digits = std::countr_zero(NoDigits(chunk)) / 8;
      if (digits == 0 || digits > kMaxDigits) return false;
      chunk &= (uint64_t{1} << (8 * digits)) - 1;  // what follows counts as zeros
      micros = static_cast<int64_t>(EightDigits(chunk) / 100);
      at_ += digits;
      return true;
    }
    int digits = 0;
    unsigned digit = 0;
    for (; digits < kMaxDigits && at_ != end_ && ReadDigit(*at_, digit); ++digits, ++at_) {
      micros = micros * 10 + digit;
    }
    for (int i = digits; i < kMaxDigits; ++i) micros *= 10;
    return digits > 0;
  }

  bool ReadLongYear(int64_t& year) {
    constexpr int kMaxYearDigits = 7;
    int digits = 0;
    unsigned digit = 0;
    while (at_ != end_ && digits <= kMaxYearDigits && ReadDigit(*at_, digit)) {
      year = year * 10 + digit;
      ++digits;
      ++at_;
    }
    return digits >= 4 && digits <= kMaxYearDigits;
  }

  const char* at_;
  const char* end_;
  bool before_christ_ = false;
};

inline bool IsInfinity(const char* text, size_t size) {
  const std::string_view value(text, size);
  return value == "infinity" || value == "-infinity";
}

/// The value of a hex digit; 16 or more when it is none.
inline constexpr auto kHexValues = [] {
  struct {
    uint8_t of[256];
  } table{};
  for (auto& value : table.of) value = 0x80;
  for (int i = 0; i < 10; ++i) table.of['0' + i] = static_cast<uint8_t>(i);
  for (int i = 0; i < 6; ++i) {
    table.of['a' + i] = static_cast<uint8_t>(10 + i);
    table.of['A' + i] = static_cast<uint8_t>(10 + i);
  }
  return table;
}();

/// Reads 2 * `count` hex digits into `count` bytes.
inline bool ReadHex(const char* text, size_t count, uint8_t* out) {
  unsigned odd = 0;
  for (size_t i = 0; i < count; ++i) {
    const unsigned high = kHexValues.of[static_cast<uint8_t>(text[2 * i])];
    const unsigned low = kHexValues.of[static_cast<uint8_t>(text[2 * i + 1])];
    odd |= high | low;
    out[i] = static_cast<uint8_t>(high << 4 | (low & 0x0F));
  }
  return (odd & 0x80) == 0;
}

}  // namespace value_text_internal

/// 't' or 'f'. `out` becomes 1 or 0.
inline ValueOutcome ReadBool(const char* text, size_t size, uint8_t& out) {
  if (size != 1 || (*text != 't' && *text != 'f')) return ValueOutcome::kMalformed;
  out = *text == 't' ? 1 : 0;
  return ValueOutcome::kValue;
}

/// Decimal digits, signed types with an optional '-'.
template <std::integral T>
ValueOutcome ReadInteger(const char* text, size_t size, T& out) {
  constexpr size_t kMaxDigits = 19;
  bool negative = false;
  if constexpr (std::signed_integral<T>) {
    if (size > 0 && *text == '-') {
      negative = true;
      ++text;
      --size;
    }
  }
  uint64_t magnitude = 0;
  if (size == 0 || size > kMaxDigits || !value_text_internal::ReadDigits(text, size, magnitude)) {
    return ValueOutcome::kMalformed;
  }
  if (magnitude > static_cast<uint64_t>(std::numeric_limits<T>::max()) + (negative ? 1 : 0)) {
    return ValueOutcome::kMalformed;
  }
  out = static_cast<T>(negative ? uint64_t{0} - magnitude : magnitude);
  return ValueOutcome::kValue;
}

/// Shortest exact decimal form, with an exponent where it is large; NaN, Infinity, -Infinity.
template <std::floating_point T>
ValueOutcome ReadFloat(const char* text, size_t size, T& out) {
  if (size == 0) return ValueOutcome::kMalformed;
  const char last = text[size - 1];
  if (last == 'y' || last == 'N') {
    const std::string_view name(text, size);
    if (name == "NaN") {
      out = std::numeric_limits<T>::quiet_NaN();
    } else if (name == "Infinity") {
      out = std::numeric_limits<T>::infinity();
    } else if (name == "-Infinity") {
      out = -std::numeric_limits<T>::infinity();
    } else {
      return ValueOutcome::kMalformed;
    }
    return ValueOutcome::kValue;
  }
  const char* end = text + size;
  const auto [stop, error] = std::from_chars(text, end, out);
  // from_chars also knows names of its own, "inf" and "nan"; those end in letters.
  const bool is_number = last >= '0' && last <= '9';
  return error == std::errc() && stop == end && is_number ? ValueOutcome::kValue
                                                          : ValueOutcome::kMalformed;
}

/// A decimal column's scale and its bound, 10 to the power of its precision.
struct DecimalFormat {
  static constexpr int32_t kMaxPrecision = 38;

  constexpr DecimalFormat(int32_t precision, int32_t decimal_scale) : scale(decimal_scale) {
    for (int32_t i = 0; i < precision; ++i) limit *= 10;
  }

  int32_t scale;
  UInt128 limit = 1;
};

/// "-123.45" as -12345 for scale 2. Exception: NaN, infinities, more digits than the column's type
/// has (none of which a plain value of the column can be).
inline ValueOutcome ReadDecimal(const char* text, size_t size, const DecimalFormat& format,
                                Int128& out) {
  using value_text_internal::ReadDigits;
  constexpr size_t kDigitsAtOnce = 18;
  const std::string_view whole(text, size);
  if (whole == "NaN" || whole == "Infinity" || whole == "-Infinity") {
    return ValueOutcome::kException;
  }
  const bool negative = size > 0 && *text == '-';
  if (negative) {
    ++text;
    --size;
  }
  const auto scale = static_cast<size_t>(format.scale);
  size_t point = size;
  if (size > scale && text[size - scale - 1] == '.') {
    point = size - scale - 1;
  } else if (const void* dot = std::memchr(text, '.', size); dot != nullptr) {
    point = static_cast<size_t>(static_cast<const char*>(dot) - text);
  }
  const char* fraction = text + point + (point < size ? 1 : 0);
  size_t fraction_digits = static_cast<size_t>(text + size - fraction);
  if (point == 0 || (point < size && fraction_digits == 0)) return ValueOutcome::kMalformed;

  if (point + scale <= kDigitsAtOnce && fraction_digits == scale) [[likely]] {
    uint64_t integer = 0;
    uint64_t decimals = 0;
    if (!ReadDigits(text, point, integer) || !ReadDigits(fraction, scale, decimals)) {
      return ValueOutcome::kMalformed;
    }
    for (size_t i = 0; i < scale; ++i) integer *= 10;
    const uint64_t magnitude = integer + decimals;
    if (magnitude >= format.limit) return ValueOutcome::kException;
    out = negative ? -static_cast<Int128>(magnitude) : static_cast<Int128>(magnitude);
    return ValueOutcome::kValue;
  }

  // Any other shape: digit by digit, saturating where even 128 bits are too few.
  bool fits = true;
  UInt128 magnitude = 0;
  const auto append = [&](unsigned digit) {
    if (magnitude >= format.limit) fits = false;
    if (fits) magnitude = magnitude * 10 + digit;
  };
  for (size_t i = 0; i < size; ++i) {
    unsigned digit = 0;
    if (i == point) continue;
    if (!value_text_internal::ReadDigit(text[i], digit)) return ValueOutcome::kMalformed;
    const bool beyond_scale = i > point && i - point > scale;
    if (!beyond_scale) append(digit);
    if (beyond_scale && digit != 0) fits = false;
  }
  for (; fraction_digits < scale; ++fraction_digits) append(0);
  if (!fits || magnitude >= format.limit) return ValueOutcome::kException;
  out = negative ? -static_cast<Int128>(magnitude) : static_cast<Int128>(magnitude);
  return ValueOutcome::kValue;
}

/// "2024-02-29", "0044-03-15 BC" as days since 1970. Exception: infinity, -infinity.
inline ValueOutcome ReadDate(const char* text, size_t size, int32_t& out) {
  value_text_internal::CalendarReader in(text, size);
  int64_t days = 0;
  if (!in.ReadDate(days) || !in.AtEnd()) {
    return value_text_internal::IsInfinity(text, size) ? ValueOutcome::kException
                                                       : ValueOutcome::kMalformed;
  }
  if (days < std::numeric_limits<int32_t>::min() || days > std::numeric_limits<int32_t>::max()) {
    return ValueOutcome::kException;
  }
  out = static_cast<int32_t>(days);
  return ValueOutcome::kValue;
}

/// "12:34:56.789" as microseconds since midnight. Exception: 24:00:00.
inline ValueOutcome ReadTime(const char* text, size_t size, int64_t& out) {
  value_text_internal::CalendarReader in(text, size);
  int64_t micros = 0;
  if (!in.ReadClock(micros) || !in.AtEnd() || in.before_christ()) return ValueOutcome::kMalformed;
  if (micros == kMicrosPerDay) return ValueOutcome::kException;
  out = micros;
  return ValueOutcome::kValue;
}

/// "2024-02-29 12:34:56.789", with a zone such as "+05:30" when `zoned`, " BC" at the end, as
/// microseconds since 1970 (UTC when zoned). Exception: infinities, and years from 294247 on, which
/// 64 bits of microseconds since 1970 cannot hold.
template <bool zoned>
ValueOutcome ReadTimestamp(const char* text, size_t size, int64_t& out) {
  value_text_internal::CalendarReader in(text, size);
  int64_t days = 0;
  int64_t micros = 0;
  int64_t east = 0;
  if (!in.ReadDate(days) || !in.Skip(' ') || !in.ReadClock(micros) ||
      (zoned && !in.ReadZone(east)) || !in.AtEnd()) {
    return value_text_internal::IsInfinity(text, size) ? ValueOutcome::kException
                                                       : ValueOutcome::kMalformed;
  }
  int64_t since_1970 = 0;
  if (__builtin_mul_overflow(days, kMicrosPerDay, &since_1970) ||
      __builtin_add_overflow(since_1970, micros - east, &since_1970)) {
    return ValueOutcome::kException;
  }
  out = since_1970;
  return ValueOutcome::kValue;
}

/// A uuid's sixteen bytes.
struct UuidBytes {
  uint8_t bytes[16];
};

/// "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".
inline ValueOutcome ReadUuid(const char* text, size_t size, UuidBytes& out) {
  using value_text_internal::ReadHex;
  constexpr size_t kSize = 36;
  if (size != kSize || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') {
    return ValueOutcome::kMalformed;
  }
  const bool ok = ReadHex(text, 4, out.bytes) && ReadHex(text + 9, 2, out.bytes + 4) &&
                  ReadHex(text + 14, 2, out.bytes + 6) && ReadHex(text + 19, 2, out.bytes + 8) &&
                  ReadHex(text + 24, 6, out.bytes + 10);
  return ok ? ValueOutcome::kValue : ValueOutcome::kMalformed;
}

/// "\x0aff": writes (size - 2) / 2 bytes to `out`.
inline ValueOutcome ReadBytes(const char* text, size_t size, uint8_t* out) {
  if (size < 2 || size % 2 != 0 || text[0] != '\\' || text[1] != 'x') {
    return ValueOutcome::kMalformed;
  }
  return value_text_internal::ReadHex(text + 2, (size - 2) / 2, out) ? ValueOutcome::kValue
                                                                     : ValueOutcome::kMalformed;
}

}  // namespace freshet::postgres
