#include "postgres/value_text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>

namespace freshet::postgres {
namespace {

constexpr auto kValue = ValueOutcome::kValue;
constexpr auto kException = ValueOutcome::kException;
constexpr auto kMalformed = ValueOutcome::kMalformed;

/// Reads `text` by `reader`; the outcome and the value.
template <typename T, typename Reader>
std::pair<ValueOutcome, T> Read(std::string_view text, Reader reader) {
  T value{};
  const ValueOutcome outcome = reader(text.data(), text.size(), value);
  return {outcome, value};
}

template <typename T>
std::pair<ValueOutcome, T> Integer(std::string_view text) {
  return Read<T>(text, [](auto&&... a) { return ReadInteger(a...); });
}

TEST(ReadIntegerTest, WholeRangeOfEachType) {
  const auto read = [](std::string_view text, auto expected) {
    decltype(expected) value{};
    EXPECT_EQ(ReadInteger(text.data(), text.size(), value), kValue) << text;
    EXPECT_EQ(value, expected) << text;
  };

  read("0", int16_t{0});
  read("-32768", std::numeric_limits<int16_t>::min());
  read("32767", std::numeric_limits<int16_t>::max());
  read("-2147483648", std::numeric_limits<int32_t>::min());
  read("2147483647", std::numeric_limits<int32_t>::max());
  read("-9223372036854775808", std::numeric_limits<int64_t>::min());
  read("9223372036854775807", std::numeric_limits<int64_t>::max());
  read("4294967295", std::numeric_limits<uint32_t>::max());
}

TEST(ReadIntegerTest, EveryLengthOfDigitsIsReadExactly) {
  for (const std::string_view digits : {"1234567890123456789", "9081726354001928374"}) {
    for (size_t size = 1; size <= digits.size(); ++size) {
      const std::string text(digits.substr(0, size));
      const auto [outcome, value] = Integer<int64_t>(text);
      EXPECT_EQ(outcome, kValue) << text;
      EXPECT_EQ(std::to_string(value), text);
    }
  }
}

TEST(ReadIntegerTest, OddTextIsMalformed) {
  for (const std::string_view text :
       {"", "-", "+1", " 1", "1 ", "1.0", "12345678x", "x2345678", "1234:678", "12/45678", "0x10",
        "9223372036854775808", "-9223372036854775809", "99999999999999999999", "\xB1\xB2"}) {
    EXPECT_EQ(Integer<int64_t>(text).first, kMalformed) << text;
  }
  EXPECT_EQ(Integer<int16_t>("32768").first, kMalformed);
  EXPECT_EQ(Integer<int32_t>("-2147483649").first, kMalformed);
  EXPECT_EQ(Integer<uint32_t>("-1").first, kMalformed);
  EXPECT_EQ(Integer<uint32_t>("4294967296").first, kMalformed);
}

/// Each byte value at each place of an eight-digit number, as the eight-at-once path sees it.
TEST(ReadIntegerTest, AByteThatIsNoDigitIsSeenAtEveryPlace) {
  for (size_t place = 0; place < 8; ++place) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text = "12345678";
      text[place] = static_cast<char>(byte);
      const bool digit = byte >= '0' && byte <= '9';
      const bool minus = place == 0 && byte == '-';
      EXPECT_EQ(Integer<int64_t>(text).first, digit || minus ? kValue : kMalformed)
          << place << " " << byte;
    }
  }
}

std::pair<ValueOutcome, double> Double(std::string_view text) {
  return Read<double>(text, [](auto&&... a) { return ReadFloat(a...); });
}

TEST(ReadFloatTest, ShortestFormsAndSpecialValues) {
  EXPECT_EQ(Double("0.1").second, 0.1);
  EXPECT_EQ(Double("1.7976931348623157e+308").second, std::numeric_limits<double>::max());
  EXPECT_EQ(Double("5e-324").second, std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(Double("Infinity").second, std::numeric_limits<double>::infinity());
  EXPECT_EQ(Double("-Infinity").second, -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Double("NaN").second));
  const auto [outcome, zero] = Double("-0");
  EXPECT_EQ(outcome, kValue);
  EXPECT_TRUE(std::signbit(zero));
  float small = 0;
  EXPECT_EQ(ReadFloat("1e-45", 5, small), kValue);
  EXPECT_EQ(small, std::numeric_limits<float>::denorm_min());
}

