#include "postgres/column_builder.h"

#include <arrow/array/array_base.h>
#include <arrow/array/array_nested.h>
#include <arrow/array/util.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "support/batches.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;
using change::LogicalType;
using change::ValueException;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Text = std::optional<std::string>;

/// Gives cells for texts, laid out as rows with something between the columns.
class Block {
 public:
  explicit Block(const std::vector<Text>& texts) {
    for (const Text& text : texts) {
      bytes_ += '#';
      Cell cell;
      if (text) {
        cell = {.offset = static_cast<uint32_t>(bytes_.size()),
                .size = static_cast<int32_t>(text->size())};
        bytes_ += *text;
      }
      cells_.push_back(cell);
      cells_.push_back({.offset = 0, .size = 1});  // the next column's
    }
  }

  void SetUnchanged(size_t row) { cells_[row * 2].size = Cell::kUnchanged; }

  CellColumn column() const {
    return {.base = bytes_.data(),
            .first = cells_.data(),
            .stride = 2,
            .count = std::ssize(cells_) / 2};
  }

 private:
  std::string bytes_;
  std::vector<Cell> cells_;
};

/// A finished column, checked by Arrow, value by value as text.
struct Built {
  std::vector<std::string> values;
  std::vector<int64_t> unchanged;
  int64_t nulls = 0;
};

Built FinishColumn(ColumnBuilder& builder) {
  auto column = builder.Finish();
  EXPECT_TRUE(column.has_value()) << column.error();
  const auto array = arrow::MakeArray(column->values);
  EXPECT_TRUE(array->ValidateFull().ok()) << array->ValidateFull();
  Built out{.values = {}, .unchanged = std::move(column->unchanged), .nulls = array->null_count()};
  for (int64_t i = 0; i < array->length(); ++i) out.values.push_back(test::ValueText(*array, i));
  return out;
}

/// The values of one block, and what was an exception in it.
Built Build(const LogicalType& type, const std::vector<Text>& texts,
            std::vector<ValueException>* exceptions = nullptr) {
  const auto builder = ColumnBuilder::Create(type);
  std::vector<ValueException> found;
  const Status status = builder->Append(Block(texts).column(), found);
  EXPECT_TRUE(status.has_value()) << status.error();
  if (exceptions != nullptr) {
    *exceptions = found;
  } else {
    EXPECT_THAT(found, IsEmpty());
  }
  return FinishColumn(*builder);
}

TEST(ColumnBuilderTest, ValuesOfEveryKind) {
  const auto one = [](LogicalKind kind, const char* text) {
    return Build({.kind = kind}, {text, std::nullopt, text}).values;
  };

  EXPECT_THAT(one(LogicalKind::kBool, "t"), ElementsAre("true", "NULL", "true"));
  EXPECT_THAT(one(LogicalKind::kInt16, "-7"), ElementsAre("-7", "NULL", "-7"));
  EXPECT_THAT(one(LogicalKind::kInt32, "70000"), ElementsAre("70000", "NULL", "70000"));
  EXPECT_THAT(one(LogicalKind::kInt64, "-9223372036854775808")[0], "-9223372036854775808");
  EXPECT_THAT(one(LogicalKind::kUInt32, "4294967295")[2], "4294967295");
  EXPECT_THAT(one(LogicalKind::kFloat32, "0.5")[0], "0.5");
  EXPECT_THAT(one(LogicalKind::kFloat64, "-1.5e+300")[0], "-1.5e+300");
  EXPECT_THAT(one(LogicalKind::kNumericText, "1.500")[0], "1.500");
  EXPECT_THAT(one(LogicalKind::kText, "a\tb"), ElementsAre("a\tb", "NULL", "a\tb"));
  EXPECT_THAT(one(LogicalKind::kJson, "{\"a\": 1}")[0], "{\"a\": 1}");
  EXPECT_THAT(one(LogicalKind::kExactText, "1 mon")[0], "1 mon");
  EXPECT_THAT(one(LogicalKind::kBytes, "\\x6162"), ElementsAre("ab", "NULL", "ab"));
  EXPECT_THAT(one(LogicalKind::kDate, "2024-02-29")[2], "2024-02-29");
  EXPECT_THAT(one(LogicalKind::kTime, "12:34:56.5")[0], HasSubstr("12:34:56.5"));
  EXPECT_THAT(one(LogicalKind::kTimestamp, "2024-02-29 12:00:00")[0],
              HasSubstr("2024-02-29 12:00:00"));
  EXPECT_THAT(one(LogicalKind::kTimestampTz, "2024-02-29 12:00:00+02")[0],
              HasSubstr("2024-02-29 10:00:00"));
  EXPECT_THAT(one(LogicalKind::kUuid, "61626364-6566-6768-696a-6b6c6d6e6f70")[0],
              "abcdefghijklmnop");
  EXPECT_THAT(Build({.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2}, {"-1.50"}).values,
              ElementsAre("-1.50"));
}

