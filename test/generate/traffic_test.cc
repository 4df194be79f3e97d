#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "generate/transaction_source.h"

namespace freshet::generate {
namespace {

std::vector<Transaction> Take(TransactionSource& source, const Shape& shape, int count) {
  std::vector<Transaction> out;
  for (int i = 0; i < count; ++i) out.push_back(source.Next(shape));
  return out;
}

Shape OfRows(int64_t rows) {
  Shape shape;
  shape.rows = rows;
  return shape;
}

std::unique_ptr<TransactionSource> Shop(uint64_t seed, int64_t run = 1) {
  return MakeTraffic(MakeShop(run), Random(seed, static_cast<uint64_t>(run)));
}

std::string AllSql(const std::vector<Transaction>& transactions) {
  std::string out;
  for (const Transaction& t : transactions) {
    for (const std::string& statement : t.sql) out += statement + ";\n";
    out += t.commits ? "COMMIT;\n" : "ROLLBACK;\n";
  }
  return out;
}

int64_t CountOf(const std::string& text, std::string_view needle) {
  int64_t count = 0;
  for (size_t at = text.find(needle); at != std::string::npos; at = text.find(needle, at + 1)) {
    ++count;
  }
  return count;
}

TEST(TrafficTest, TheSameSeedMakesTheSameStatements) {
  EXPECT_EQ(AllSql(Take(*Shop(7), {}, 500)), AllSql(Take(*Shop(7), {}, 500)));
}

TEST(TrafficTest, AnotherSeedOrRunMakesOthers) {
  const std::string sql = AllSql(Take(*Shop(7), {}, 20));

  EXPECT_NE(AllSql(Take(*Shop(8), {}, 20)), sql);
  EXPECT_NE(AllSql(Take(*Shop(7, 2), {}, 20)), sql);
}

TEST(TrafficTest, TheMixIsKept) {
  const auto source = Shop(3);
  Shape shape{.rows = 1,
              .mix = {.inserts = 1, .updates = 0, .deletes = 0},
              .surprises = false,
              .truncates = false};
  Take(*source, shape, 500);

  shape.mix = {.inserts = 0, .updates = 1, .deletes = 1};
  const std::string sql = AllSql(Take(*source, shape, 400));

  EXPECT_EQ(CountOf(sql, "INSERT INTO"), 0);
  EXPECT_GT(CountOf(sql, "UPDATE public."), 150);
  EXPECT_GT(CountOf(sql, "DELETE FROM"), 150);
}

TEST(TrafficTest, EverySurpriseComesInTime) {
  Shape shape;
  shape.truncates = true;
  const std::vector<Transaction> transactions = Take(*Shop(5), shape, 3000);
  const std::string sql = AllSql(transactions);

  EXPECT_GT(CountOf(sql, "\nROLLBACK;\n"), 0);
  EXPECT_GT(CountOf(sql, "ROLLBACK TO SAVEPOINT"), 0);
  EXPECT_GT(CountOf(sql, "SET movement_id"), 0);
  EXPECT_GT(CountOf(sql, "SET description"), 0);
  EXPECT_GT(CountOf(sql, "'NaN'::numeric"), 0);
  EXPECT_GT(CountOf(sql, "'infinity'"), 0);
  EXPECT_GT(CountOf(sql, " BC'"), 0);
  EXPECT_GT(CountOf(sql, "guest"), 0);
  EXPECT_GT(CountOf(sql, "TRUNCATE"), 0);
}

TEST(TrafficTest, WithoutSurprisesNothingRareHappens) {
  Shape shape;
  shape.surprises = false;
  const std::vector<Transaction> transactions = Take(*Shop(5), shape, 1000);
  const std::string sql = AllSql(transactions);

  EXPECT_TRUE(std::all_of(transactions.begin(), transactions.end(),
                          [](const Transaction& t) { return t.commits; }));
  EXPECT_EQ(CountOf(sql, "SAVEPOINT"), 0);
  EXPECT_EQ(CountOf(sql, "infinity"), 0);
}

/// A row that a rolled back transaction wrote must never be referred to later.
TEST(TrafficTest, WhatWasRolledBackIsNotRemembered) {
  const std::vector<Transaction> transactions = Take(*Shop(11), OfRows(5), 2000);
  std::string lasting;
  std::vector<std::string> lost_keys;
  constexpr std::string_view kInsertUser = "INSERT INTO public.users (user_id, email, first";
  for (const Transaction& t : transactions) {
    for (const std::string& statement : t.sql) {
      if (t.commits) lasting += statement;
      if (t.commits || !statement.starts_with(kInsertUser)) continue;
      lost_keys.push_back(statement.substr(statement.find("VALUES ('") + 9, 36));
    }
  }

  ASSERT_FALSE(lost_keys.empty());
  for (const std::string& key : lost_keys) EXPECT_EQ(lasting.find(key), std::string::npos) << key;
}

TEST(TrafficTest, ATransactionHasAboutTheRowsAskedFor) {
  for (const Transaction& t : Take(*Shop(2), OfRows(40), 200)) {
    if (!t.commits) continue;
    EXPECT_GE(t.rows, 40);
    EXPECT_LE(t.rows, 60);
  }
}

TEST(TrafficTest, ShippingMakesItsThreeTables) {
  const auto source = MakeTraffic(MakeShipping(1), Random(1, 1));

  const std::string sql = AllSql(Take(*source, {}, 300));

  for (const char* table : {"customers", "transactions", "shipments"}) {
    EXPECT_GT(CountOf(sql, std::string("INSERT INTO public.") + table + " "), 0) << table;
  }
}

TEST(BulkTest, AMixedTransactionIsAThirdOfEach) {
  const auto source = MakeBulk(Random(1, 1));
  Shape shape{.rows = 3000,
              .mix = {.inserts = 1, .updates = 1, .deletes = 1},
              .surprises = false,
              .truncates = false};
  const Transaction first = source->Next(shape);
  ASSERT_EQ(first.sql.size(), 1U);
  EXPECT_NE(first.sql[0].find("generate_series(1::bigint, 3000)"), std::string::npos);

  const Transaction second = source->Next(shape);

  ASSERT_EQ(second.sql.size(), 3U);
  EXPECT_EQ(second.rows, 3000);
  EXPECT_NE(second.sql[0].find("generate_series(3001::bigint, 4000)"), std::string::npos);
  EXPECT_TRUE(second.sql[2].ends_with("WHERE id >= 1 AND id < 1001")) << second.sql[2];
}

TEST(RandomTest, UuidsReadBackAsTheyWereWritten) {
  Random random(1, 1);
  for (int i = 0; i < 100; ++i) {
    const Uuid uuid = random.NextUuid();
    const std::string text = ToString(uuid);
    EXPECT_EQ(text[14], '4');
    EXPECT_EQ(ParseUuid(text), uuid);
  }
}

/// The figures are part of the promise that a seed means the same everywhere.
TEST(RandomTest, TheSequenceOfASeedIsFixed) {
  Random random(1, 1);
  const uint64_t first = random.Next();
  const uint64_t second = random.Next();

  Random again(1, 1);
  EXPECT_EQ(again.Next(), first);
  EXPECT_EQ(again.Next(), second);
  EXPECT_NE(Random(1, 2).Next(), first);
}

}  // namespace
}  // namespace freshet::generate
