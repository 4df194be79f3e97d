#include "verify/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace freshet::verify {
namespace {

Report MakeReport() {
  TableReport equal;
  equal.name = {"public", "users"};
  equal.source = {.rows = 3, .sum = {.high = 0xAB, .low = 1}};
  equal.target = equal.source;
  equal.reread_keys = 2;
  TableReport different;
  different.name = {"public", "orders"};
  different.source = {.rows = 9, .sum = {.high = uint64_t{1} << 60, .low = 0}};
  different.target = {.rows = 8, .sum = {.high = uint64_t{2} << 60, .low = 0}};
  different.differing_keys = 2;
  Difference missing;
  missing.kind = DifferenceKind::kMissing;
  missing.key = {"17"};
  Difference other;
  other.kind = DifferenceKind::kDifferent;
  other.key = {"18"};
  other.columns = {"status", "notes"};
  different.differences = {missing, other};
  return {.sinks = {{.sink = "warehouse", .kind = "duckdb", .tables = {equal, different}}},
          .skipped = {"nowhere"}};
}

TEST(ReportTest, OneDifferentTableMakesTheWholeDifferent) {
  Report report = MakeReport();
  EXPECT_FALSE(report.equal());

  report.sinks[0].tables.pop_back();
  EXPECT_TRUE(report.equal());

  report.sinks[0].tables[0].more_may_differ = true;
  EXPECT_FALSE(report.equal());
}

TEST(ReportTest, TextNamesKeysKindsAndColumns) {
  const std::string text = ToText(MakeReport());

  EXPECT_NE(text.find("equal (2 in motion, read again)"), std::string::npos) << text;
  EXPECT_NE(text.find("DIFFERENT: 2 keys"), std::string::npos) << text;
  EXPECT_NE(text.find("missing    key (17)"), std::string::npos) << text;
  EXPECT_NE(text.find("different  key (18)  columns: status, notes"), std::string::npos) << text;
  EXPECT_NE(text.find("10000000/20000000"), std::string::npos) << text;
  EXPECT_NE(text.find("nowhere: keeps nothing"), std::string::npos) << text;
}

TEST(ReportTest, JsonCarriesCountsAsStrings) {
  const auto json = nlohmann::json::parse(ToJson(MakeReport()));

  EXPECT_FALSE(json["equal"].get<bool>());
  const auto& orders = json["sinks"][0]["tables"][1];
  EXPECT_EQ(orders["source"]["rows"], "9");
  EXPECT_EQ(orders["differing_keys"], 2);
  EXPECT_EQ(orders["differences"][1]["columns"][0], "status");
}

/// Keys are bytes of users and may be no text at all.
TEST(ReportTest, JsonStandsKeysThatAreNoUtf8) {
  Report report = MakeReport();
  report.sinks[0].tables[1].differences[0].key = {"\xff\xfe"};

  EXPECT_NO_THROW(std::ignore = nlohmann::json::parse(ToJson(report)));
}

}  // namespace
}  // namespace freshet::verify