TEST(ColumnBuilderTest, ExceptionsAreNullAndKeepTheirText) {
  std::vector<ValueException> exceptions;

  const Built built = Build({.kind = LogicalKind::kDecimal, .precision = 5, .scale = 2},
                            {"1.00", "NaN", "2.00", std::nullopt, "-Infinity"}, &exceptions);

  EXPECT_THAT(built.values, ElementsAre("1.00", "NULL", "2.00", "NULL", "NULL"));
  EXPECT_THAT(exceptions, ElementsAre(ValueException{.row = 1, .column = 0, .text = "NaN"},
                                      ValueException{.row = 4, .column = 0, .text = "-Infinity"}));
}

TEST(ColumnBuilderTest, UnchangedRowsAreNullAndMarked) {
  const auto builder = ColumnBuilder::Create({.kind = LogicalKind::kText});
  std::vector<ValueException> exceptions;
  Block block({"a", "b", "c"});
  block.SetUnchanged(1);

  ASSERT_TRUE(builder->Append(block.column(), exceptions).has_value());

  const Built built = FinishColumn(*builder);
  EXPECT_THAT(built.values, ElementsAre("a", "NULL", "c"));
  EXPECT_THAT(built.unchanged, ElementsAre(1));
}

/// Block after block, with a null here and there, and again after Finish().
TEST(ColumnBuilderTest, BlocksFollowEachOther) {
  const auto builder = ColumnBuilder::Create({.kind = LogicalKind::kText});
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> expected;
    std::vector<ValueException> exceptions;
    for (int block = 0; block < 50; ++block) {
      std::vector<Text> texts;
      for (int row = 0; row < block; ++row) {
        if ((row + block) % 7 == round) {
          texts.emplace_back();
          expected.emplace_back("NULL");
        } else {
          texts.emplace_back(std::string(static_cast<size_t>(row % 20), 'x'));
          expected.push_back(*texts.back());
        }
      }
      ASSERT_TRUE(builder->Append(Block(texts).column(), exceptions).has_value());
    }
    EXPECT_EQ(FinishColumn(*builder).values, expected);
    EXPECT_EQ(builder->length(), 0);
  }
}

TEST(ColumnBuilderTest, EmptyColumnIsValid) {
  for (const LogicalKind kind : {LogicalKind::kBool, LogicalKind::kInt64, LogicalKind::kText,
                                 LogicalKind::kUuid, LogicalKind::kList}) {
    EXPECT_THAT(Build({.kind = kind}, {}).values, IsEmpty());
  }
}

TEST(ColumnBuilderTest, ColumnWithoutNullsHasNoBitmap) {
  const auto builder = ColumnBuilder::Create({.kind = LogicalKind::kInt64});
  std::vector<ValueException> exceptions;
  ASSERT_TRUE(builder->Append(Block({"1", "2"}).column(), exceptions).has_value());

  const auto column = builder->Finish();

  ASSERT_TRUE(column.has_value());
  EXPECT_EQ(arrow::MakeArray(column->values)->null_bitmap(), nullptr);
}

TEST(ColumnBuilderTest, TextOfAnotherTypeIsMalformedAndNotQuoted) {
  const auto builder = ColumnBuilder::Create({.kind = LogicalKind::kInt64});
  std::vector<ValueException> exceptions;

  const Status status = builder->Append(Block({"1", "secret"}).column(), exceptions);

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kMalformed);
  EXPECT_THAT(status.error().message, HasSubstr("int64"));
  EXPECT_THAT(status.error().message, Not(HasSubstr("secret")));
}