TEST(ReadFloatTest, OddTextIsMalformed) {
  for (const std::string_view text : {"", "-", "nan", "inf", "infinity", "-inf", "+1", "1.5 ", " 1",
                                      "1e", "0x1p3", "1e999", "xNaN", "Infinityy"}) {
    EXPECT_EQ(Double(text).first, kMalformed) << text;
  }
}

std::pair<ValueOutcome, Int128> Decimal(std::string_view text, int32_t precision, int32_t scale) {
  const DecimalFormat format(precision, scale);
  return Read<Int128>(
      text, [&](const char* t, size_t n, Int128& v) { return ReadDecimal(t, n, format, v); });
}

std::string ToText(Int128 value) { return fmt::format("{}", value); }

TEST(ReadDecimalTest, ValuesOfTheColumnsScale) {
  EXPECT_EQ(ToText(Decimal("123.45", 12, 2).second), "12345");
  EXPECT_EQ(ToText(Decimal("-0.01", 12, 2).second), "-1");
  EXPECT_EQ(ToText(Decimal("0.00", 12, 2).second), "0");
  EXPECT_EQ(ToText(Decimal("42", 5, 0).second), "42");
  EXPECT_EQ(ToText(Decimal("99999999999999999999999999999999999999", 38, 0).second),
            "99999999999999999999999999999999999999");
  EXPECT_EQ(ToText(Decimal("-9999999999999999999999999999.9999999999", 38, 10).second),
            "-99999999999999999999999999999999999999");
  EXPECT_EQ(ToText(Decimal("0.00000000000000000000000000000000000001", 38, 38).second), "1");
}

/// Does not happen in a column of that type, but an exact value is an exact value.
TEST(ReadDecimalTest, AnotherScaleIsConvertedWhileItIsExact) {
  EXPECT_EQ(ToText(Decimal("7", 12, 2).second), "700");
  EXPECT_EQ(ToText(Decimal("7.5", 12, 2).second), "750");
  EXPECT_EQ(ToText(Decimal("7.5000", 12, 2).second), "750");
}

