#include <gtest/gtest.h>

#include "integration/all_sinks_fixture.h"

/// Tables that change while they are captured: every target equals the source behind the change.
namespace freshet {
namespace {

struct Case {
  const char* name;
  const char* before;  ///< SQL whose rows come by snapshot
  const char* change;  ///< SQL that comes by the stream, or not at all; a transaction a line
  int from_major = 10;
  const char* sinks = "";  ///< compared; empty: all
};

const Case kCases[] = {
    {"AddedColumnIsNullInOldRows",
     "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
     "ALTER TABLE t ADD COLUMN note text; INSERT INTO t VALUES (10, 'new');"
     "UPDATE t SET note = 'noted' WHERE id = 1"},
    {"ConstantDefaultsHoldInOldRows",
     "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
     "ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 7, ADD COLUMN s text DEFAULT 'it''s, {x}',"
     " ADD COLUMN a text[] DEFAULT '{a,\"b,c\",NULL}', ADD COLUMN d date DEFAULT '2024-02-29',"
     " ADD COLUMN x numeric(9,2) DEFAULT 'NaN', ADD COLUMN b bytea DEFAULT '\\x00ff',"
     " ADD COLUMN j jsonb DEFAULT '{\"k\": [1, null]}', ADD COLUMN y bool DEFAULT true,"
     " ADD COLUMN z timestamptz DEFAULT '2024-02-29 12:00:00+02', ADD COLUMN i interval"
     " DEFAULT '1 day', ADD COLUMN f float8 DEFAULT 0.1, ADD COLUMN g box DEFAULT '(1,1),(0,0)';"
     "INSERT INTO t (id) VALUES (10); UPDATE t SET n = 8, s = NULL WHERE id = 1",
     11},
    {"DefaultsOfSeveralAltersBetweenTwoRows",
     "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
     "INSERT INTO t VALUES (10); ALTER TABLE t ADD COLUMN a int DEFAULT 1;"
     "INSERT INTO t VALUES (11, 5); ALTER TABLE t ALTER COLUMN a SET DEFAULT 2;"
     "ALTER TABLE t ADD COLUMN b int DEFAULT 3; INSERT INTO t (id) VALUES (12);"
     "UPDATE t SET a = 9 WHERE id IN (1, 10); DELETE FROM t WHERE id = 2",
     11},
    {"RenamedColumnsKeepTheirValues",
     "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a1', 'b1'),"
     " (2, 'a2', 'b2')",
     "INSERT INTO t VALUES (3, 'a3', 'b3'); ALTER TABLE t RENAME COLUMN a TO c;"
     "INSERT INTO t VALUES (4, 'a4', 'b4'); ALTER TABLE t RENAME COLUMN b TO d;"
     "UPDATE t SET d = 'new' WHERE id = 1"},
    {"DroppedColumn",
     "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a1', 'b1'),"
     " (2, 'a2', 'b2')",
     "ALTER TABLE t DROP COLUMN a; INSERT INTO t VALUES (3, 'b3'); UPDATE t SET b = 'x'"
     " WHERE id = 1"},
    {"ColumnDroppedAndAddedAgain",
     "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a1'), (2, 'a2')",
     "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text; INSERT INTO t VALUES (3, 'x')"},
    {"TypesThatNeedNoRewrite",
     "CREATE TABLE t (id int PRIMARY KEY, v varchar(5), n numeric(6,2)); INSERT INTO t VALUES"
     " (1, 'a', 1.5), (2, 'b', 2.25)",
     "ALTER TABLE t ALTER COLUMN v TYPE text, ALTER COLUMN n TYPE numeric(12,2);"
     "INSERT INTO t VALUES (3, 'longer than five', 1234567890.25)"},
    {"IntegerThatIsWidened",
     "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2)",
     "ALTER TABLE t ALTER COLUMN n TYPE bigint; INSERT INTO t VALUES (3, 5000000000);"
     "UPDATE t SET n = 6000000000 WHERE id = 1"},
    {"RenamedTable",
     "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a1'), (2, 'a2')",
     "INSERT INTO t VALUES (3, 'a3'); ALTER TABLE t RENAME TO renamed;"
     "INSERT INTO renamed VALUES (4, 'a4'); DELETE FROM renamed WHERE id = 2"},
    {"OtherPrimaryKey",
     "CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL, a text); INSERT INTO t VALUES"
     " (1, 10, 'a1'), (2, 20, 'a2')",
     "UPDATE t SET a = 'x' WHERE id = 1; ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (k);"
     "UPDATE t SET id = 5, a = 'y' WHERE k = 10; DELETE FROM t WHERE k = 20",
     10, "mirror"},
    {"OtherReplicaIdentity",
     "CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL UNIQUE, a text); INSERT INTO t VALUES"
     " (1, 10, 'a1'), (2, 20, 'a2'), (3, 30, 'a3')",
     "ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET a = 'x' WHERE id = 1;"
     "ALTER TABLE t REPLICA IDENTITY USING INDEX t_k_key; UPDATE t SET k = 11 WHERE id = 1;"
     "DELETE FROM t WHERE k = 20; ALTER TABLE t REPLICA IDENTITY DEFAULT;"
     "UPDATE t SET id = 33 WHERE id = 3",
     10, "mirror"},
    {"EnumValueAddedLive",
     "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int PRIMARY KEY, m mood, l mood[]);"
     "INSERT INTO t VALUES (1, 'sad', '{sad}')",
     "ALTER TYPE mood ADD VALUE 'happy';\nINSERT INTO t VALUES (2, 'happy', '{sad,happy}')",
     12},  // before, the server wants it outside of any block

    {"Truncate", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
     "TRUNCATE t; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (1, 2)", 11},
    {"ToastedValuesAcrossARename",
     "CREATE TABLE t (id int PRIMARY KEY, big text, n int); ALTER TABLE t ALTER COLUMN big SET"
     " STORAGE EXTERNAL; INSERT INTO t SELECT i, repeat(i::text, 5000), i FROM"
     " generate_series(1, 3) i",
     "UPDATE t SET n = 10 WHERE id = 1; ALTER TABLE t RENAME COLUMN big TO long;"
     "UPDATE t SET n = 20 WHERE id = 2; ALTER TABLE t ADD COLUMN m int DEFAULT 5;"
     "UPDATE t SET id = 30, n = 30 WHERE id = 3; UPDATE t SET n = 31 WHERE id = 30",
     11},  // before, a default rewrites the table without a word
};

class DdlTest : public test::AllSinksTest {};

/// The catalog has the last version while the stream is still at the first.
TEST_P(DdlTest, TargetsFollowABacklogOfChanges) {
  for (const Case& c : kCases) {
    if (c.from_major > GetParam()) continue;
    SCOPED_TRACE(c.name);
    StartOver();
    Sql(c.before);
    CatchUp();

    Sql(c.change);
    CatchUp();

    ExpectEqual(c.sinks);
  }
}

/// The catalog is read when each change comes.
TEST_P(DdlTest, TargetsFollowChangesAsTheyCome) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"CREATE TABLE t (id int PRIMARY KEY, a numeric(9,2), b numeric(9,2)); INSERT INTO t VALUES"
       " (1, 1, 'NaN'), (2, 'NaN', 4)",
       "ALTER TABLE t RENAME COLUMN a TO c; ALTER TABLE t RENAME COLUMN b TO a; ALTER TABLE t "
       "RENAME"
       " COLUMN c TO b; UPDATE t SET a = 7 WHERE id = 2\n"
       "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a numeric(9,2); INSERT INTO t VALUES"
       " (3, 5, 6)\n"
       "UPDATE t SET b = 9 WHERE id = 1"},
      {"CREATE TABLE t (id int PRIMARY KEY, big text, n int); ALTER TABLE t ALTER COLUMN big SET"
       " STORAGE EXTERNAL; INSERT INTO t SELECT i, repeat(i::text, 5000), i FROM"
       " generate_series(1, 3) i",
       "UPDATE t SET n = 10 WHERE id = 1\n"
       "ALTER TABLE t RENAME COLUMN big TO long; UPDATE t SET n = 20 WHERE id = 2\n"
       "UPDATE t SET id = 30, n = 30 WHERE id = 3; UPDATE t SET n = 31 WHERE id = 30"},
  };
  for (const auto& [before, change] : cases) {
    SCOPED_TRACE(change);
    StartOver();
    Sql(before);
    CatchUp();

    std::istringstream lines(change);
    for (std::string line; std::getline(lines, line);) {
      Sql(line);
      CatchUp();
    }

    ExpectEqual();
  }
}

