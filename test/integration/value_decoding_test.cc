// Random values of each type, as a real server writes them, decoded and compared with what the
// server's own binary output says they are.

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "postgres/connection.h"
#include "postgres/copy_text.h"
#include "support/batches.h"
#include "support/postgres_server.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;
using change::LogicalType;
using test::PostgresServer;

constexpr int kRows = 3000;

/// A type, an expression for random values of it over generate_series g, and one over such a value
/// v that says exactly which it is, as Exact() does.
struct Case {
  const char* name;
  LogicalType type;
  std::string random;
  std::string oracle;
};

/// The integer in a value's binary form, plus what we count differently.
std::string Bits(std::string_view send, int bits, std::string_view plus = "0") {
  return fmt::format("(('x' || encode({}(v), 'hex'))::bit({})::int{} + {})::text", send, bits,
                     bits / 8, plus);
}

constexpr std::string_view kRandomText =
    "(select coalesce(string_agg(chr(1 + (random() * 300)::int), ''), '') "
    "from generate_series(1, g % 40) as n where g > 0)";

std::vector<Case> Cases() {
  const std::string stamp =
      "timestamp '4713-01-01 00:00:00 BC' + random() * 298000 * interval '365 days'";
  const std::string text(kRandomText);
  const std::string kEpoch = "946684800000000";
  const std::string elements =
      "(select coalesce(string_agg(coalesce(encode(convert_to(e::text, 'UTF8'), 'hex'), 'NULL'), "
      "',' order by n), '') from unnest(v) with ordinality as u(e, n))";
  const std::string random_double = "((random() - 0.5) * power(10::float8, random() * 600 - 300))";
  return {
      {"bool", {.kind = LogicalKind::kBool}, "random() < 0.5", "v::int::text"},
      {"int16", {.kind = LogicalKind::kInt16}, "(random() * 65535 - 32768)::int2", "v::text"},
      {"int32",
       {.kind = LogicalKind::kInt32},
       "(random() * 4294967295 - 2147483648)::int4",
       Bits("int4send", 32)},
      {"int64",
       {.kind = LogicalKind::kInt64},
       "(random() * 9e18 - 9e18 * random())::int8 / (10 ^ (g % 19))::int8",
       Bits("int8send", 64)},
      {"oid", {.kind = LogicalKind::kUInt32}, "(random() * 4294967295)::int8::oid", "v::text"},
      {"float32",
       {.kind = LogicalKind::kFloat32},
       "((random() - 0.5) * power(10::float8, random() * 70 - 35))::float4",
       Bits("float4send", 32)},
      {"float64", {.kind = LogicalKind::kFloat64}, random_double, Bits("float8send", 64)},
      {"decimal",
       {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2},
       "((random() - 0.5) * 10 ^ (g % 11))::numeric(12,2)",
       "trunc(v * 100)::text"},
      {"wide decimal",
       {.kind = LogicalKind::kDecimal, .precision = 38, .scale = 10},
       "((random() - 0.5)::numeric * (random()::numeric * 1e28))::numeric(38,10)",
       "trunc(v * 10000000000)::text"},
      {"text", {.kind = LogicalKind::kText}, text, "encode(convert_to(v, 'UTF8'), 'hex')"},
      {"bytes",
       {.kind = LogicalKind::kBytes},
       "convert_to(" + text + ", 'UTF8')",
       "encode(v, 'hex')"},
      {"date",
       {.kind = LogicalKind::kDate},
       "date '4713-01-01 BC' + (random() * (CASE WHEN g % 2 = 0 THEN 2e9 ELSE 3e6 END))::int",
       Bits("date_send", 32, "10957")},
      {"time",
       {.kind = LogicalKind::kTime},
       "time '00:00' + random() * interval '86399.999999 s'",
       Bits("time_send", 64)},
      {"timestamp", {.kind = LogicalKind::kTimestamp}, stamp, Bits("timestamp_send", 64, kEpoch)},
      {"timestamptz",
       {.kind = LogicalKind::kTimestampTz},
       "(" + stamp + ") at time zone 'UTC'",
       Bits("timestamptz_send", 64, kEpoch)},
      {"recent timestamptz",
       {.kind = LogicalKind::kTimestampTz},
       "(timestamp '1890-01-01' + random() * interval '300 years') at time zone 'UTC'",
       Bits("timestamptz_send", 64, kEpoch)},
      {"uuid",
       {.kind = LogicalKind::kUuid},
       "md5(random()::text)::uuid",
       "encode(uuid_send(v), 'hex')"},
      {"int list",
       {.kind = LogicalKind::kList, .element = LogicalKind::kInt32},
       "array(select nullif((random() * 100)::int, g % 100) from generate_series(1, g % 5))",
       elements},
      {"text list",
       {.kind = LogicalKind::kList, .element = LogicalKind::kText},
       "array[" + text + ", null, 'NULL', '', " + text + "]",
       elements},
  };
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

/// The value at `row` in the form the oracles have.
std::string Exact(const arrow::Array& array, int64_t row) {
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(array).Value(row) ? "1" : "0";
    case arrow::Type::INT16:
      return std::to_string(static_cast<const arrow::Int16Array&>(array).Value(row));
    case arrow::Type::INT32:
      return std::to_string(static_cast<const arrow::Int32Array&>(array).Value(row));
    case arrow::Type::UINT32:
      return std::to_string(static_cast<const arrow::UInt32Array&>(array).Value(row));
    case arrow::Type::DATE32:
      return std::to_string(static_cast<const arrow::Date32Array&>(array).Value(row));
    case arrow::Type::INT64:
      return std::to_string(static_cast<const arrow::Int64Array&>(array).Value(row));
    case arrow::Type::TIME64:
      return std::to_string(static_cast<const arrow::Time64Array&>(array).Value(row));
    case arrow::Type::TIMESTAMP:
      return std::to_string(static_cast<const arrow::TimestampArray&>(array).Value(row));
    case arrow::Type::FLOAT:
      return std::to_string(
          std::bit_cast<int32_t>(static_cast<const arrow::FloatArray&>(array).Value(row)));
    case arrow::Type::DOUBLE:
      return std::to_string(
          std::bit_cast<int64_t>(static_cast<const arrow::DoubleArray&>(array).Value(row)));
    case arrow::Type::DECIMAL128:
      return arrow::Decimal128(static_cast<const arrow::Decimal128Array&>(array).Value(row))
          .ToIntegerString();
    case arrow::Type::STRING:
      return Hex(static_cast<const arrow::StringArray&>(array).GetView(row));
    case arrow::Type::BINARY:
      return Hex(static_cast<const arrow::BinaryArray&>(array).GetView(row));
    case arrow::Type::FIXED_SIZE_BINARY:
      return Hex(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(row));
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      std::string out;
      for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
        if (i > list.value_offset(row)) out += ',';
        const bool text = list.values()->type_id() == arrow::Type::STRING;
        if (list.values()->IsNull(i)) {
          out += "NULL";
        } else {
          const std::string element = Exact(*list.values(), i);
          out += text ? element : Hex(element);
        }
      }
      return out;
    }
    default:
      return "of a type without oracle";
  }
}

