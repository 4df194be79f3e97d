#include <gmock/gmock.h>
#include <signal.h>

#include "integration/program_fixture.h"

namespace freshet::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

/// `freshet table` and SIGHUP on a pipeline that runs, as users meet them.
class TableCommandTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    Run("CREATE TABLE public.orders (id int PRIMARY KEY, status text);"
        "INSERT INTO public.orders SELECT g, 'old' FROM generate_series(1, 10) g");
    config_.tables = "['public.orders']";
  }

  std::unique_ptr<Program> StartStreaming() {
    auto run = StartRun();
    EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "10")) << run->err();
    return run;
  }

  bool Holds(const std::string& sql, const std::string& value) const {
    return Eventually([&] { return Query(sql) == value; });
  }

  /// The state of a table as /tables tells it; empty when it is not carried.
  std::string StateOf(const std::string& name) const {
    const json answer = json::parse(Get("/tables"), nullptr, /*allow_exceptions=*/false);
    if (!answer.is_object()) return "";
    for (const json& table : answer["tables"]) {
      if (table["table"] == name) return table["state"];
    }
    return "";
  }

  /// Changes that the stream does not carry.
  void ChangeUnseen(const std::string& sql) {
    Run("ALTER PUBLICATION freshet SET (publish = 'truncate')");
    Run(sql);
    Run("ALTER PUBLICATION freshet SET (publish = 'insert, update, delete, truncate')");
  }
};

TEST_P(TableCommandTest, AnAddedTableJoinsWhileTheOthersGoOn) {
  const auto run = StartStreaming();
  Run("CREATE TABLE public.invoices (id int PRIMARY KEY, note text);"
      "INSERT INTO public.invoices SELECT g, 'before' FROM generate_series(1, 1000) g");

  const Finished added = OnConfig({"table", "add", "public.invoices"});

  ASSERT_EQ(added.exit_code, 0) << added.err;
  EXPECT_THAT(added.out, HasSubstr("source.postgres.tables"));
  ASSERT_TRUE(Holds("SELECT count(*) FROM public.invoices", "1000")) << run->err();
  Run("UPDATE public.invoices SET note = 'after' WHERE id = 7; INSERT INTO public.orders VALUES "
      "(11, 'new')");
  EXPECT_TRUE(Holds("SELECT count(*) FROM public.invoices WHERE note = 'after'", "1"));
  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "11"));
  EXPECT_TRUE(Eventually([&] { return StateOf("invoices") == "streaming"; }));
  EXPECT_EQ(OnConfig({"table", "add", "public.invoices"}).exit_code, 2) << "carried already";

  // Named in the configuration, too, it is there after a restart.
  config_.tables = "['public.orders', 'public.invoices']";
  ExpectEqual();
  run->Signal(SIGTERM);
  ASSERT_EQ(run->WaitExit(), 0) << run->err();
  Run("DELETE FROM public.invoices WHERE id > 500");
  CatchUp();
  ExpectEqual();
}

TEST_P(TableCommandTest, SighupTakesTheTablesThatTheConfigurationChoosesNow) {
  const auto run = StartStreaming();
  Run("CREATE TABLE public.invoices (id int PRIMARY KEY); INSERT INTO public.invoices VALUES (1)");
  config_.tables = "['public.orders', 'public.invoices']";
  WriteConfig();

  run->Signal(SIGHUP);

  EXPECT_TRUE(Holds("SELECT count(*) FROM public.invoices", "1")) << run->err();
  EXPECT_THAT(run->err(), Not(HasSubstr("restart for")));
  ExpectEqual();
}

TEST_P(TableCommandTest, ResnapshotWritesRowsOverThoseThatAreThere) {
  const auto run = StartStreaming();
  ChangeUnseen(
      "UPDATE public.orders SET status = 'unseen' WHERE id <= 5; DELETE FROM public.orders "
      "WHERE id = 10");

  ASSERT_EQ(OnConfig({"table", "resnapshot", "public.orders"}).exit_code, 0);

  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders WHERE status = 'unseen'", "5"));
  // Nothing said that a row went.
  EXPECT_TRUE(Eventually([&] { return StateOf("orders") == "streaming"; }));
  EXPECT_EQ(Query("SELECT count(*) FROM public.orders"), "10");
}

TEST_P(TableCommandTest, ResnapshotThatReplacesLeavesNoRowThatTheSourceHasNot) {
  const auto run = StartStreaming();
  ChangeUnseen(
      "UPDATE public.orders SET status = 'unseen' WHERE id <= 5; DELETE FROM public.orders "
      "WHERE id = 10");

  ASSERT_EQ(OnConfig({"table", "resnapshot", "public.orders", "--replace"}).exit_code, 0);

  EXPECT_TRUE(Holds("SELECT string_agg(id || left(status, 1), '' ORDER BY id) FROM public.orders",
                    "1u2u3u4u5u6o7o8o9o"))
      << run->err();
  Run("INSERT INTO public.orders VALUES (11, 'new')");
  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "10"));
  ExpectEqual();
}

TEST_P(TableCommandTest, WhatCannotBeReadIsSaid) {
  const auto run = StartStreaming();

  const Finished missing = OnConfig({"table", "resnapshot", "public.nowhere"});
  const Finished pattern = OnConfig({"table", "add", "public.*"});
  run->Signal(SIGTERM);
  ASSERT_EQ(run->WaitExit(), 0);
  const Finished nobody = OnConfig({"table", "list"});

  EXPECT_NE(missing.exit_code, 0);
  EXPECT_THAT(missing.message, HasSubstr("public.nowhere"));
  EXPECT_EQ(pattern.exit_code, 2);
  EXPECT_EQ(nobody.exit_code, 4);
}

INSTANTIATE_TEST_SUITE_P(Majors, TableCommandTest, ::testing::Values(15),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::test