/// What was rewritten, came or went is found at the next start.
TEST_P(DdlTest, TargetsFollowWhatIsNotSent) {
  struct Unsent {
    const char* before;
    const char* change;
    int from_major;
  };
  const Unsent cases[] = {
      {"CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM"
       " generate_series(1, 9) g",
       "ALTER TABLE t ALTER COLUMN v TYPE text USING 'n' || v; INSERT INTO t VALUES (10, 'new');"
       "UPDATE t SET v = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2",
       10},
      {"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)",
       "ALTER TABLE t ADD COLUMN r float8 DEFAULT random(), ADD COLUMN s bigserial;"
       "INSERT INTO t VALUES (10); UPDATE t SET r = 1 WHERE id = 1",
       10},
      {"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
       "ALTER TABLE t ALTER COLUMN id TYPE bigint USING id + 5000000000; INSERT INTO t VALUES"
       " (1, 'c'); UPDATE t SET v = 'd' WHERE id = 5000000001",
       10},
      {"CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t_1"
       " PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t_2 PARTITION OF t FOR VALUES"
       " FROM (10) TO (20); INSERT INTO t VALUES (1, 'a'), (11, 'b')",
       "CREATE TABLE t_3 (v text, id int PRIMARY KEY); INSERT INTO t_3 VALUES ('c', 21), ('d', "
       "22)\n"
       "ALTER TABLE t ATTACH PARTITION t_3 FOR VALUES FROM (20) TO (30);"
       "UPDATE t SET v = 'x' WHERE id = 21; UPDATE t SET id = 2 WHERE id = 22; INSERT INTO t VALUES"
       " (12, 'y')\nDROP TABLE t_2; INSERT INTO t VALUES (3, 'z')",
       13},
  };
  for (const Unsent& c : cases) {
    if (c.from_major > GetParam()) continue;
    SCOPED_TRACE(c.change);
    StartOver();
    Sql(c.before);
    CatchUp();

    Sql(c.change);
    CatchUp();

    ExpectEqual();
  }
}

INSTANTIATE_TEST_SUITE_P(Majors, DdlTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet
