#include <gmock/gmock.h>

#include <algorithm>

#include "faults/shared_capture.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"

/// What happens to tables under the stream.
namespace freshet::postgres {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class TableFaultsTest : public test::SharedCaptureTest {};

TEST_P(TableFaultsTest, Fault29_RowsOfADroppedTableArriveAndTheOthersGoOn) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.t_gone (id int PRIMARY "
      "KEY)");
  Stream();

  Run("INSERT INTO public.t_gone VALUES (1)");
  Run("DROP TABLE public.t_gone");
  Run("INSERT INTO public.t VALUES (2)");

  Expect(2);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t_gone 1", "insert public.t 2"));
  ExpectWarning("\"public\".\"t_gone\" was dropped");
}

TEST_P(TableFaultsTest, Fault30_ATableMadeUnderTheNameOfADroppedOneIsAnotherTable) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 'old')");
  Expect(1);
  Run("DROP TABLE public.t; CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "INSERT INTO public.t VALUES (1, 'new')");
  ExpectWarning("\"public\".\"t\" was dropped");

  // Its rows are not taken for rows of the old one.
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | old"));
}

TEST_P(TableFaultsTest, Fault31_ARenamedTableIsFollowed) {
  Run("CREATE SCHEMA attic; CREATE TABLE public.t (id int PRIMARY KEY);"
      "CREATE TABLE public.t_moved (id int PRIMARY KEY)");
  Stream();
  Run("INSERT INTO public.t VALUES (1); INSERT INTO public.t_moved VALUES (1)");
  Expect(2);

  Run("ALTER TABLE public.t RENAME TO t_renamed; ALTER TABLE public.t_moved SET SCHEMA attic");
  Run("INSERT INTO public.t_renamed VALUES (2)");
  Run("INSERT INTO attic.t_moved VALUES (2)");

  Expect(4);
  const auto events = output_.Events();
  EXPECT_EQ(events[2], "insert public.t_renamed 2");
  EXPECT_EQ(events[3], "insert attic.t_moved 2");
}

TEST_P(TableFaultsTest, Fault33_DroppedAndRenamedColumnsComeFromTheNextRowOn) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, a text, b text)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 'a', 'b')");
  Run("ALTER TABLE public.t DROP a");
  Run("INSERT INTO public.t VALUES (2, 'b')");
  Run("ALTER TABLE public.t RENAME b TO c");
  Run("INSERT INTO public.t VALUES (3, 'c')");

  Expect(3);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | a | b", "insert public.t 2 | b",
                                            "insert public.t 3 | c"));
  const auto& last = output_.batches().back()->tables.at(0).schema->columns();
  EXPECT_EQ(last.at(1).name, "c");
}

TEST_P(TableFaultsTest, Fault34_RowsKeepTheTypeOfTheirTime) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v int)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 7)");
  Run("ALTER TABLE public.t ALTER v TYPE text USING 'n' || v");
  Run("INSERT INTO public.t VALUES (2, 'text')");
  Run("BEGIN; INSERT INTO public.t VALUES (3, 'before');"
      "ALTER TABLE public.t ALTER v TYPE bytea USING v::bytea;"
      "INSERT INTO public.t VALUES (4, '\\x00ff'); COMMIT");

  Expect(4);
  const auto events = output_.Events();
  EXPECT_THAT(events, ElementsAre("insert public.t 1 | 7", "insert public.t 2 | text",
                                  "insert public.t 3 | before", HasSubstr("insert public.t 4 |")));
}

TEST_P(TableFaultsTest, Fault32_OfAColumnWithAVolatileDefaultOldRowsComeAgainWithTheirValues) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.t2 (id int PRIMARY KEY);"
      "INSERT INTO public.t VALUES (1); INSERT INTO public.t2 VALUES (1)");
  Stream();
  Expect(2);

  Run("ALTER TABLE public.t ADD c int DEFAULT 7");
  Run("INSERT INTO public.t (id) VALUES (2)");
  Run("ALTER TABLE public.t2 ADD c int DEFAULT (1e6 * random())::int");

  ExpectReadAgain("t2", "the rows of \"public\".\"t2\" were rewritten");
  EXPECT_THAT(output_.Events(), Contains("insert public.t 2 | 7"));
  EXPECT_THAT(output_.Events(),
              Contains("snapshot public.t2 1 | " + Ask("SELECT c FROM public.t2 WHERE id = 1")));
  EXPECT_EQ(Replaced(), 2) << "by the first snapshot only";
  // Before 11 every default rewrites the table.
  EXPECT_EQ(capture_->status().read_again_total, GetParam() < 11 ? 2 : 1);
}

