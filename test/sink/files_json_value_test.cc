#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include <limits>

#include "sink/files/json_value.h"
#include "support/batches.h"

namespace freshet::sink::files {
namespace {

using change::LogicalKind;
using change::LogicalType;
using test::Cell;

/// The JSON of one value, given as a test cell.
std::string Json(const LogicalType& type, const Cell& cell) {
  const auto schema = test::MakeSchema({"s", "t"}, {test::MakeColumn("c", type)});
  const auto rows = test::MakeRows(*schema, {{cell}});
  std::string out;
  AppendJsonValue(type, *rows->column(0), 0, out);
  return out;
}

std::string Json(LogicalKind kind, const Cell& cell) {
  return Json(LogicalType{.kind = kind}, cell);
}

TEST(JsonValueTest, IntegersAreNumbersToTheLastDigit) {
  EXPECT_EQ(Json(LogicalKind::kInt64, "-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(Json(LogicalKind::kInt16, "-32768"), "-32768");
  EXPECT_EQ(Json(LogicalKind::kUInt32, "4294967295"), "4294967295");
}

TEST(JsonValueTest, DecimalsAreStringsWithAllDigits) {
  EXPECT_EQ(Json({.kind = LogicalKind::kDecimal, .precision = 38, .scale = 2},
                 "123456789012345678901234567890123456.70"),
            "\"123456789012345678901234567890123456.70\"");
  EXPECT_EQ(Json(LogicalKind::kNumericText, "1e-500"), "\"1e-500\"");
}

TEST(JsonValueTest, FloatsAreShortestAndTheOddOnesStrings) {
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder
                  .AppendValues({0.1, -0.0, 1e300, std::numeric_limits<double>::quiet_NaN(),
                                 -std::numeric_limits<double>::infinity()})
                  .ok());
  const auto values = *builder.Finish();
  std::string out;

  for (int64_t row = 0; row < values->length(); ++row) {
    AppendJsonValue({.kind = LogicalKind::kFloat64}, *values, row, out);
    out += ' ';
  }

  EXPECT_EQ(out, "0.1 -0.0 1e+300 \"NaN\" \"-Infinity\" ");
}

TEST(JsonValueTest, TextIsEscaped) {
  EXPECT_EQ(Json(LogicalKind::kText, "a\"b\\c\n\x01\xE2\x82\xAC"),
            "\"a\\\"b\\\\c\\n\\u0001\xE2\x82\xAC\"");
  EXPECT_EQ(Json(LogicalKind::kJson, "{\"a\": 1.0}"), "\"{\\\"a\\\": 1.0}\"");
}

TEST(JsonValueTest, ListsKeepNulls) {
  EXPECT_EQ(Json({.kind = LogicalKind::kList, .element = LogicalKind::kInt32},
                 test::List({"1", test::Null(), "3"})),
            "[1,null,3]");
  EXPECT_EQ(Json({.kind = LogicalKind::kList, .element = LogicalKind::kText}, test::List({})),
            "[]");
}

TEST(JsonValueTest, NullIsNull) { EXPECT_EQ(Json(LogicalKind::kUuid, test::Null()), "null"); }

TEST(JsonValueTest, UuidAndBytesRoundTrip) {
  const std::string text = "00112233-4455-6677-8899-aabbccddeeff";
  std::string bytes;
  ASSERT_TRUE(ParseUuid(text, bytes));
  std::string out;
  AppendUuid(bytes, out);
  EXPECT_EQ(out, text);

  const std::string raw("\0\xFF\x10", 3);
  std::string packed;
  AppendBase64(raw, packed);
  std::string unpacked;
  ASSERT_TRUE(ParseBase64(packed, unpacked));
  EXPECT_EQ(unpacked, raw);
}

struct DateCase {
  int32_t days;
  const char* text;
};

class DateTest : public ::testing::TestWithParam<DateCase> {};

TEST_P(DateTest, RoundTrips) {
  std::string out;
  AppendDate(GetParam().days, out);
  int32_t days = 0;

  EXPECT_EQ(out, GetParam().text);
  ASSERT_TRUE(ParseDate(out, days));
  EXPECT_EQ(days, GetParam().days);
}

/// The extremes are PostgreSQL's: 4713-01-01 BC and 5874897-12-31.
INSTANTIATE_TEST_SUITE_P(
    Dates, DateTest,
    ::testing::Values(DateCase{0, "1970-01-01"}, DateCase{-1, "1969-12-31"},
                      DateCase{11'016, "2000-02-29"}, DateCase{2'932'896, "9999-12-31"},
                      DateCase{2'932'897, "+10000-01-01"}, DateCase{-719'528, "0000-01-01"},
                      DateCase{-719'529, "-00001-12-31"}, DateCase{-2'440'550, "-04712-01-01"},
                      DateCase{2'145'042'905, "+5874897-12-31"}));

TEST(TimestampTest, RoundTripsToTheMicrosecondOnBothSidesOf1970) {
  for (const int64_t micros :
       {int64_t{0}, int64_t{-1}, int64_t{1'700'000'000'123'456}, int64_t{-210'866'803'200'000'000},
        int64_t{9'223'371'331'199'999'999}}) {
    std::string out;
    AppendTimestamp(micros, true, out);
    int64_t parsed = 0;
    ASSERT_TRUE(ParseTimestamp(out, parsed)) << out;
    EXPECT_EQ(parsed, micros) << out;
  }
}

TEST(TimestampTest, TextThatIsNoneIsRefused) {
  int64_t micros = 0;
  int32_t days = 0;
  for (const char* text : {"", "2026-01-01", "2026-01-01 00:00:00", "2026-1-01T00:00:00",
                           "2026-01-01T00:00:00.1", "2026-01-01T00:00:00+01", "x"}) {
    EXPECT_FALSE(ParseTimestamp(text, micros)) << text;
  }
  EXPECT_FALSE(ParseDate("20260101", days));
  EXPECT_FALSE(ParseTime("12:00", micros));
  std::string bytes;
  EXPECT_FALSE(ParseUuid("00112233", bytes));
}

}  // namespace
}  // namespace freshet::sink::files
