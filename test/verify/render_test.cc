#include "verify/render.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "change/logical_type.h"
#include "verify/canonical.h"

namespace freshet::verify {
namespace {

using change::LogicalKind;
using change::LogicalType;

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(const LogicalType& type, const std::vector<Value>& values) {
  Builder builder(change::ArrowType(type), arrow::default_memory_pool());
  for (const Value& value : values) EXPECT_TRUE(builder.Append(value).ok());
  return builder.Finish().ValueOrDie();
}

std::vector<std::string> Rendered(const LogicalType& type, const arrow::Array& array) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < array.length(); ++i) AppendRendered(type, array, i, out.emplace_back());
  return out;
}

using Strings = std::vector<std::string>;

TEST(RenderTest, BooleansAreOneLetter) {
  const LogicalType type{.kind = LogicalKind::kBool};
  const auto array = ArrayOf<arrow::BooleanBuilder, bool>(type, {true, false});

  EXPECT_EQ(Rendered(type, *array), (Strings{"t", "f"}));
}

TEST(RenderTest, IntegersOfEveryWidthReachTheirLimits) {
  const LogicalType small{.kind = LogicalKind::kInt16};
  const LogicalType big{.kind = LogicalKind::kInt64};
  const LogicalType oid{.kind = LogicalKind::kUInt32};

  EXPECT_EQ(Rendered(small, *ArrayOf<arrow::Int16Builder, int16_t>(small, {INT16_MIN, 0})),
            (Strings{"-32768", "0"}));
  EXPECT_EQ(Rendered(big, *ArrayOf<arrow::Int64Builder, int64_t>(big, {INT64_MIN, INT64_MAX})),
            (Strings{"-9223372036854775808", "9223372036854775807"}));
  EXPECT_EQ(Rendered(oid, *ArrayOf<arrow::UInt32Builder, uint32_t>(oid, {UINT32_MAX})),
            (Strings{"4294967295"}));
}

