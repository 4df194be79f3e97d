#include "verify/target_side.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "postgres/copy_text.h"
#include "support/batches.h"
#include "verify/copy_text.h"

namespace freshet::verify {
namespace {

using change::LogicalKind;
using change::LogicalType;

/// A batch of `schema`'s columns, as decoded, with its exceptions in the column that targets keep.
std::shared_ptr<arrow::RecordBatch> AsTarget(const change::TableChanges& changes) {
  std::vector<std::string> exceptions(static_cast<size_t>(changes.num_rows()));
  for (const change::ValueException& e : changes.exceptions) {
    std::string& object = exceptions[static_cast<size_t>(e.row)];
    object += object.empty() ? "{" : ",";
    object += "\"" + changes.schema->columns()[static_cast<size_t>(e.column)].name + "\":\"";
    for (const char c : e.text)
      object += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    object += "\"";
  }
  arrow::StringBuilder column;
  for (const std::string& object : exceptions) {
    EXPECT_TRUE((object.empty() ? column.AppendNull() : column.Append(object + "}")).ok());
  }
  auto columns = changes.rows->columns();
  columns.push_back(column.Finish().ValueOrDie());
  auto fields = changes.rows->schema()->fields();
  fields.push_back(arrow::field("_cdc_exceptions", arrow::utf8()));
  return arrow::RecordBatch::Make(arrow::schema(fields), changes.num_rows(), columns);
}

struct TypeCase {
  const char* name;
  LogicalType type;
  std::vector<const char*> copy_texts;  ///< fields as COPY writes them
};

/// Values as a server of PostgreSQL 15 prints them, ordinary and extreme.
const std::vector<TypeCase>& TypeMatrix() {
  static const std::vector<TypeCase> kCases = {
      {"bool", {.kind = LogicalKind::kBool}, {"t", "f", "\\N"}},
      {"int2", {.kind = LogicalKind::kInt16}, {"-32768", "32767", "0"}},
      {"int4", {.kind = LogicalKind::kInt32}, {"-2147483648", "2147483647"}},
      {"int8", {.kind = LogicalKind::kInt64}, {"-9223372036854775808", "9223372036854775807"}},
      {"oid", {.kind = LogicalKind::kUInt32}, {"0", "4294967295"}},
      {"float4",
       {.kind = LogicalKind::kFloat32},
       {"1.5", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e+38", "-0", "0.1"}},
      {"float8",
       {.kind = LogicalKind::kFloat64},
       {"0.1", "1e+15", "100000", "1e-05", "5e-324", "1.7976931348623157e+308", "NaN", "-Infinity",
        "123456789.123"}},
      {"decimal",
       {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2},
       {"0.00", "-0.01", "9999999999.99", "-9999999999.99", "NaN", "\\N"}},
      {"wide decimal",
       {.kind = LogicalKind::kDecimal, .precision = 38, .scale = 10},
       {"9999999999999999999999999999.9999999999", "0.0000000001"}},
      {"numeric text",
       {.kind = LogicalKind::kNumericText},
       {"1", "1.0", "1.00", "123456789012345678901234567890123456789012345678901234567890.5", "NaN",
        "Infinity", "-Infinity"}},
      {"text",
       {.kind = LogicalKind::kText},
       {"", "a\\tb\\nc\\\\d", "\\\\N", "zoë 🚀", "padded   ", "\\N"}},
      {"json",
       {.kind = LogicalKind::kJson},
       {"{\"a\": [1, null, \"\\\\u00e9\"]}", "null", "  {\"b\" :1}"}},
      {"bytea", {.kind = LogicalKind::kBytes}, {"\\\\x", "\\\\x00ff10", "\\N"}},
      {"date",
       {.kind = LogicalKind::kDate},
       {"2024-02-29", "0001-01-01", "0044-03-15 BC", "4713-01-01 BC", "99999-12-31", "infinity",
        "-infinity"}},
      {"time",
       {.kind = LogicalKind::kTime},
       {"00:00:00", "23:59:59.999999", "12:00:00.5", "24:00:00"}},
      {"timestamp",
       {.kind = LogicalKind::kTimestamp},
       {"2024-02-29 12:34:56.789", "1969-12-31 23:59:59.999999", "0044-03-15 12:00:00 BC",
        "294276-12-31 23:59:59.999999", "infinity", "-infinity"}},
      {"timestamptz",
       {.kind = LogicalKind::kTimestampTz},
       {"2024-02-29 12:34:56.000001+00", "4714-11-24 00:00:00+00 BC", "10000-01-01 00:00:00+00",
        "294276-12-31 23:59:59.999999+00", "infinity", "\\N"}},
      {"uuid",
       {.kind = LogicalKind::kUuid},
       {"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
      {"exact text",
       {.kind = LogicalKind::kExactText},
       {"1 year 2 mons -00:00:01", "[2024-01-01,2024-02-01)", "192.168.0.1/24", "(1,\"a b\")"}},
      {"int4[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kInt32},
       {"{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "\\N"}},
      {"text[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kText},
       {"{a,\"\",\"null\",NULL,\"a,b\",\"a b\",\"{\",\"q\\\\\"q\",\"b\\\\\\\\b\"}", "{zoë}"}},
      {"timestamptz[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kTimestampTz},
       {"{\"2024-02-29 12:34:56+00\",NULL}", "{infinity}"}},
      {"float8[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kFloat64},
       {"{1e+15,100000,NaN,Infinity,NULL}"}},
      {"numeric[]",
       {.kind = LogicalKind::kList, .precision = 12, .scale = 2, .element = LogicalKind::kDecimal},
       {"{1.50,NULL,-0.01}", "{NaN}"}},
      {"bytea[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kBytes},
       {"{\"\\\\\\\\x00ff\"}"}},
      {"bool[]", {.kind = LogicalKind::kList, .element = LogicalKind::kBool}, {"{t,f,NULL}"}},
      {"uuid[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kUuid},
       {"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"}},
      {"date[]",
       {.kind = LogicalKind::kList, .element = LogicalKind::kDate},
       {"{2024-02-29,\"0044-03-15 BC\"}"}},
  };
  return kCases;
}

/// Decoding by postgres/ and rendering by verify/ are two ways over the same ground: the text at
/// the end is the one at the start, for every type.
TEST(TargetSideTest, RenderingUndoesDecodingForEveryType) {
  for (const TypeCase& type_case : TypeMatrix()) {
    SCOPED_TRACE(type_case.name);
    const auto schema = test::MakeSchema(
        {"public", "t"},
        {test::MakeColumn("id", LogicalKind::kInt32, true), test::MakeColumn("v", type_case.type)});
    postgres::CopyTextReader reader(schema);
    std::vector<std::string> lines;
    for (const char* text : type_case.copy_texts) {
      lines.push_back(std::to_string(lines.size()) + "\t" + text);
      const Status added = reader.Add(lines.back());
      ASSERT_TRUE(added.has_value()) << added.error();
    }
    const auto changes = reader.Finish(0);
    ASSERT_TRUE(changes.has_value()) << changes.error();

    size_t at = 0;
    const Status visited =
        VisitRows(*schema, *AsTarget(*changes), [&](const Row& from_target) -> Status {
          Row from_source;
          const Status read =
              ReadCopyLine(lines[at], {{.kind = LogicalKind::kInt32}, type_case.type}, from_source);
          EXPECT_TRUE(read.has_value());
          EXPECT_EQ(from_target.bytes(), from_source.bytes())
              << lines[at] << " came back as " << from_target.text(1);
          ++at;
          return {};
        });

    ASSERT_TRUE(visited.has_value()) << visited.error();
    EXPECT_EQ(at, lines.size());
  }
}

TEST(TargetSideTest, AValueBesideItsExceptionIsRefused) {
  const auto schema = test::MakeItemsSchema();
  auto changes = change::TableChanges{};
  changes.schema = schema;
  changes.rows = test::MakeRows(*schema, {{"1", "nut", "0.10"}});
  changes.kinds = {change::ChangeKind::kSnapshot};
  changes.exceptions = {{.row = 0, .column = 2, .text = "NaN"}};

  const Status visited =
      VisitRows(*schema, *AsTarget(changes), [](const Row&) { return Status{}; });

  ASSERT_FALSE(visited.has_value());
  EXPECT_EQ(visited.error().kind, ErrorKind::kMalformed);
}

TEST(TargetSideTest, OtherTypesThanAskedForAreRefused) {
  const auto schema = test::MakeItemsSchema();
  const auto other =
      test::MakeSchema({"public", "items"}, {test::MakeColumn("id", LogicalKind::kInt32, true),
                                             test::MakeColumn("name", LogicalKind::kText),
                                             test::MakeColumn("amount", LogicalKind::kText)});
  auto changes = change::TableChanges{};
  changes.schema = other;
  changes.rows = test::MakeRows(*other, {{"1", "nut", "0.10"}});
  changes.kinds = {change::ChangeKind::kSnapshot};

  const Status visited =
      VisitRows(*schema, *AsTarget(changes), [](const Row&) { return Status{}; });

  ASSERT_FALSE(visited.has_value());
  EXPECT_NE(visited.error().message.find("column id"), std::string::npos) << visited.error();
}

TEST(TargetSideTest, KeysBecomeABatchOfTheKeyColumns) {
  const auto schema =
      test::MakeSchema({"public", "t"}, {test::MakeColumn("a", LogicalKind::kText, true),
                                         test::MakeColumn("v", LogicalKind::kInt32),
                                         test::MakeColumn("b", LogicalKind::kInt64, true)});

  const auto batch = KeysAsBatch(*schema, {{"x\ty\\", "1"}, {"", "2"}});

  ASSERT_TRUE(batch.has_value()) << batch.error();
  EXPECT_EQ(test::RowTexts(**batch), (std::vector<std::string>{"x\ty\\ | 1", " | 2"}));
}

class FakeReadBack final : public sink::ReadBack {
 public:
  Status Scan(const change::TableSchema&, const std::shared_ptr<arrow::RecordBatch>&,
              const Visit&) override {
    return Fail(kind, "as told");
  }
  ErrorKind kind = ErrorKind::kNotFound;
};

TEST(TargetSideTest, ATableThatIsNotThereIsEmptyAndAnyOtherErrorIsOne) {
  FakeReadBack read_back;
  const auto schema = test::MakeItemsSchema();
  TargetSide side(read_back, *schema);
  const auto visit = [](const Row&) { return Status{}; };

  EXPECT_TRUE(side.ReadAll(visit).has_value());
  read_back.kind = ErrorKind::kIo;
  EXPECT_FALSE(side.ReadAll(visit).has_value());
}

}  // namespace
}  // namespace freshet::verify