/// The values of one block of a column with such rules, an exception as "! text".
std::vector<std::string> Read(const LogicalType& type, const TextRules& text,
                              const std::vector<Text>& texts, bool key = false) {
  const auto builder = ColumnBuilder::Create(type, text, key);
  std::vector<ValueException> exceptions;
  const Status status = builder->Append(Block(texts).column(), exceptions);
  EXPECT_TRUE(status.has_value()) << status.error();
  std::vector<std::string> out = FinishColumn(*builder).values;
  for (const ValueException& e : exceptions) out[static_cast<size_t>(e.row)] = "! " + e.text;
  return out;
}

TextRules RulesOf(std::string_view encoding, InvalidText invalid = InvalidText::kQuarantine) {
  return {*TextConverter::Create(encoding), invalid};
}

/// Two values that are sound together and broken each for itself must not pass.
TEST(ColumnBuilderTest, TextThatIsNotUtf8IsAnExceptionWithItsBytes) {
  const LogicalType type{.kind = LogicalKind::kText};

  EXPECT_THAT(Read(type, {}, {"a", "\xFF", "é"}), ElementsAre("a", "! \\xff", "é"));
  EXPECT_THAT(Read(type, {}, {"\xC3", "\xA9"}), ElementsAre("! \\xc3", "! \\xa9"));
  EXPECT_THAT(Read(type, {}, {std::nullopt, "\xED\xA0\x80", "\xC0\x80", std::nullopt}),
              ElementsAre("NULL", "! \\xeda080", "! \\xc080", "NULL"));
  EXPECT_THAT(Read(type, {}, {"é", "😀", ""}), ElementsAre("é", "😀", ""));
}

TEST(ColumnBuilderTest, InvalidTextMeetsThePolicy) {
  const LogicalType type{.kind = LogicalKind::kText};

  EXPECT_THAT(Read(type, RulesOf("SQL_ASCII", InvalidText::kReplace), {"a\xFF\xFF", "é"}),
              ElementsAre("a\uFFFD\uFFFD", "é"));
  EXPECT_THAT(Read(type, RulesOf("SQL_ASCII", InvalidText::kBytes), {"a\xFF", "é"}),
              ElementsAre("a\\xff", "é"));
  const auto builder =
      ColumnBuilder::Create(type, RulesOf("SQL_ASCII", InvalidText::kFail), /*key=*/false);
  std::vector<ValueException> exceptions;
  const Status status = builder->Append(Block({"a\xFF"}).column(), exceptions);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
  EXPECT_THAT(status.error().message, HasSubstr("source.postgres.invalid_text"));
}

TEST(ColumnBuilderTest, TextOfOtherEncodingsBecomesUtf8) {
  const LogicalType list{.kind = LogicalKind::kList, .element = LogicalKind::kText};

  EXPECT_THAT(Read({.kind = LogicalKind::kText}, RulesOf("LATIN1"), {"caf\xE9", "", "x"}),
              ElementsAre("café", "", "x"));
  EXPECT_THAT(Read({.kind = LogicalKind::kJson}, RulesOf("EUC_JP"), {"{\"a\": \"\xC6\xFC\"}"}),
              ElementsAre("{\"a\": \"日\"}"));
  EXPECT_THAT(Read(list, RulesOf("WIN1252"), {"{\x80,\"a \xE9\"}", "{\x81}", "{{\xE9}}"}),
              ElementsAre("list<item: string>[€, a é]", "! \\x7b817d", "! {{é}}"));
}

TEST(ColumnBuilderTest, JsonStaysJsonWhereItsBytesAreWritten) {
  EXPECT_THAT(Read({.kind = LogicalKind::kJson}, RulesOf("WIN1252", InvalidText::kBytes),
                   {"{\"a\": \"\x81\"}"}),
              ElementsAre("{\"a\": \"\\\\x81\"}"));
}

/// Whatever the policy: two keys never become one, and none becomes null.
TEST(ColumnBuilderTest, KeysKeepTheirBytes) {
  for (const InvalidText policy :
       {InvalidText::kQuarantine, InvalidText::kReplace, InvalidText::kBytes}) {
    EXPECT_THAT(Read({.kind = LogicalKind::kText}, RulesOf("SQL_ASCII", policy),
                     {"a", "\xFF", "\xFE", "\\xff", "é"}, /*key=*/true),
                ElementsAre("a", "\\xff", "\\xfe", "\\x5c786666", "é"));
  }
}