TEST_P(TableFaultsTest, Fault34_OfATypeThatRewritesTheTableOldRowsComeAgain) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v int); INSERT INTO public.t VALUES (1, 7)");
  Stream();

  Run("ALTER TABLE public.t ALTER v TYPE text USING 'n' || v");

  ExpectReadAgain("t", "the rows of \"public\".\"t\" were rewritten");
  EXPECT_EQ(output_.Events().back(), "snapshot public.t 1 | n7");
}

/// Nothing but the values says that this was no VACUUM.
TEST_P(TableFaultsTest, Fault34_ARewriteThatKeepsTheTypeIsToldFromATruncate) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t VALUES (1, 'a');"
      "CREATE TABLE public.t2 (id int PRIMARY KEY); INSERT INTO public.t2 VALUES (1)");
  Stream();

  Run("TRUNCATE public.t2; INSERT INTO public.t2 VALUES (2)");
  Run("ALTER TABLE public.t ALTER v TYPE text USING upper(v)");

  ExpectReadAgain("t", "table \"public\".\"t\" was truncated or rewritten");
  EXPECT_THAT(output_.Events(), Contains("snapshot public.t 1 | A"));
  if (GetParam() < 11) GTEST_SKIP() << "10 sends no TRUNCATE";
  EXPECT_EQ(capture_->status().read_again_total, 1);
}

TEST_P(TableFaultsTest, Fault34_WhereItIsWishedAWarningNamesTheTableThatWasRewritten) {
  options_.unsent_rows = UnsentRowsPolicy::kWarn;
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v int); INSERT INTO public.t VALUES (1, 7)");
  Stream();
  Run("ALTER TABLE public.t ALTER v TYPE text");
  ExpectWarning("freshet table resnapshot public.t");
  // The warning stays until the table is read again.
  ASSERT_TRUE(capture_->Stop().has_value());
  Stream();
  ExpectWarning("the rows of \"public\".\"t\" were rewritten");

  ASSERT_TRUE(capture_->capture().RequestSnapshot({"public", "t"}, false).has_value());

  EXPECT_TRUE(output_.WaitUntil([&] { return capture_->status().warnings.empty(); }));
  EXPECT_EQ(output_.Events().back(), "snapshot public.t 1 | 7");
  EXPECT_EQ(capture_->status().read_again_total, 0);
}

TEST_P(TableFaultsTest, Fault34_WhatWasRewrittenWhileNobodyWatchedIsReadAgainToo) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v int); INSERT INTO public.t VALUES (1, 7);"
      "CREATE TABLE public.t2 (id int PRIMARY KEY); INSERT INTO public.t2 VALUES (1)");
  Stream();
  ASSERT_TRUE(capture_->Stop().has_value());

  Run("ALTER TABLE public.t ALTER v TYPE bigint");
  Run("VACUUM FULL public.t2");
  Stream();

  ExpectReadAgain("t", "the rows of \"public\".\"t\" were rewritten");
  EXPECT_EQ(capture_->status().read_again_total, 1);
  // Known from then on.
  ASSERT_TRUE(capture_->Stop().has_value());
  Stream();
  Run("INSERT INTO public.t2 VALUES (2)");
  Expect(4);
  EXPECT_EQ(capture_->status().read_again_total, 0);
}