TEST(ReadDecimalTest, WhatTheTypeCannotHoldIsAnException) {
  EXPECT_EQ(Decimal("NaN", 12, 2).first, kException);
  EXPECT_EQ(Decimal("Infinity", 12, 2).first, kException);
  EXPECT_EQ(Decimal("-Infinity", 12, 2).first, kException);
  EXPECT_EQ(Decimal("0.001", 12, 2).first, kException);
  EXPECT_EQ(Decimal("10000000000.00", 12, 2).first, kException);
  EXPECT_EQ(Decimal("100000000000000000000000000000000000000", 38, 0).first, kException);
  EXPECT_EQ(Decimal(std::string(100'000, '9'), 38, 0).first, kException);
}

TEST(ReadDecimalTest, OddTextIsMalformed) {
  for (const std::string_view text : {"", "-", ".", "1.", ".5", "1.2.3", "1e5", "+1", "--1", "nan",
                                      "12x.00", "12.0x", "1,000.00", "-NaN"}) {
    EXPECT_EQ(Decimal(text, 12, 2).first, kMalformed) << text;
  }
}

/// Written with every scale, read back: the same integer.
TEST(ReadDecimalTest, RandomValuesSurviveTheRoundTrip) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const auto scale = static_cast<int>(random() % 19);
    const uint64_t magnitude = random() >> (random() % 64);
    std::string digits = std::to_string(magnitude);
    if (std::ssize(digits) <= scale)
      digits.insert(0, static_cast<size_t>(scale) + 1 - digits.size(), '0');
    if (scale > 0) digits.insert(digits.size() - static_cast<size_t>(scale), ".");
    const bool negative = magnitude != 0 && random() % 2 == 0;
    const auto [outcome, value] = Decimal((negative ? "-" : "") + digits, 38, scale);
    ASSERT_EQ(outcome, kValue) << digits;
    ASSERT_EQ(ToText(value), (negative ? "-" : "") + std::to_string(magnitude));
  }
}

std::pair<ValueOutcome, int32_t> Date(std::string_view text) {
  return Read<int32_t>(text, [](auto&&... a) { return ReadDate(a...); });
}

TEST(ReadDateTest, FromTheFirstDayToTheLast) {
  EXPECT_EQ(Date("1970-01-01").second, 0);
  EXPECT_EQ(Date("1969-12-31").second, -1);
  EXPECT_EQ(Date("2000-02-29").second, 11016);
  EXPECT_EQ(Date("0001-01-01").second, -719162);
  EXPECT_EQ(Date("0001-12-31 BC").second, -719163);
  EXPECT_EQ(Date("4714-11-24 BC").second, -2440588);  // Julian day 0
  EXPECT_EQ(Date("10000-01-01").second, 2932897);
  EXPECT_EQ(Date("5874897-12-31").second, 2145042905);
}

TEST(ReadDateTest, InfinitiesAreExceptions) {
  EXPECT_EQ(Date("infinity").first, kException);
  EXPECT_EQ(Date("-infinity").first, kException);
}

TEST(ReadDateTest, OddTextIsMalformed) {
  for (const std::string_view text : {"",
                                      "2024",
                                      "2024-1-01",
                                      "2024-13-01",
                                      "2024-00-01",
                                      "2024-02-30",
                                      "2023-02-29",
                                      "1900-02-29",
                                      "2024-04-31",
                                      "2024-01-00",
                                      "2024/01/01",
                                      "24-01-01",
                                      "0000-01-01",
                                      "2024-01-01x",
                                      "2024-01-01 ",
                                      " BC",
                                      "BC",
                                      "0044-03-15 AD",
                                      "12345678-01-01",
                                      "01.02.2024",
                                      "infinity BC",
                                      "Infinity"}) {
    EXPECT_EQ(Date(text).first, kMalformed) << text;
  }
}

/// Every day of 800 years, against a calendar that only knows how to go to the next day.
TEST(ReadDateTest, AgreesWithCountingDays) {
  int64_t days = Date("1600-01-01").second;
  for (int year = 1600; year < 2400; ++year) {
    for (int month = 1; month <= 12; ++month) {
      for (int day = 1; day <= value_text_internal::DaysInMonth(year, month); ++day, ++days) {
        const std::string text = fmt::format("{:04}-{:02}-{:02}", year, month, day);
        ASSERT_EQ(Date(text).second, days) << text;
      }
    }
  }
  EXPECT_EQ(days, Date("2400-01-01").second);
}

std::pair<ValueOutcome, int64_t> Time(std::string_view text) {
  return Read<int64_t>(text, [](auto&&... a) { return ReadTime(a...); });
}

TEST(ReadTimeTest, UpToTheLastMicrosecond) {
  EXPECT_EQ(Time("00:00:00").second, 0);
  EXPECT_EQ(Time("12:34:56.7").second, 45'296'700'000);
  EXPECT_EQ(Time("23:59:59.999999").second, kMicrosPerDay - 1);
}

TEST(ReadTimeTest, MidnightAtTheEndOfADayIsAnException) {
  EXPECT_EQ(Time("24:00:00").first, kException);
}

TEST(ReadTimeTest, OddTextIsMalformed) {
  for (const std::string_view text :
       {"", "12:34", "1:02:03", "24:00:01", "25:00:00", "12:60:00", "12:00:60", "12:34:56.",
        "12:34:56.1234567", "12:34:56+00", "12-34-56", "12:34:5x", "12:00:00 BC"}) {
    EXPECT_EQ(Time(text).first, kMalformed) << text;
  }
}

std::pair<ValueOutcome, int64_t> Stamp(std::string_view text) {
  return Read<int64_t>(text, [](auto&&... a) { return ReadTimestamp<false>(a...); });
}

std::pair<ValueOutcome, int64_t> StampTz(std::string_view text) {
  return Read<int64_t>(text, [](auto&&... a) { return ReadTimestamp<true>(a...); });
}

TEST(ReadTimestampTest, DatesTimesAndFractions) {
  EXPECT_EQ(Stamp("1970-01-01 00:00:00").second, 0);
  EXPECT_EQ(Stamp("2026-11-21 10:11:12.123456").second, 1'795'255'872'123'456);
  EXPECT_EQ(Stamp("1969-12-31 23:59:59.999999").second, -1);
  EXPECT_EQ(Stamp("0001-12-31 23:59:59 BC").second,
            Stamp("0001-01-01 00:00:00").second - 1'000'000);
  EXPECT_EQ(Stamp("4714-11-24 00:00:00 BC").second, -2440588 * kMicrosPerDay);
}

TEST(ReadTimestampTest, ZonesAreTakenOff) {
  const int64_t noon = Stamp("2024-06-01 12:00:00").second;

  EXPECT_EQ(StampTz("2024-06-01 12:00:00+00").second, noon);
  EXPECT_EQ(StampTz("2024-06-01 12:00:00+05:30").second, noon - 19'800 * kMicrosPerSecond);
  EXPECT_EQ(StampTz("2024-06-01 12:00:00-03:30").second, noon + 12'600 * kMicrosPerSecond);
  EXPECT_EQ(StampTz("2024-06-01 12:00:00.5+00:19:32").second,
            noon + 500'000 - 1172 * kMicrosPerSecond);
  EXPECT_EQ(StampTz("0044-03-15 12:00:00+00 BC").second, Stamp("0044-03-15 12:00:00 BC").second);
}

TEST(ReadTimestampTest, WhatSixtyFourBitsCannotHoldIsAnException) {
  EXPECT_EQ(Stamp("infinity").first, kException);
  EXPECT_EQ(StampTz("-infinity").first, kException);
  EXPECT_EQ(Stamp("294276-12-31 23:59:59.999999").first, kException);
  EXPECT_EQ(Stamp("294247-01-10 04:00:54.775808").first, kException);
  EXPECT_EQ(Stamp("294247-01-10 04:00:54.775807").second, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Stamp("9999999-01-01 00:00:00").first, kException);
}

TEST(ReadTimestampTest, OddTextIsMalformed) {
  for (const std::string_view text :
       {"", "2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00", "2024-01-01 00:00:00 ",
        "2024-01-01 00:00:00+00", "2024-02-30 00:00:00", "infinite"}) {
    EXPECT_EQ(Stamp(text).first, kMalformed) << text;
  }
  for (const std::string_view text :
       {"2024-01-01 00:00:00", "2024-01-01 00:00:00+", "2024-01-01 00:00:00+0",
        "2024-01-01 00:00:00+00:", "2024-01-01 00:00:00+00:60", "2024-01-01 00:00:00+00:00:60",
        "2024-01-01 00:00:00 UTC", "2024-01-01 00:00:00Z"}) {
    EXPECT_EQ(StampTz(text).first, kMalformed) << text;
  }
}

TEST(ReadBoolTest, OneLetter) {
  uint8_t value = 7;
  EXPECT_EQ(ReadBool("t", 1, value), kValue);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(ReadBool("f", 1, value), kValue);
  EXPECT_EQ(value, 0);
  EXPECT_EQ(ReadBool("", 0, value), kMalformed);
  EXPECT_EQ(ReadBool("true", 4, value), kMalformed);
  EXPECT_EQ(ReadBool("1", 1, value), kMalformed);
}

TEST(ReadUuidTest, SixteenBytesInOrder) {
  const std::string_view text = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

  const auto [outcome, uuid] = Read<UuidBytes>(text, [](auto&&... a) { return ReadUuid(a...); });

  ASSERT_EQ(outcome, kValue);
  std::string hex;
  for (const uint8_t byte : uuid.bytes) hex += fmt::format("{:02x}", byte);
  EXPECT_EQ(hex, "a0eebc999c0b4ef8bb6d6bb9bd380a11");
}

TEST(ReadUuidTest, OddTextIsMalformed) {
  UuidBytes out;
  for (const std::string_view text :
       {"", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99_9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1 "}) {
    EXPECT_EQ(ReadUuid(text.data(), text.size(), out), kMalformed) << text;
  }
}

TEST(ReadBytesTest, HexOfAnyLength) {
  uint8_t out[4] = {};
  EXPECT_EQ(ReadBytes("\\x", 2, out), kValue);
  EXPECT_EQ(ReadBytes("\\x00fFA9", 8, out), kValue);
  EXPECT_EQ(out[0], 0x00);
  EXPECT_EQ(out[1], 0xFF);
  EXPECT_EQ(out[2], 0xA9);
  for (const std::string_view text : {"", "\\", "\\000", "\\x0", "\\x0g", "x00", "\\X00"}) {
    EXPECT_EQ(ReadBytes(text.data(), text.size(), out), kMalformed) << text;
  }
}

}  // namespace
}  // namespace freshet::postgres