TEST(ColumnBuilderTest, MoreTextThanOffsetsCanCountIsRefused) {
  const std::string mebibyte(size_t{1} << 20, 'x');
  const std::vector<Cell> cells(2048, {.offset = 0, .size = 1 << 20});
  const auto builder = ColumnBuilder::Create({.kind = LogicalKind::kText});
  std::vector<ValueException> exceptions;

  const Status status = builder->Append(
      {.base = mebibyte.data(), .first = cells.data(), .stride = 1, .count = std::ssize(cells)},
      exceptions);

  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnsupported);
}

TEST(ListColumnTest, ListsOfEveryLength) {
  const LogicalType type{.kind = LogicalKind::kList, .element = LogicalKind::kInt32};
  const auto builder = ColumnBuilder::Create(type);
  std::vector<ValueException> exceptions;
  ASSERT_TRUE(builder->Append(Block({"{1,NULL,3}", "{}", std::nullopt, "{4}"}).column(), exceptions)
                  .has_value());

  auto column = builder->Finish();

  ASSERT_TRUE(column.has_value());
  const auto array = std::static_pointer_cast<arrow::ListArray>(arrow::MakeArray(column->values));
  ASSERT_TRUE(array->ValidateFull().ok());
  EXPECT_EQ(array->value_length(0), 3);
  EXPECT_TRUE(array->values()->IsNull(1));
  EXPECT_EQ(array->value_length(1), 0);
  EXPECT_TRUE(array->IsValid(1));
  EXPECT_TRUE(array->IsNull(2));
  EXPECT_EQ(test::ValueText(*array->values(), 3), "4");
}

/// Parquet cannot take a null list that has elements, so those of an exception must go.
TEST(ListColumnTest, OneExceptionalElementMakesTheListAnException) {
  const LogicalType type{
      .kind = LogicalKind::kList, .precision = 5, .scale = 2, .element = LogicalKind::kDecimal};
  const auto builder = ColumnBuilder::Create(type);
  std::vector<ValueException> exceptions;
  ASSERT_TRUE(builder
                  ->Append(Block({"{1.00,NULL}", "{NULL,2.00,NaN,3.00}", "{{4.00}}", "{5.00}",
                                  "[0:0]={6.00}"})
                               .column(),
                           exceptions)
                  .has_value());

  auto column = builder->Finish();

  ASSERT_TRUE(column.has_value());
  const auto array = std::static_pointer_cast<arrow::ListArray>(arrow::MakeArray(column->values));
  ASSERT_TRUE(array->ValidateFull().ok()) << array->ValidateFull();
  EXPECT_THAT(exceptions,
              ElementsAre(ValueException{.row = 1, .column = 0, .text = "{NULL,2.00,NaN,3.00}"},
                          ValueException{.row = 2, .column = 0, .text = "{{4.00}}"},
                          ValueException{.row = 4, .column = 0, .text = "[0:0]={6.00}"}));
  EXPECT_EQ(array->values()->length(), 3);
  EXPECT_EQ(array->values()->null_count(), 1);
  EXPECT_EQ(array->value_length(1), 0);
  EXPECT_EQ(test::ValueText(*array->values(), 2), "5.00");
}

TEST(ListColumnTest, MalformedElementIsAnError) {
  const auto builder =
      ColumnBuilder::Create({.kind = LogicalKind::kList, .element = LogicalKind::kInt32});
  std::vector<ValueException> exceptions;

  EXPECT_FALSE(builder->Append(Block({"{1,x}"}).column(), exceptions).has_value());
}

TEST(ColumnBuilderTest, TruncateTakesValuesNullsAndMarksBack) {
  for (const LogicalType& type :
       {LogicalType{.kind = LogicalKind::kInt32}, LogicalType{.kind = LogicalKind::kText},
        LogicalType{.kind = LogicalKind::kNumericText}}) {
    const auto builder = ColumnBuilder::Create(type);
    std::vector<ValueException> exceptions;
    Block block({"1", std::nullopt, "3", std::nullopt, "5"});
    block.SetUnchanged(4);
    ASSERT_TRUE(builder->Append(block.column(), exceptions).has_value());

    builder->Truncate(2);
    ASSERT_TRUE(builder->Append(Block({"7", "8", "9"}).column(), exceptions).has_value());

    const Built built = FinishColumn(*builder);
    EXPECT_THAT(built.values, ElementsAre("1", "NULL", "7", "8", "9"));
    EXPECT_EQ(built.nulls, 1);
    EXPECT_THAT(built.unchanged, IsEmpty());
  }
}

}  // namespace
}  // namespace freshet::postgres
