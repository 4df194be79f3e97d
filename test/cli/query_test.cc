#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/run_freshet.h"
#include "sink/duckdb/database.h"
#include "support/temporary_folder.h"

namespace freshet::cli {
namespace {

using ::testing::HasSubstr;

/// `freshet query` on the file of a pipeline that does not run.
class QueryTest : public ::testing::Test {
 protected:
  QueryTest() {
    test::WriteText(
        folder_ / "freshet.yaml",
        "source: { postgres: { url: postgres://nobody@127.0.0.1:1/x, tables: [a.*] } }\n"
        "log: { path: '" +
            (folder_ / "log") + "' }\nsinks: { w: { duckdb: { path: '" + (folder_ / "w.duckdb") +
            "' } } }\n");
  }

  void MakeWarehouse() {
    const auto database =
        sink::duckdb::Database::Open(folder_ / "w.duckdb", sink::duckdb::Access::kReadWrite);
    ASSERT_TRUE(database.has_value()) << database.error();
    const auto connection = (*database)->Connect();
    ASSERT_TRUE(connection.has_value()) << connection.error();
    const Status filled =
        (*connection)
            ->Execute(
                "CREATE TABLE t (id INTEGER, note VARCHAR);"
                "INSERT INTO t VALUES (1, 'a'), (20, NULL), (3, 'say \"hi\", twice'), (4, '')");
    ASSERT_TRUE(filled.has_value()) << filled.error();
  }

  Outcome Query(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"query", "-c", folder_ / "freshet.yaml"});
    return RunFreshet(arguments);
  }

  test::TemporaryFolder folder_;
};

TEST_F(QueryTest, EveryFormatTellsNullFromEmptyText) {
  MakeWarehouse();
  const std::string sql = "FROM t";

  EXPECT_EQ(Query({sql}).out,
            "id  note\n"
            " 1  a\n"
            "20  NULL\n"
            " 3  say \"hi\", twice\n"
            " 4\n"
            "(4 rows)\n");
  EXPECT_EQ(Query({"--output", "csv", sql}).out,
            "id,note\r\n1,a\r\n20,\r\n3,\"say \"\"hi\"\", twice\"\r\n4,\"\"\r\n");
  EXPECT_EQ(nlohmann::json::parse(Query({"--output", "json", sql}).out)["rows"],
            nlohmann::json::parse(R"([[1,"a"],[20,null],[3,"say \"hi\", twice"],[4,""]])"));
}

TEST_F(QueryTest, RowsThatAreLeftOutAreSaid) {
  MakeWarehouse();

  const Outcome some = Query({"--limit", "2", "FROM t"});

  EXPECT_EQ(some.code, 0);
  EXPECT_THAT(some.out, HasSubstr("(2 rows)"));
  EXPECT_THAT(some.err, HasSubstr("only the first 2 rows are shown; see --limit"));
}

TEST_F(QueryTest, WrongSqlIsAnErrorOfTheUser) {
  MakeWarehouse();

  EXPECT_EQ(Query({"SELECT nothing FROM t"}).code, 2);
  const Outcome writes = Query({"DROP TABLE t"});
  EXPECT_EQ(writes.code, 2);
  EXPECT_THAT(writes.err, HasSubstr("only statements that read"));
}

TEST_F(QueryTest, AWarehouseThatIsNotThereYetIsNamed) {
  const Outcome outcome = Query({"SELECT 1"});

  EXPECT_EQ(outcome.code, 7);
  EXPECT_THAT(outcome.err, HasSubstr("w.duckdb"));
  EXPECT_THAT(outcome.err, HasSubstr("run the pipeline first"));
}

}  // namespace
}  // namespace freshet::cli
