#include <gmock/gmock.h>

#include <filesystem>

#include "integration/program_fixture.h"
#include "sink/duckdb/database.h"

namespace freshet::test {
namespace {

using nlohmann::json;
using sink::duckdb::Access;
using sink::duckdb::Database;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// `freshet plan`: what it says, and that a pipeline then does just that.
class PlanTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    Run("CREATE TABLE public.orders (id int PRIMARY KEY, code varchar(10), total numeric(10,2),"
        " note text);"
        "INSERT INTO public.orders VALUES (1, 'a', 1.5, 'old')");
    config_.tables = "['public.*']";
    config_.sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                    "' }, mode: upsert, flush: { interval: 0s } }, lake: { files: { url: '" +
                    (folder_ / "lake") + "' }, mode: append } }";
  }

  json Plan(const std::string& ddl, int exit_code = 0) {
    const Finished plan = OnConfig({"plan", "--ddl", ddl, "--output", "json"});
    EXPECT_EQ(plan.exit_code, exit_code) << plan.out << plan.err;
    json out = json::parse(plan.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(out.contains("effects")) << plan.out;
    return out.contains("effects") ? out : json{{"effects", json::array()}, {"safe", false}};
  }

  /// The steps of a sink, of every effect.
  static std::vector<std::string> StepsOf(const json& plan, const std::string& sink) {
    std::vector<std::string> out;
    for (const json& effect : plan["effects"]) {
      for (const json& step : effect["sinks"]) {
        if (step["sink"] != sink) continue;
        for (const json& line : step["steps"]) out.push_back(line);
      }
    }
    return out;
  }

  static std::string SourceOf(const json& plan) {
    std::string out;
    for (const json& effect : plan["effects"]) {
      for (const json& line : effect["source"]) out += line.get<std::string>() + "\n";
    }
    return out;
  }

  /// Tables and columns of a warehouse that nobody has open, after `statements`.
  static std::vector<std::vector<std::optional<std::string>>> ShapeOf(
      const std::string& path, const std::vector<std::string>& statements) {
    auto database = Database::Open(path, Access::kReadWrite);
    EXPECT_TRUE(database.has_value());
    auto connection = (*database)->Connect();
    EXPECT_TRUE(connection.has_value());
    for (const std::string& sql : statements) {
      const Status run = (*connection)->Execute(sql);
      if (!run.has_value()) ADD_FAILURE() << sql << ": " << run.error();
    }
    auto shape = (*connection)
                     ->QueryText(
                         "SELECT schema_name, table_name, column_name, data_type FROM "
                         "duckdb_columns() WHERE NOT "
                         "internal AND schema_name <> 'freshet' ORDER BY ALL");
    EXPECT_TRUE(shape.has_value());
    return shape.has_value() ? *std::move(shape)
                             : std::vector<std::vector<std::optional<std::string>>>();
  }
};

TEST_P(PlanTest, ADuckDbTargetThenHasTheShapeThatWasPlanned) {
  CatchUp();
  const std::string ddl =
      "ALTER TABLE public.orders ADD COLUMN qty smallint DEFAULT 3, ADD tags text[];"
      "ALTER TABLE public.orders RENAME COLUMN note TO remark;"
      "ALTER TABLE public.orders DROP COLUMN total;"
      "ALTER TABLE public.orders ALTER COLUMN qty TYPE bigint;"
      "ALTER TABLE public.orders ALTER COLUMN code TYPE date USING NULL;"
      "ALTER TABLE public.orders ADD COLUMN total text;"
      "ALTER TABLE public.orders RENAME TO purchases";
  const std::vector<std::string> planned = StepsOf(Plan(ddl), "warehouse");
  std::filesystem::create_directory(folder_ / "copy");
  const std::string copy = folder_ / "copy/shop.duckdb";
  std::filesystem::copy(Warehouse(), copy);

  for (size_t begin = 0; begin < ddl.size();) {  // a row behind each, so that targets follow it
    const size_t end = std::min(ddl.find(';', begin), ddl.size());
    Run(ddl.substr(begin, end - begin));
    const bool last = end + 1 >= ddl.size();
    const std::string table = last ? "purchases" : "orders";
    Run("INSERT INTO public." + table + " (id) SELECT max(id) + 1 FROM public." + table);
    begin = end + 1;
  }
  CatchUp();

  EXPECT_EQ(ShapeOf(copy, planned), ShapeOf(Warehouse(), {}));
}

TEST_P(PlanTest, NothingIsRun) {
  CatchUp();
  const json plan = Plan("DROP TABLE public.orders; CREATE TABLE public.customers (id int)");
  EXPECT_TRUE(plan["safe"].get<bool>());
  EXPECT_EQ(Ask("SELECT count(*) FROM public.orders"), "1");
  EXPECT_EQ(Ask("SELECT to_regclass('public.customers') IS NULL"), "t");
}

TEST_P(PlanTest, ADefaultIsToldByWhetherTheServerRewritesTheTable) {
  EXPECT_THAT(SourceOf(Plan("ALTER TABLE orders ADD c int")), HasSubstr("read as null"));
  const std::string constant = SourceOf(Plan("ALTER TABLE orders ADD c timestamptz DEFAULT now()"));
  EXPECT_THAT(constant, HasSubstr(GetParam() >= 11 ? "from the catalog" : "by itself"));
  EXPECT_THAT(SourceOf(Plan("ALTER TABLE orders ADD c float DEFAULT random()")),
              HasSubstr("reads them again by itself"));
  config_.source = ", unsent_rows: warn";
  EXPECT_THAT(SourceOf(Plan("ALTER TABLE orders ADD c bigserial")),
              HasSubstr("resnapshot public.orders"));
}

TEST_P(PlanTest, WhatIsSaidOfARewriteIsWhatTheServerDoes) {
  Run("CREATE TABLE public.wide (id int PRIMARY KEY, a varchar(10), b numeric(8,2), c text,"
      " d timestamp(3), e int, f varchar(10))");
  const std::vector<std::string> changes = {
      "a TYPE varchar(20)",  "a TYPE varchar(5)", "a TYPE text",       "b TYPE numeric(10,2)",
      "b TYPE numeric(8,3)", "b TYPE numeric",    "c TYPE varchar",    "c TYPE varchar(9)",
      "d TYPE timestamp",    "e TYPE bigint",     "f TYPE varchar(10)"};
  for (const std::string& change : changes) {
    const std::string sql = "ALTER TABLE public.wide ALTER COLUMN " + change;
    const bool planned = SourceOf(Plan(sql)).find("no rewrite") == std::string::npos;
    Run("BEGIN; CREATE TEMP TABLE before AS SELECT pg_relation_filenode('public.wide') AS node; " +
        sql +
        "; CREATE TABLE public.seen AS SELECT node <> pg_relation_filenode('public.wide') AS "
        "rewritten FROM before; COMMIT; DROP TABLE before");
    const bool rewritten = Ask("SELECT rewritten FROM public.seen") == "t";
    Run("DROP TABLE public.seen");
    EXPECT_EQ(planned, rewritten) << sql;
  }
}

TEST_P(PlanTest, ASinkThatWouldStopSaysWhyAndTheAnswerIsNo) {
  config_.sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                  "' }, schema_change_classes: { drop_column: fail } }, lake: { files: { url: '" +
                  (folder_ / "lake") + "' }, schema_change_classes: { rename_column: fail } } }";
  const json dropped = Plan("ALTER TABLE orders DROP COLUMN note", 3);
  EXPECT_FALSE(dropped["safe"].get<bool>());
  EXPECT_TRUE(dropped["effects"][0]["sinks"][0]["stops"].get<bool>());
  EXPECT_FALSE(dropped["effects"][0]["sinks"][1]["stops"].get<bool>());
  EXPECT_THAT(StepsOf(dropped, "warehouse"), Contains(HasSubstr("drop_column")));
  const json renamed = Plan("ALTER TABLE orders RENAME note TO remark", 3);
  EXPECT_THAT(StepsOf(renamed, "lake"), Contains(HasSubstr("rename_column")));
}

TEST_P(PlanTest, ALostKeyIsAnAnswerOfNo) {
  const json plan = Plan("ALTER TABLE orders DROP CONSTRAINT orders_pkey", 3);
  EXPECT_THAT(SourceOf(plan), HasSubstr("UPDATE and DELETE of public.orders fail at the source"));
  // With another identity before it, it harms nobody.
  Plan("ALTER TABLE orders REPLICA IDENTITY FULL; ALTER TABLE orders DROP CONSTRAINT orders_pkey");
}

TEST_P(PlanTest, ATableThatIsNotChosenConcernsNobody) {
  config_.tables = "['public.orders']";
  Run("CREATE TABLE public.other (id int)");
  const json plan = Plan("ALTER TABLE other ADD c int; CREATE TABLE public.third (id int)");
  ASSERT_EQ(plan["effects"].size(), 2U);
  EXPECT_FALSE(plan["effects"][0]["carried"].get<bool>());
  EXPECT_FALSE(plan["effects"][1]["carried"].get<bool>());
  EXPECT_THAT(StepsOf(plan, "warehouse"), IsEmpty());
}

TEST_P(PlanTest, StatementsSeeWhatEarlierOnesDid) {
  const json plan = Plan(
      "ALTER TABLE orders RENAME TO sales; ALTER TABLE sales RENAME note TO remark;"
      "ALTER TABLE sales DROP COLUMN remark");
  EXPECT_THAT(StepsOf(plan, "lake"), Contains(HasSubstr("'remark' was dropped")));
  const Finished absent = OnConfig({"plan", "--ddl", "ALTER TABLE sales ADD c int"});
  EXPECT_EQ(absent.exit_code, 7);
  EXPECT_THAT(absent.err, HasSubstr("public.sales is not in the database"));
}

TEST_P(PlanTest, AFileOfStatementsIsReadAndItsErrorsHaveAPlace) {
  WriteText(folder_ / "good.sql", "-- more room\nALTER TABLE orders\n  ADD COLUMN c jsonb;\n");
  const Finished good = OnConfig({"plan", "--file", folder_ / "good.sql"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("public.orders: add column c jsonb"));
  EXPECT_THAT(good.out, HasSubstr("ADD COLUMN \"c\" JSON"));
  WriteText(folder_ / "bad.sql", "ALTER TABLE orders\n  ADD COLUMN c;\n");
  const Finished bad = OnConfig({"plan", "--file", folder_ / "bad.sql"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("line 2"));
  EXPECT_EQ(OnConfig({"plan"}).exit_code, 2);
}

INSTANTIATE_TEST_SUITE_P(Majors, PlanTest, ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::test