TEST(RenderTest, DecimalsHaveAllPlacesOfTheirScale) {
  const LogicalType type{.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2};
  const auto array = ArrayOf<arrow::Decimal128Builder, arrow::Decimal128>(
      type, {arrow::Decimal128(0), arrow::Decimal128(-5), arrow::Decimal128(1250),
             arrow::Decimal128(999'999'999'999)});

  EXPECT_EQ(Rendered(type, *array), (Strings{"0.00", "-0.05", "12.50", "9999999999.99"}));
}

/// Arrow's own printer turns to 1E-10 here.
TEST(RenderTest, SmallDecimalsNeverTurnScientific) {
  const LogicalType type{.kind = LogicalKind::kDecimal, .precision = 12, .scale = 10};
  const auto array =
      ArrayOf<arrow::Decimal128Builder, arrow::Decimal128>(type, {arrow::Decimal128(1)});

  EXPECT_EQ(Rendered(type, *array), (Strings{"0.0000000001"}));
}

TEST(RenderTest, BytesAreHexBehindTheirMark) {
  const LogicalType type{.kind = LogicalKind::kBytes};
  const auto array = ArrayOf<arrow::BinaryBuilder, std::string>(
      type, {std::string("\x00\xff\x10", 3), std::string()});

  EXPECT_EQ(Rendered(type, *array), (Strings{"\\x00ff10", "\\x"}));
}

TEST(RenderTest, UuidsHaveTheirHyphens) {
  const LogicalType type{.kind = LogicalKind::kUuid};
  const auto array = ArrayOf<arrow::FixedSizeBinaryBuilder, std::string>(
      type, {std::string("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16)});

  EXPECT_EQ(Rendered(type, *array), (Strings{"00112233-4455-6677-8899-aabbccddeeff"}));
}

/// Texts from a server: SELECT (DATE '1970-01-01' + n).
TEST(RenderTest, DatesReachFromBeforeChristToFiveDigitYears) {
  const LogicalType type{.kind = LogicalKind::kDate};
  const auto array = ArrayOf<arrow::Date32Builder, int32_t>(
      type, {0, -1, 11'016, 19'782, -719'162, -719'163, -735'160, 2'932'897});

  EXPECT_EQ(Rendered(type, *array),
            (Strings{"1970-01-01", "1969-12-31", "2000-02-29", "2024-02-29", "0001-01-01",
                     "0001-12-31 BC", "0044-03-15 BC", "10000-01-01"}));
}

TEST(RenderTest, TimesDropTrailingZerosOfTheFraction) {
  const LogicalType type{.kind = LogicalKind::kTime};
  const auto array = ArrayOf<arrow::Time64Builder, int64_t>(
      type, {0, 1, 1'500'000, 86'399'999'999, 45'000'100'000});

  EXPECT_EQ(Rendered(type, *array), (Strings{"00:00:00", "00:00:00.000001", "00:00:01.5",
                                             "23:59:59.999999", "12:30:00.1"}));
}

TEST(RenderTest, TimestampsBeforeTheEpochRoundDownToTheirDay) {
  const LogicalType type{.kind = LogicalKind::kTimestamp};
  const LogicalType with_zone{.kind = LogicalKind::kTimestampTz};
  const std::vector<int64_t> values = {0, -1, 1'700'000'000'123'450,
                                       -735'160LL * 86'400'000'000 + 1};

  EXPECT_EQ(Rendered(type, *ArrayOf<arrow::TimestampBuilder>(type, values)),
            (Strings{"1970-01-01 00:00:00", "1969-12-31 23:59:59.999999",
                     "2023-11-14 22:13:20.12345", "0044-03-15 00:00:00.000001 BC"}));
  EXPECT_EQ(Rendered(with_zone, *ArrayOf<arrow::TimestampBuilder>(with_zone, values)),
            (Strings{"1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00",
                     "2023-11-14 22:13:20.12345+00", "0044-03-15 00:00:00.000001+00 BC"}));
}

TEST(RenderTest, ListsQuoteWhatAnArrayLiteralMustQuote) {
  const LogicalType type{.kind = LogicalKind::kList, .element = LogicalKind::kText};
  auto values = std::make_shared<arrow::StringBuilder>();
  arrow::ListBuilder lists(arrow::default_memory_pool(), values);
  ASSERT_TRUE(lists.Append().ok());
  for (const char* element : {"plain", "", "null", "NuLL", "a,b", "a b", "{", "q\"q", "b\\b"}) {
    ASSERT_TRUE(values->Append(element).ok());
  }
  ASSERT_TRUE(values->AppendNull().ok());
  ASSERT_TRUE(lists.Append().ok());
  const auto array = lists.Finish().ValueOrDie();

  EXPECT_EQ(Rendered(type, *array),
            (Strings{R"({plain,"","null","NuLL","a,b","a b","{","q\"q","b\\b",NULL})", "{}"}));
}

TEST(CanonicalTest, FloatsOfEverySpellingMeetInOne) {
  const LogicalType type{.kind = LogicalKind::kFloat64};
  const auto canonical = [&](std::string_view text) {
    std::string out;
    AppendCanonical(type, text, out);
    return out;
  };

  EXPECT_EQ(canonical("1e+20"), canonical("100000000000000000000"));
  EXPECT_EQ(canonical("0.10000000000000001"), canonical("0.1"));
  EXPECT_NE(canonical("0.1"), canonical("0.10000000000000002"));
  EXPECT_NE(canonical("-0"), canonical("0"));
  EXPECT_EQ(canonical("NaN"), "NaN");
  EXPECT_NE(canonical("Infinity"), canonical("-Infinity"));
}

TEST(CanonicalTest, RenderedFloatsAreWhatTheServersTextBecomes) {
  const LogicalType type{.kind = LogicalKind::kFloat64};
  const auto array = ArrayOf<arrow::DoubleBuilder, double>(
      type, {1e15, 1e-5, 0.1, -0.0, std::numeric_limits<double>::infinity(), std::nan(""),
             std::numeric_limits<double>::denorm_min()});
  const Strings server = {"1e+15", "1e-05", "0.1", "-0", "Infinity", "NaN", "5e-324"};

  const Strings rendered = Rendered(type, *array);

  for (size_t i = 0; i < server.size(); ++i) {
    std::string from_target;
    std::string from_source;
    AppendCanonical(type, rendered[i], from_target);
    AppendCanonical(type, server[i], from_source);
    EXPECT_EQ(from_target, from_source) << server[i];
  }
}

TEST(CanonicalTest, AnythingElseIsItsOwnCanonicalForm) {
  std::string out;

  AppendCanonical({.kind = LogicalKind::kText}, "100000.0", out);

  EXPECT_EQ(out, "100000.0");
}

}  // namespace
}  // namespace freshet::verify
