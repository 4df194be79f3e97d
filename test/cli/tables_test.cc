#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/exit_code.h"
#include "cli/run_freshet.h"
#include "http/server.h"
#include "support/pipeline_status.h"

namespace freshet::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// `freshet table` against a server that notes what it is asked.
class TableCommandTest : public ::testing::Test {
 protected:
  TableCommandTest() {
    http::Handlers handlers{.status = test::MakePipelineStatus, .query = {}, .scan = {}};
    handlers.tables = [] {
      postgres::SnapshotTable reading{.name = {"public", "orders"},
                                      .state = postgres::SnapshotState::kReading,
                                      .rows_copied = 12'345,
                                      .bytes_read = 3 << 20,
                                      .bytes_estimated = 4 << 20,
                                      .waits_for = "the log is full"};
      return std::vector<pipeline::CarriedTable>{{.name = {"public", "items"}, .snapshot = {}},
                                                 {.name = reading.name, .snapshot = reading}};
    };
    handlers.add_table = [this](const change::TableName& table) -> Result<bool> {
      asked_.push_back("add " + table.schema + "|" + table.table);
      if (table.table == "items") return Fail(ErrorKind::kConfig, "carried already");
      return table.table == "configured";
    };
    handlers.resnapshot = [this](const change::TableName& table, bool replaces) -> Status {
      asked_.push_back((replaces ? "replace " : "again ") + table.schema + "|" + table.table);
      return {};
    };
    auto server = http::Server::Start("127.0.0.1:0", std::move(handlers));
    EXPECT_TRUE(server.has_value());
    server_ = std::move(*server);
  }

  Outcome Table(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "table");
    arguments.push_back("--url");
    arguments.push_back("http://127.0.0.1:" + std::to_string(server_->port()));
    return RunFreshet(arguments);
  }

  std::vector<std::string> asked_;
  std::unique_ptr<http::Server> server_;
};

TEST_F(TableCommandTest, ListShowsEachTableAndHowFarItIs) {
  const Outcome people = Table({"list"});
  const Outcome programs = Table({"list", "--output", "json"});

  EXPECT_EQ(people.code, 0);
  EXPECT_EQ(people.out,
            "table          state      rows read  of its file  waits for\n"
            "public.items   streaming\n"
            "public.orders  reading       12,345         75 %  the log is full\n");
  EXPECT_EQ(nlohmann::json::parse(programs.out)["tables"][1]["rows_copied"], "12345");
}

TEST_F(TableCommandTest, AddSaysWhenTheConfigurationLacksTheTable) {
  const Outcome lacks = Table({"add", "public.invoices"});
  const Outcome has = Table({"add", "public.configured"});

  EXPECT_EQ(lacks.code, 0);
  EXPECT_THAT(lacks.out, HasSubstr("source.postgres.tables"));
  EXPECT_EQ(has.code, 0);
  EXPECT_THAT(has.out, Not(HasSubstr("source.postgres.tables")));
  EXPECT_THAT(asked_, ElementsAre("add public|invoices", "add public|configured"));
}

TEST_F(TableCommandTest, ResnapshotReplacesOnlyWhenTold) {
  EXPECT_EQ(Table({"resnapshot", "public.orders"}).code, 0);
  EXPECT_EQ(Table({"resnapshot", "public.orders", "--replace"}).code, 0);

  EXPECT_THAT(asked_, ElementsAre("again public|orders", "replace public|orders"));
}

TEST_F(TableCommandTest, WhatThePipelineRefusesIsTheCommandsError) {
  const Outcome refused = Table({"add", "public.items"});

  EXPECT_EQ(refused.code, static_cast<int>(ExitCodeOf(ErrorKind::kConfig)));
  EXPECT_THAT(refused.err, HasSubstr("carried already"));
}

TEST_F(TableCommandTest, NameWithoutASchemaIsNotSent) {
  for (const char* name : {"orders", ".orders", "public."}) {
    EXPECT_NE(Table({"add", name}).code, 0);
    EXPECT_NE(Table({"resnapshot", name}).code, 0);
  }
  EXPECT_THAT(asked_, IsEmpty());
}

}  // namespace
}  // namespace freshet::cli