TEST_P(TableFaultsTest, Fault41_OfATruncatedPartitionTheTableIsEmptiedAndReadAgain) {
  if (GetParam() < 13) GTEST_SKIP() << "partitions come under their own names before 13";
  Run("CREATE TABLE public.t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t_1 PARTITION OF public.t FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE public.t_2 PARTITION OF public.t FOR VALUES FROM (10) TO (20);"
      "INSERT INTO public.t VALUES (1), (11)");
  Stream();
  Run("VACUUM FULL public.t_2");

  Run("TRUNCATE public.t_1");

  ExpectReadAgain("t", "partition \"public\".\"t_1\" was truncated or rewritten");
  EXPECT_EQ(output_.Events().back(), "snapshot public.t 11");
  EXPECT_EQ(Replaced(), 2);
  // Of the whole table it is sent.
  Run("TRUNCATE public.t; INSERT INTO public.t VALUES (2)");
  Expect(5);
  EXPECT_EQ(output_.Events().back(), "insert public.t 2");
  EXPECT_EQ(capture_->status().read_again_total, 1);
}

TEST_P(TableFaultsTest, Fault42_OfAPartitionAttachedWithRowsJustItsRowsAreRead) {
  if (GetParam() < 13) GTEST_SKIP() << "partitions come under their own names before 13";
  Run("CREATE TABLE public.t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t_1 PARTITION OF public.t FOR VALUES FROM (0) TO (10);"
      "INSERT INTO public.t VALUES (1);"
      "CREATE TABLE public.filled (id int PRIMARY KEY); INSERT INTO public.filled VALUES (11)");
  Stream();

  Run("CREATE TABLE public.t_3 PARTITION OF public.t FOR VALUES FROM (20) TO (30)");
  Run("INSERT INTO public.t VALUES (21)");
  Run("ALTER TABLE public.t ATTACH PARTITION public.filled FOR VALUES FROM (10) TO (20)");

  ExpectReadAgain("t", "partition \"public\".\"filled\" was attached with rows");
  EXPECT_THAT(output_.Events(),
              ElementsAre("snapshot public.t 1", "insert public.t 21", "snapshot public.t 11"));
  EXPECT_EQ(Replaced(), 1);
  // Filled by the transaction that attaches it.
  Run("BEGIN; CREATE TABLE public.more (id int PRIMARY KEY); INSERT INTO public.more VALUES (31);"
      "ALTER TABLE public.t ATTACH PARTITION public.more FOR VALUES FROM (30) TO (40);"
      "INSERT INTO public.t VALUES (32); COMMIT");
  ExpectReadAgain("t", "partition \"public\".\"more\" was attached with rows");
  EXPECT_THAT(output_.Events(), Contains("snapshot public.t 31"));
  EXPECT_EQ(capture_->status().read_again_total, 2);
}

TEST_P(TableFaultsTest, Fault42_OfAPartitionTakenAwayTheTableIsEmptiedAndReadAgain) {
  if (GetParam() < 13) GTEST_SKIP() << "partitions come under their own names before 13";
  Run("CREATE TABLE public.t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE public.p_1 PARTITION OF public.t FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE public.p_2 PARTITION OF public.t FOR VALUES FROM (10) TO (20);"
      "CREATE TABLE public.p_3 PARTITION OF public.t FOR VALUES FROM (20) TO (30);"
      "INSERT INTO public.t VALUES (1), (11), (21)");
  Stream();

  Run("ALTER TABLE public.t DETACH PARTITION public.p_1");

  ExpectReadAgain("t", "partition \"public\".\"p_1\" was detached or dropped");
  EXPECT_EQ(output_.Events().size(), 5u);
  EXPECT_EQ(Replaced(), 2);
  // Also while nobody watches; and where rows that are gone are to stay, they do.
  ASSERT_TRUE(capture_->Stop().has_value());
  Run("DROP TABLE public.p_2");
  options_.unsent_rows = UnsentRowsPolicy::kKeepVanished;
  Stream();
  ExpectWarning("was detached or dropped");
  EXPECT_THAT(capture_->status().warnings[0], HasSubstr("resnapshot public.t --replace"));
  options_.unsent_rows = UnsentRowsPolicy::kReadAgain;
  ASSERT_TRUE(capture_->Stop().has_value());
  Stream();
  ExpectReadAgain("t", "was detached or dropped");
  EXPECT_EQ(output_.Events().back(), "snapshot public.t 21");
  EXPECT_EQ(Replaced(), 3);
}

