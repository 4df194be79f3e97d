#include <gmock/gmock.h>

#include "change/table_schema.h"
#include "postgres/capture.h"
#include "support/memory_output.h"
#include "support/shared_postgres.h"

/// Every built-in type through COPY and through the stream.
namespace freshet::postgres {
namespace {

using test::PostgresServer;

struct Sample {
  const char* type;
  const char* value;  ///< an SQL expression
  const char* text;   ///< what it must arrive as
  int from_major = 10;
};

/// One value a type, and the extremes where a type has some.
const Sample kSamples[] = {
    {"bool", "true", "true"},
    {"int2", "-32768", "-32768"},
    {"int4", "2147483647", "2147483647"},
    {"int8", "-9223372036854775808", "-9223372036854775808"},
    {"oid", "4294967295", "4294967295"},
    {"xid", "'4294967295'", "4294967295"},
    {"cid", "'7'", "7"},
    {"tid", "'(4294967295,65535)'", "(4294967295,65535)"},
    {"xid8", "'18446744073709551615'", "18446744073709551615", 13},
    {"pg_lsn", "'16/B374D848'", "16/B374D848"},
    {"text", "E'tab\\tnew\\nline\\\\ \\u00e4\\U0001F600'",
     "tab\tnew\nline\\ \xC3\xA4\xF0\x9F\x98\x80"},
    {"text", "''", ""},
    {"text", "'\\N'", "\\N"},
    {"varchar(5)", "'abcde'", "abcde"},
    {"char(5)", "'ab'", "ab   "},
    {"\"char\"", "'x'", "x"},
    {"name", "'a name'", "a name"},
    {"json", "'{ \"a\" : 1 }'", "{ \"a\" : 1 }"},
    {"jsonb", "'{ \"a\" : 1 }'", "{\"a\": 1}"},
    {"jsonpath", "'$.a[*]'", "$.\"a\"[*]", 12},
    {"xml", "'<a>b</a>'", "<a>b</a>"},
    {"money", "'12.50'", "$12.50"},
    {"inet", "'10.0.0.1/8'", "10.0.0.1/8"},
    {"cidr", "'10.0.0.0/8'", "10.0.0.0/8"},
    {"macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"},
    {"macaddr8", "'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05"},
    {"bit(3)", "B'101'", "101"},
    {"varbit", "B'10110'", "10110"},
    {"interval", "'-1 mons +2 days -00:00:01'", "-1 mons +2 days -00:00:01"},
    {"timetz", "'12:00:00+05:30'", "12:00:00+05:30"},
    {"point", "'(1,2)'", "(1,2)"},
    {"line", "'{1,2,3}'", "{1,2,3}"},
    {"lseg", "'[(1,2),(3,4)]'", "[(1,2),(3,4)]"},
    {"box", "'(3,4),(1,2)'", "(3,4),(1,2)"},
    {"path", "'[(1,2),(3,4)]'", "[(1,2),(3,4)]"},
    {"polygon", "'((1,2),(3,4))'", "((1,2),(3,4))"},
    {"circle", "'<(1,2),3>'", "<(1,2),3>"},
    {"tsvector", "'a:1 b:2'", "'a':1 'b':2"},
    {"tsquery", "'a & b'", "'a' & 'b'"},
    {"int4range", "'[1,5)'", "[1,5)"},
    {"tstzrange", "'empty'", "empty"},
    {"int4multirange", "'{[1,3),[5,7)}'", "{[1,3),[5,7)}", 14},
    {"regclass", "'pg_class'", "pg_class"},
    {"regtype", "'int4'", "integer"},
    {"txid_snapshot", "'10:20:10,14'", "10:20:10,14"},
    {"numeric", "'-0.000000000000000000000000000001'", "-0.000000000000000000000000000001"},
    {"numeric", "'NaN'", "NaN"},
    {"public.addr", "'(x,1)'", "(x,1)"},
};

class TypesTest : public test::SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.slot = name_;
    options_.tables = {"public.*"};
  }

  /// Rows of a table made of `columns`, with the same values before the snapshot and in the stream.
  std::vector<std::string> BothWays(const std::string& columns, const std::string& values) {
    Run("CREATE TABLE public.t (id int PRIMARY KEY, " + columns + ")");
    Run("INSERT INTO public.t VALUES (1, " + values + ")");
    test::RunningCapture capture(options_, output_);
    EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("INSERT INTO public.t VALUES (1001, " + values + ")");
    EXPECT_TRUE(output_.WaitForEvents(2)) << capture.status().reason;
    return output_.Events();
  }

  Options options_;
  test::MemoryOutput output_;
};

TEST_P(TypesTest, EveryTypeArrivesExactlyByCopyAndByStream) {
  Run("CREATE TYPE public.addr AS (a text, b int)");
  std::string columns;
  std::string values;
  std::string expected;
  int count = 0;
  for (const Sample& sample : kSamples) {
    if (sample.from_major > GetParam()) continue;
    const std::string comma = count == 0 ? "" : ", ";
    columns += comma + "c" + std::to_string(count) + " " + sample.type;
    values += comma + sample.value;
    expected += std::string(" | ") + sample.text;
    ++count;
  }

  const auto events = BothWays(columns, values);

  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0], "snapshot public.t 1" + expected);
  EXPECT_EQ(events[1], "insert public.t 1001" + expected);
}