class ValueDecodingTest : public ::testing::TestWithParam<int> {};

TEST_P(ValueDecodingTest, RandomValuesAreWhatTheServerSaysTheyAre) {
  auto server = PostgresServer::Start({.major = GetParam(), .settings = {}, .encoding = "UTF8"});
  ASSERT_TRUE(server.has_value()) << server.error();
  auto connection = Connection::Connect((*server)->url(), {});
  ASSERT_TRUE(connection.has_value()) << connection.error();

  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    CopyTextReader reader(test::MakeSchema(
        {"public", "t"},
        {test::MakeColumn("v", c.type), test::MakeColumn("oracle", LogicalKind::kExactText)}));
    const Status started = connection->StartCopyOut(
        fmt::format("COPY (SELECT v, {} FROM (SELECT {} AS v FROM generate_series(1, {}) AS g "
                    "OFFSET 0) AS s) TO STDOUT",
                    c.oracle, c.random, kRows));
    ASSERT_TRUE(started.has_value()) << started.error();
    CopyMessage row;
    for (;;) {
      const auto more = connection->ReadCopy(row);
      ASSERT_TRUE(more.has_value()) << more.error();
      if (!*more) break;
      const Status added =
          reader.Add({reinterpret_cast<const char*>(row.bytes().data()), row.bytes().size()});
      ASSERT_TRUE(added.has_value()) << added.error();
    }

    const auto changes = reader.Finish(0);

    ASSERT_TRUE(changes.has_value()) << changes.error();
    ASSERT_EQ(changes->num_rows(), kRows);
    EXPECT_TRUE(changes->exceptions.empty()) << changes->exceptions[0].text;
    const auto& values = *changes->rows->column(0);
    const auto& oracle = static_cast<const arrow::StringArray&>(*changes->rows->column(1));
    ASSERT_EQ(values.null_count(), 0);
    for (int64_t i = 0; i < kRows; ++i) {
      ASSERT_EQ(Exact(values, i), oracle.GetView(i)) << "row " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Majors, ValueDecodingTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& major) { return fmt::format("{}", major.param); });

}  // namespace
}  // namespace freshet::postgres
