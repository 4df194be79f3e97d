#include <gmock/gmock.h>

#include <barrier>
#include <thread>
#include <vector>

#include "sink/duckdb/database.h"
#include "sink/duckdb/query.h"
#include "support/temporary_folder.h"

namespace freshet::sink::duckdb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class DuckDbQueryTest : public ::testing::Test {
 protected:
  DuckDbQueryTest() : path_(folder_ / "w.duckdb") {
    Execute(
        "CREATE TABLE items AS SELECT i AS id, 'item ' || i AS name, NULL::DATE AS day FROM "
        "range(5) t(i)");
  }

  void Execute(const std::string& sql) {
    const auto database = Database::Open(path_, Access::kReadWrite);
    ASSERT_TRUE(database.has_value()) << database.error();
    const auto connection = (*database)->Connect();
    const Status status = (*connection)->Execute(sql);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  Result<QueryResult> Run(const std::string& sql, QueryLimits limits = {}) {
    return Query(path_, sql, limits, false, {});
  }

  test::TemporaryFolder folder_;
  std::string path_;
};

/// The first opener of a file forbids what the others then must not set again.
TEST_F(DuckDbQueryTest, AFileMayBeOpenedByManyAtOnce) {
  constexpr int kOpeners = 4;
  for (int round = 0; round < 30; ++round) {
    std::barrier start(kOpeners);
    std::vector<std::jthread> openers;
    for (int i = 0; i < kOpeners; ++i) {
      openers.emplace_back([&] {
        start.arrive_and_wait();
        const auto database = Database::Open(path_, Access::kReadWrite);
        EXPECT_TRUE(database.has_value()) << database.error();
      });
    }
  }
}

TEST_F(DuckDbQueryTest, RowsComeAsTextWithNamesAndTypes) {
  const auto result =
      Run("SELECT id, name, day, 1.50::DECIMAL(4,2) AS n, "
          "TIMESTAMPTZ '2024-02-29 12:00:00.5+00' AS at FROM items WHERE id = 3;  ");

  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_THAT(
      result->columns,
      ElementsAre(QueryResult::Column{"id", "BIGINT"}, QueryResult::Column{"name", "VARCHAR"},
                  QueryResult::Column{"day", "DATE"}, QueryResult::Column{"n", "DECIMAL(4,2)"},
                  QueryResult::Column{"at", "TIMESTAMP WITH TIME ZONE"}));
  ASSERT_THAT(result->rows, SizeIs(1));
  EXPECT_THAT(result->rows[0],
              ElementsAre("3", "item 3", std::nullopt, "1.50", "2024-02-29 12:00:00.5+00"));
  EXPECT_FALSE(result->truncated);
}

TEST_F(DuckDbQueryTest, OrderIsKeptAndColumnsMayShareAName) {
  const auto result = Run("SELECT id, id FROM items ORDER BY id DESC -- last first");

  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->columns[1].name, result->columns[0].name);
  EXPECT_EQ(result->rows.front()[0], "4");
}

TEST_F(DuckDbQueryTest, StatementsThatOnlyReadAreRun) {
  for (const char* sql :
       {"FROM items", "WITH a AS (SELECT 1) FROM a", "VALUES (1)", "SHOW TABLES", "DESCRIBE items",
        "SUMMARIZE items", "EXPLAIN SELECT 1", "TABLE items", "SHOW ALL TABLES"}) {
    const auto result = Run(sql);

    ASSERT_TRUE(result.has_value()) << sql << ": " << result.error();
    EXPECT_FALSE(result->rows.empty()) << sql;
  }
}

TEST_F(DuckDbQueryTest, StatementsThatChangeAnythingAreRefused) {
  for (const char* sql :
       {"DELETE FROM items", "INSERT INTO items SELECT * FROM items", "DROP TABLE items",
        "CREATE TABLE other (i INT)", "SET threads = 1", "ATTACH 'other.duckdb'",
        "COPY items TO 'items.csv'", "CHECKPOINT", "EXPLAIN ANALYZE DELETE FROM items",
        "SELECT 1; DELETE FROM items", "CALL pragma_version()", "LOAD json", "BEGIN"}) {
    EXPECT_FALSE(Run(sql).has_value()) << sql;
  }
  EXPECT_EQ(Run("SELECT count(*) FROM items")->rows[0][0], "5");
}

TEST_F(DuckDbQueryTest, OtherFilesAreOutOfReach) {
  test::WriteText(folder_ / "secret.csv", "a\n1\n");
  const std::string sql = "FROM read_csv('" + folder_ / "secret.csv" + "')";

  EXPECT_FALSE(Run(sql).has_value());
}

TEST_F(DuckDbQueryTest, OnesOwnProgramMayReadOtherFiles) {
  test::WriteText(folder_ / "mine.csv", "a\n1\n");
  const std::string sql = "FROM read_csv('" + folder_ / "mine.csv" + "')";

  const auto result = Query(path_, sql, {}, true, {});

  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->rows[0][0], "1");
}

TEST_F(DuckDbQueryTest, LimitsCutRowsOffAndSaySo) {
  const auto rows = Run("FROM items", {.rows = 2});
  const auto bytes = Run("SELECT repeat('x', 1000) FROM items", {.bytes = 1'500});

  EXPECT_THAT(rows->rows, SizeIs(2));
  EXPECT_TRUE(rows->truncated);
  EXPECT_THAT(bytes->rows, SizeIs(2));
  EXPECT_TRUE(bytes->truncated);
}

TEST_F(DuckDbQueryTest, LongQueriesAreEnded) {
  const char* endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b";
  std::stop_source stop;
  stop.request_stop();

  const auto late = Run(endless, {.time = std::chrono::milliseconds(10)});

  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().kind, ErrorKind::kCancelled);
  EXPECT_THAT(late.error().message, HasSubstr("10 ms"));
  const auto stopped = Query(path_, endless, {}, false, stop.get_token());
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().kind, ErrorKind::kCancelled);
}

TEST_F(DuckDbQueryTest, QueryRunsBesideAWriterOfTheSameProcess) {
  const auto writer = Database::Open(path_, Access::kReadWrite);
  const auto connection = (*writer)->Connect();
  ASSERT_TRUE((*connection)->Execute("BEGIN; INSERT INTO items (id) VALUES (9)").has_value());

  const auto result = Run("SELECT count(*) FROM items");

  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->rows[0][0], "5");
}

TEST_F(DuckDbQueryTest, ErrorsNameTheKind) {
  EXPECT_EQ(Run("SELEC 1").error().kind, ErrorKind::kConfig);
  EXPECT_EQ(Run("FROM absent").error().kind, ErrorKind::kConfig);
  EXPECT_EQ(Query(folder_ / "absent.duckdb", "SELECT 1", {}, false, {}).error().kind,
            ErrorKind::kNotFound);
}

}  // namespace
}  // namespace freshet::sink::duckdb