TEST_P(TableFaultsTest, Fault45_AnUnloggedTableIsRefusedAndItsRowsComeOnceItIsLogged) {
  Run("CREATE UNLOGGED TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)");
  capture_ = std::make_unique<test::RunningCapture>(options_, output_);
  const auto refused = capture_->WaitEnd();
  ASSERT_TRUE(refused.has_value() && !refused->has_value());
  EXPECT_THAT(refused->error().message, HasSubstr("SET LOGGED"));

  Run("ALTER TABLE public.t SET LOGGED");
  Stream();
  Run("INSERT INTO public.t VALUES (2)");

  Expect(2);
  EXPECT_THAT(output_.Events(), ElementsAre("snapshot public.t 1", "insert public.t 2"));
}

/// A publication of all tables lets a table become unlogged, and sends it no more.
TEST_P(TableFaultsTest, Fault45_OfATableThatWasUnloggedForAWhileTheRowsAreReadAgain) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t VALUES (1, 'a'),"
      " (2, 'b'); CREATE PUBLICATION freshet FOR ALL TABLES");
  Stream();
  ASSERT_TRUE(capture_->Stop().has_value());
  Run("ALTER TABLE public.t SET UNLOGGED; UPDATE public.t SET v = 'unsent' WHERE id = 1;"
      "DELETE FROM public.t WHERE id = 2; ALTER TABLE public.t SET LOGGED");

  Stream();

  ExpectReadAgain("t", "was truncated or rewritten");
  EXPECT_EQ(output_.Events().back(), "snapshot public.t 1 | unsent");
  EXPECT_EQ(Replaced(), 2);
}

TEST_P(TableFaultsTest, Fault35_EachRowOfATransactionHasTheColumnsOfItsMoment) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, a int); CREATE TABLE public.t2 (id int PRIMARY "
      "KEY)");
  Stream();

  Run("BEGIN; INSERT INTO public.t VALUES (1, 1); ALTER TABLE public.t ADD b int;"
      "INSERT INTO public.t VALUES (2, 2, 2); SAVEPOINT s; ALTER TABLE public.t DROP a;"
      "INSERT INTO public.t VALUES (3, 3); ROLLBACK TO s; INSERT INTO public.t VALUES (4, 4, 4);"
      "ALTER TABLE public.t2 RENAME TO t3; INSERT INTO public.t3 VALUES (5); COMMIT");

  Expect(4);
  EXPECT_THAT(output_.Events(),
              UnorderedElementsAre("insert public.t 1 | 1", "insert public.t 2 | 2 | 2",
                                   "insert public.t 4 | 4 | 4", "insert public.t3 5"));
}

TEST_P(TableFaultsTest, Fault36_TypesThatGrowAreReadInTheirNewForm) {
  Run("CREATE TYPE public.mood AS ENUM ('sad'); CREATE DOMAIN public.few AS int CHECK (VALUE < 3);"
      "CREATE TYPE public.pair AS (a int);"
      "CREATE TABLE public.t (id int PRIMARY KEY, m public.mood, f public.few, p public.pair)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 'sad', 2, ROW(1))");

  Run("ALTER TYPE public.mood ADD VALUE 'glad'");
  Run("ALTER DOMAIN public.few DROP CONSTRAINT few_check;"
      "ALTER TYPE public.pair ADD ATTRIBUTE b text");
  Run("INSERT INTO public.t VALUES (2, 'glad', 300, ROW(1, 'x y'))");

  Expect(2);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | sad | 2 | (1)",
                                            "insert public.t 2 | glad | 300 | (1,\"x y\")"));
}

