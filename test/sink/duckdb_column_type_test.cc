#include <gtest/gtest.h>

#include "sink/duckdb/column_type.h"

namespace freshet::sink::duckdb {
namespace {

using change::LogicalKind;
using change::LogicalType;

LogicalType Decimal(int precision, int scale) {
  return {.kind = LogicalKind::kDecimal, .precision = precision, .scale = scale};
}

TEST(DuckDbTypeTest, ParametersAreSpelledAsTheCatalogSpellsThem) {
  EXPECT_EQ(DuckDbType(Decimal(12, 2)), "DECIMAL(12,2)");
  EXPECT_EQ(DuckDbType({.kind = LogicalKind::kTimestampTz}), "TIMESTAMP WITH TIME ZONE");
  EXPECT_EQ(DuckDbType({.kind = LogicalKind::kList,
                        .precision = 10,
                        .scale = 1,
                        .element = LogicalKind::kDecimal}),
            "DECIMAL(10,1)[]");
}

struct FitCase {
  const char* existing;
  LogicalType wanted;
  TypeFit fit;
};

TEST(FitTypeTest, OnlyWhatLosesNothingFitsOrWidens) {
  const FitCase cases[] = {
      {"INTEGER", {.kind = LogicalKind::kInt32}, TypeFit::kFits},
      {"BIGINT", {.kind = LogicalKind::kInt16}, TypeFit::kFits},
      {"SMALLINT", {.kind = LogicalKind::kInt64}, TypeFit::kWiden},
      {"UINTEGER", {.kind = LogicalKind::kInt64}, TypeFit::kWiden},
      {"UINTEGER", {.kind = LogicalKind::kInt32}, TypeFit::kNeither},
      {"INTEGER", {.kind = LogicalKind::kUInt32}, TypeFit::kNeither},
      {"FLOAT", {.kind = LogicalKind::kFloat64}, TypeFit::kWiden},
      {"BIGINT", {.kind = LogicalKind::kFloat64}, TypeFit::kNeither},
      {"DECIMAL(10,2)", Decimal(12, 2), TypeFit::kWiden},
      {"DECIMAL(12,2)", Decimal(10, 2), TypeFit::kFits},
      {"DECIMAL(10,2)", Decimal(10, 4), TypeFit::kNeither},
      {"INTEGER", Decimal(12, 2), TypeFit::kWiden},
      {"INTEGER", Decimal(11, 2), TypeFit::kNeither},
      {"JSON", {.kind = LogicalKind::kText}, TypeFit::kWiden},
      {"VARCHAR", {.kind = LogicalKind::kJson}, TypeFit::kFits},
      {"VARCHAR", {.kind = LogicalKind::kInt32}, TypeFit::kNeither},
      {"DATE", {.kind = LogicalKind::kTimestamp}, TypeFit::kNeither},
      {"STRUCT(a INTEGER)", {.kind = LogicalKind::kText}, TypeFit::kNeither},
  };
  for (const FitCase& c : cases) {
    EXPECT_EQ(FitType(c.existing, c.wanted), c.fit) << c.existing << " " << DuckDbType(c.wanted);
  }
}

}  // namespace
}  // namespace freshet::sink::duckdb