TEST_P(TypesTest, TypedColumnsArriveTheSameBothWays) {
  const auto events = BothWays(
      "a float4, b float8, c float8, d date, e date, f time, g timestamp, h timestamptz, i uuid,"
      " j bytea, k numeric(38,10), l numeric(5,2), m int4[], n text[], o timestamptz[], p float4,"
      " q bool, r text, s numeric(12,2)[]",
      "1.5, 'Infinity', 'NaN', '0001-01-01', '9999-12-31', '23:59:59.999999',"
      " '2024-02-29 12:34:56.789', '1969-12-31 23:59:59.999999+00',"
      " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff10',"
      " 1234567890123456789012345678.0123456789, -0.05, '{1,NULL,3}',"
      " '{\"a,b\",\"\",NULL,\"NULL\"}', '{2024-01-01 00:00:00+00}', '-0', NULL, NULL,"
      " '{1.50,-2}'");

  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].substr(std::string("snapshot public.t 1").size()),
            events[1].substr(std::string("insert public.t 1001").size()));
  EXPECT_THAT(events[0], testing::HasSubstr("1234567890123456789012345678.0123456789"));
  EXPECT_THAT(events[0], testing::HasSubstr("\xA0\xEE\xBC\x99"));
  EXPECT_THAT(events[0], testing::Not(testing::HasSubstr(" = ")));  // no exceptions
}

/// What Arrow cannot hold is null there, with the exact text beside it.
TEST_P(TypesTest, ValuesBeyondTheirColumnKeepTheirText) {
  const auto events = BothWays(
      "a date, b date, c timestamp, d timestamptz, e time, f numeric(10,2), g int4[], h int4[]",
      "'infinity', '0044-03-15 BC', '-infinity', '294276-12-31 23:59:59.999999+00', '24:00:00',"
      " 'NaN', '{{1,2},{3,4}}', '[0:1]={7,8}'");

  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].substr(std::string("snapshot public.t 1").size()),
            events[1].substr(std::string("insert public.t 1001").size()));
  EXPECT_THAT(events[0], testing::HasSubstr("(a = infinity)"));
  EXPECT_THAT(events[0], testing::HasSubstr("(f = NaN)"));
  EXPECT_THAT(events[0], testing::HasSubstr("(g = {{1,2},{3,4}})"));
}

TEST_P(TypesTest, UsersTypesAreKnownByTheCatalog) {
  Run("CREATE TYPE public.mood AS ENUM ('sad', 'o''k');"
      "CREATE DOMAIN public.price AS numeric(10,2);"
      "CREATE DOMAIN public.deep AS public.price;"
      "CREATE TYPE public.span AS RANGE (subtype = int4)");

  // Arrays of domains came with 11.
  const std::string prices = GetParam() >= 11 ? "public.price[]" : "numeric(10,2)[]";
  const auto events =
      BothWays("a public.mood, b public.deep, c public.mood[], d " + prices + ", e public.span",
               "'o''k', 1.5, '{sad,\"o''k\"}', '{1,2}', '[1,3)'");

  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].substr(std::string("snapshot public.t 1").size()),
            events[1].substr(std::string("insert public.t 1001").size()));
  std::vector<std::string> types;
  for (const auto& batch : output_.batches()) {
    if (batch->tables.empty()) continue;
    types.clear();
    for (const auto& column : batch->tables[0].schema->columns()) {
      types.push_back(change::ToString(column.type) + " " + column.type_name);
    }
  }
  EXPECT_THAT(types[1], testing::HasSubstr("public.mood"));
  EXPECT_THAT(types[2], testing::StartsWith("decimal(10,2)"));
  EXPECT_THAT(types[3], testing::StartsWith("list<"));
  EXPECT_THAT(types[4], testing::StartsWith("list<decimal(10,2)>"));
}

TEST_P(TypesTest, GeneratedAndDroppedColumnsAreLeftOut) {
  if (GetParam() < 12) GTEST_SKIP() << "generated columns came with 12";

  const auto events =
      BothWays("gone int, n int, twice int GENERATED ALWAYS AS (n * 2) STORED", "0, 21");

  EXPECT_THAT(events, testing::ElementsAre("snapshot public.t 1 | 0 | 21",
                                           "insert public.t 1001 | 0 | 21"));
}

TEST_P(TypesTest, OddNamesArriveAsTheyAre) {
  Run("CREATE SCHEMA \"Odd \"\"Schema\"");
  options_.tables = {"Odd*.*"};
  Run("CREATE TABLE \"Odd \"\"Schema\".\"ta.ble\nx\" (\"Id\" int PRIMARY KEY, \"select\" text);"
      "INSERT INTO \"Odd \"\"Schema\".\"ta.ble\nx\" VALUES (1, 'a')");
  test::RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO \"Odd \"\"Schema\".\"ta.ble\nx\" VALUES (2, 'b')");
  ASSERT_TRUE(output_.WaitForEvents(2));

  EXPECT_THAT(output_.Events(), testing::ElementsAre("snapshot Odd \"Schema.ta.ble\nx 1 | a",
                                                     "insert Odd \"Schema.ta.ble\nx 2 | b"));
}

INSTANTIATE_TEST_SUITE_P(Majors, TypesTest, ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