TEST_P(TableFaultsTest, Fault37_TheKeySwitchesAtTheRowWhereTheIdentitySwitched) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, u int NOT NULL UNIQUE, v text)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 10, 'x')");
  Run("ALTER TABLE public.t REPLICA IDENTITY FULL");
  Run("UPDATE public.t SET v = 'full'");
  Run("ALTER TABLE public.t REPLICA IDENTITY USING INDEX t_u_key");
  Run("UPDATE public.t SET u = 11");
  Run("ALTER TABLE public.t REPLICA IDENTITY DEFAULT");
  Run("UPDATE public.t SET id = 2");

  Expect(7);
  EXPECT_THAT(output_.Events(),
              ElementsAre("insert public.t 1 | 10 | x", "update_preimage public.t 1 | 10 | x",
                          "update_postimage public.t 1 | 10 | full",
                          HasSubstr("update_preimage public.t NULL"),
                          "update_postimage public.t 1 | 11 | full",
                          HasSubstr("update_preimage public.t 1 |"),
                          "update_postimage public.t 2 | 11 | full"));
}

/// PostgreSQL refuses the application's updates then: freshet says so in its checks.
TEST_P(TableFaultsTest, Fault38_ADroppedIdentityIndexIsNamedAndHarmsNoRowsThatCame) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, u int NOT NULL UNIQUE);"
      "ALTER TABLE public.t REPLICA IDENTITY USING INDEX t_u_key");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 10)");
  Run("ALTER TABLE public.t DROP CONSTRAINT t_u_key");

  EXPECT_FALSE(server_->Run("UPDATE public.t SET u = 11", name_).has_value());
  Run("INSERT INTO public.t VALUES (2, 20)");

  Expect(2);
  auto connection = Connection::Connect(options_.url);
  ASSERT_TRUE(connection.has_value()) << connection.error();
  Catalog catalog(*std::move(connection));
  const auto checks = CheckTables(catalog, options_);
  ASSERT_TRUE(checks.has_value()) << checks.error();
  const auto failure = FirstFailure(*checks);
  ASSERT_TRUE(failure.has_value());
  EXPECT_THAT(failure->message, HasSubstr("has lost the index of its REPLICA IDENTITY"));
}

TEST_P(TableFaultsTest, Fault39_AKeyChangeMarksTheValuesItLeftAsTheyWere) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, big text);"
      "ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL");
  Stream();
  Run("INSERT INTO public.t VALUES (1, repeat('x', 9000))");

  Run("UPDATE public.t SET id = 2");

  Expect(3);
  EXPECT_EQ(output_.Events()[2], "update_postimage public.t 2 | NULL (unchanged big)");
}

TEST_P(TableFaultsTest, Fault40_TruncatedTablesAreEmptiedInOneTransaction) {
  if (GetParam() < 11) GTEST_SKIP() << "10 sends no TRUNCATE";
  Run("CREATE TABLE public.t (id serial PRIMARY KEY);"
      "CREATE TABLE public.t2 (id int PRIMARY KEY REFERENCES public.t);"
      "CREATE TABLE public.t3 (id int PRIMARY KEY REFERENCES public.t2)");
  Stream();
  Run("INSERT INTO public.t VALUES (1); INSERT INTO public.t2 VALUES (1);"
      "INSERT INTO public.t3 VALUES (1)");
  Expect(3);

  Run("TRUNCATE public.t RESTART IDENTITY CASCADE");
  Run("INSERT INTO public.t DEFAULT VALUES");

  Expect(7);
  auto events = output_.Events();
  EXPECT_EQ(events.back(), "insert public.t 1");
  std::sort(events.begin() + 3, events.begin() + 6);
  EXPECT_THAT(std::vector<std::string>(events.begin() + 3, events.begin() + 6),
              ElementsAre(HasSubstr("truncate public.t"), HasSubstr("truncate public.t2"),
                          HasSubstr("truncate public.t3")));
  // One message, so one transaction: as many as there were inserts, and it.
  EXPECT_EQ(std::ranges::count_if(output_.transactions(),
                                  [](const auto& t) {
                                    return t.kind == change::TransactionKind::kStream &&
                                           t.xid.value != 0;
                                  }),
            3);
}

TEST_P(TableFaultsTest, Fault43_ARowThatChangesItsPartitionIsDeletedAndInsertedAtOnce) {
  if (GetParam() < 11) GTEST_SKIP() << "rows cannot move between partitions before 11";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t_1 PARTITION OF public.t FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE public.t_2 PARTITION OF public.t FOR VALUES FROM (10) TO (20)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 'x')");

  Run("UPDATE public.t SET id = 11");

  Expect(3);
  const std::string root = GetParam() >= 13 ? "public.t " : "public.t_2 ";
  const auto events = output_.Events();
  EXPECT_THAT(events[1], HasSubstr("delete public.t"));
  EXPECT_EQ(events[2], "insert " + root + "11 | x");
}

/// Each of them has the server send the table's description again.
TEST_P(TableFaultsTest, Fault44_MaintenanceIsNoChangeOfSchema) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
  Stream();
  for (int i = 1; i <= 5; ++i) {
    Run("INSERT INTO public.t VALUES (" + std::to_string(i) + ", 'x')");
    Run("VACUUM FULL public.t");
    Run("CLUSTER public.t USING t_pkey");
    Run("REINDEX TABLE public.t; ANALYZE public.t; GRANT SELECT ON public.t TO PUBLIC");
    Run("CREATE INDEX ON public.t (v)");
  }
  Run("INSERT INTO public.t VALUES (6, 'x')");

  Expect(6);
  std::vector<std::shared_ptr<const change::TableSchema>> schemas;
  for (const auto& batch : output_.batches()) {
    for (const auto& table : batch->tables) schemas.push_back(table.schema);
  }
  for (const auto& schema : schemas) EXPECT_TRUE(*schema == *schemas.front());
}

TEST_P(TableFaultsTest, Fault57_OddNamesInTwoSchemasAreNotMixedUp) {
  const std::string longest(63, 'n');
  const std::vector<std::string> names = {"\"quo\"\"ted\"", "\"new\nline\"", "\"😀\"",
                                          "\"UPPER\"",      "\"1digit\"",    longest};
  options_.tables = {"*.*"};
  options_.exclude = {"pg_*.*", "information_schema.*"};
  Run("CREATE SCHEMA \"Other S\"");
  for (const std::string& name : names) {
    Run("CREATE TABLE public." + name + " (id int PRIMARY KEY); CREATE TABLE \"Other S\"." + name +
        " (id text PRIMARY KEY)");
  }
  Stream();
  for (const std::string& name : names) {
    Run("INSERT INTO public." + name + " VALUES (1); INSERT INTO \"Other S\"." + name +
        " VALUES ('one')");
  }

  Expect(2 * names.size());
  for (const std::string& name :
       std::vector<std::string>{"quo\"ted", "new\nline", "😀", "UPPER", "1digit", longest}) {
    EXPECT_THAT(output_.Events(), Contains("insert public." + name + " 1"));
    EXPECT_THAT(output_.Events(), Contains("insert Other S." + name + " one"));
  }
}

TEST_P(TableFaultsTest, Fault59_SettingsOfRoleAndDatabaseChangeNothing) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, d date, b bytea, i interval, f float8)");
  Run("CREATE ROLE " + name_.substr(0, 50) + "_u SUPERUSER LOGIN");
  options_.url = url(name_.substr(0, 50) + "_u");
  Stream();
  for (const std::string& of : {"ROLE " + name_.substr(0, 50) + "_u", "DATABASE " + name_}) {
    Run("ALTER " + of + " SET datestyle = 'German'; ALTER " + of +
        " SET bytea_output = 'escape'; ALTER " + of + " SET intervalstyle = 'iso_8601'; ALTER " +
        of + " SET extra_float_digits = -5");
  }
  const std::string row = ", '2024-03-04', '\\x00ff', '1 day 2 hours', 0.1::float8 + 0.2)";
  Run("INSERT INTO public.t VALUES (1" + row);
  Expect(1);
  // A new session has the new settings.
  ASSERT_TRUE(capture_->Stop().has_value());
  Stream();
  Run("INSERT INTO public.t VALUES (2" + row);

  Expect(2);
  const auto events = output_.Events();
  EXPECT_EQ(events[0].substr(events[0].find('|')), events[1].substr(events[1].find('|')));
  EXPECT_THAT(events[1], HasSubstr("2024-03-04"));
}

INSTANTIATE_TEST_SUITE_P(Majors, TableFaultsTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
