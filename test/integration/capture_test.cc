#include "postgres/capture.h"

#include <gmock/gmock.h>

#include "postgres/connection.h"
#include "support/memory_output.h"
#include "support/shared_postgres.h"

namespace freshet::postgres {
namespace {

using change::Lsn;
using test::MemoryOutput;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CaptureTest : public test::SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.slot = name_;
    options_.tables = {"public.*"};
  }

  Options options_;
  MemoryOutput output_;
};

TEST_P(CaptureTest, ExistingRowsComeFirstThenEveryOperation) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "INSERT INTO public.t VALUES (1, 'old')");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitForEvents(1));
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (2, 'two')");
  Run("UPDATE public.t SET v = 'TWO' WHERE id = 2");
  Run("UPDATE public.t SET id = 3 WHERE id = 2");
  Run("DELETE FROM public.t WHERE id = 1");
  if (GetParam() >= 11) Run("TRUNCATE public.t");

  const size_t expected = GetParam() >= 11 ? 7 : 6;
  ASSERT_TRUE(output_.WaitForEvents(expected));
  const Status status = capture.Stop();
  ASSERT_TRUE(status.has_value()) << status.error();
  std::vector<std::string> events = output_.Events();
  if (GetParam() >= 11) {
    EXPECT_EQ(events.back(), "truncate public.t");
    events.pop_back();
  }
  EXPECT_THAT(events,
              ElementsAre("snapshot public.t 1 | old", "insert public.t 2 | two",
                          "update_postimage public.t 2 | TWO", "update_preimage public.t 2 | NULL",
                          "update_postimage public.t 3 | TWO", "delete public.t 1 | NULL"));
  EXPECT_EQ(output_.source()->slot, name_);
  EXPECT_EQ(std::to_string(output_.source()->system_id),
            Ask("SELECT system_identifier FROM pg_control_system()"));
  const auto transactions = output_.transactions();
  EXPECT_EQ(transactions.front().kind, change::TransactionKind::kSnapshot);
  EXPECT_EQ(transactions[1].end_lsn, output_.source()->consistent_point);
}

/// No row may be missing, whether it was read or streamed.
TEST_P(CaptureTest, SnapshotAndStreamMeetExactlyUnderTraffic) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t SELECT generate_series(1, "
      "1000)");
  std::stop_source done;
  std::thread writer([&] {
    for (int i = 1001; !done.stop_requested(); ++i) {
      (void)server_->Run("INSERT INTO public.t VALUES (" + std::to_string(i) + ")", name_);
    }
  });
  RunningCapture capture(options_, output_);
  EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming));
  EXPECT_TRUE(output_.WaitForEvents(1050));
  done.request_stop();
  writer.join();
  const int count = std::stoi(Ask("SELECT count(*) FROM public.t"));
  // A row that was inserted while the others were read may come as both.
  const auto ids = [&] {
    std::set<int> out;
    for (const std::string& event : output_.Events()) {
      out.insert(std::stoi(event.substr(event.rfind(' ') + 1)));
    }
    return out;
  };

  EXPECT_TRUE(output_.WaitUntil([&] { return static_cast<int>(ids().size()) == count; }));

  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_EQ(*ids().rbegin(), count);
}

TEST_P(CaptureTest, FullIdentityCarriesTheWholeOldRow) {
  Run("CREATE TABLE public.t (a int, b text); ALTER TABLE public.t REPLICA IDENTITY FULL");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (1, 'x'); UPDATE public.t SET b = 'y'; DELETE FROM public.t");

  ASSERT_TRUE(output_.WaitForEvents(4));
  EXPECT_THAT(output_.Events(),
              ElementsAre("insert public.t 1 | x", "update_preimage public.t 1 | x",
                          "update_postimage public.t 1 | y", "delete public.t 1 | y"));
}

TEST_P(CaptureTest, AnUnchangedToastValueIsMarked) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, n int, big text);"
      "ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (1, 0, repeat('x', 9000))");
  Run("UPDATE public.t SET n = 1");

  ASSERT_TRUE(output_.WaitForEvents(2));
  EXPECT_EQ(output_.Events()[1], "update_postimage public.t 1 | 1 | NULL (unchanged big)");
}

TEST_P(CaptureTest, RowsCarryTheColumnsOfTheirTimeWhenATransactionAltersTheTable) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("BEGIN; INSERT INTO public.t VALUES (1); ALTER TABLE public.t ADD v text DEFAULT 'd';"
      "INSERT INTO public.t VALUES (2, 'two'); ALTER TABLE public.t DROP v;"
      "INSERT INTO public.t VALUES (3); COMMIT");

  ASSERT_TRUE(output_.WaitForEvents(3));
  EXPECT_THAT(output_.Events(),
              ElementsAre("insert public.t 1", "insert public.t 2 | two", "insert public.t 3"));
}

TEST_P(CaptureTest, RolledBackWorkNeverArrives) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("BEGIN; INSERT INTO public.t VALUES (1); ROLLBACK");
  Run("BEGIN; INSERT INTO public.t VALUES (2); SAVEPOINT s; INSERT INTO public.t VALUES (3);"
      "ROLLBACK TO s; INSERT INTO public.t VALUES (4); COMMIT");

  ASSERT_TRUE(output_.WaitForEvents(2));
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 2", "insert public.t 4"));
}

TEST_P(CaptureTest, LogicalMessagesArriveInPlace) {
  if (GetParam() < 14) GTEST_SKIP() << "pgoutput sends messages from 14 on";
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("BEGIN; INSERT INTO public.t VALUES (1);"
      "SELECT pg_logical_emit_message(true, 'p', 'with'); COMMIT");
  Run("SELECT pg_logical_emit_message(false, 'p', 'alone')");
  Run("INSERT INTO public.t VALUES (2)");

  ASSERT_TRUE(output_.WaitForEvents(4));
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1", "message p with",
                                            "message p alone (at once)", "insert public.t 2"));
}

TEST_P(CaptureTest, AGiantTransactionComesInPartsAndWhole) {
  options_.batch_rows = 1000;
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t SELECT generate_series(1, 10500)");

  ASSERT_TRUE(output_.WaitForEvents(10'500));
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.transactions().back().ends; }));
  EXPECT_TRUE(capture.Stop().has_value());
  int64_t rows = 0;
  int parts = 0;
  for (const auto& batch : output_.batches()) {
    if (batch->num_rows() == 0) continue;
    EXPECT_LT(batch->num_rows(), 2000);
    rows += batch->num_rows();
    ++parts;
  }
  EXPECT_EQ(rows, 10'500);
  EXPECT_GE(parts, 10);
}

TEST_P(CaptureTest, PartitionedTablesArriveUnderTheirRoot) {
  if (GetParam() < 11) GTEST_SKIP() << "a partitioned table has no primary key before 11";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t1 PARTITION OF public.t FOR VALUES FROM (0) TO (10);"
      "CREATE TABLE public.t2 (v text, id int NOT NULL);"
      "ALTER TABLE public.t ATTACH PARTITION public.t2 FOR VALUES FROM (10) TO (20);"
      "INSERT INTO public.t VALUES (1, 'a'), (11, 'b')");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (12, 'c')");

  ASSERT_TRUE(output_.WaitForEvents(3));
  auto events = output_.Events();
  std::sort(events.begin(), events.end());
  if (GetParam() >= 13) {
    EXPECT_THAT(events, ElementsAre("insert public.t 12 | c", "snapshot public.t 1 | a",
                                    "snapshot public.t 11 | b"));
  } else {
    EXPECT_THAT(events, ElementsAre("insert public.t2 c | 12", "snapshot public.t1 1 | a",
                                    "snapshot public.t2 b | 11"));
  }
}

TEST_P(CaptureTest, ATableWithoutRowsIsAnnounced) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  bool announced = false;
  for (const auto& batch : output_.batches()) {
    for (const auto& table : batch->tables) announced |= table.schema->name().table == "t";
  }
  EXPECT_TRUE(announced);
}

TEST_P(CaptureTest, SnapshotAndStreamAgreeOnTheSchema) {
  Run("CREATE TYPE public.mood AS ENUM ('sad', 'ok');"
      "CREATE DOMAIN public.price AS numeric(10, 2);"
      "CREATE TABLE public.t (id int PRIMARY KEY, m public.mood, p public.price,"
      " ms public.mood[], c varchar(7) NOT NULL DEFAULT 'x');"
      "INSERT INTO public.t VALUES (1, 'ok', 1.50, '{sad,ok}', 'c')");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (2, 'ok', 1.50, '{sad,ok}', 'c')");

  ASSERT_TRUE(output_.WaitForEvents(2));
  std::vector<std::shared_ptr<const change::TableSchema>> schemas;
  for (const auto& batch : output_.batches()) {
    for (const auto& table : batch->tables) schemas.push_back(table.schema);
  }
  ASSERT_GE(schemas.size(), 2u);
  for (const auto& schema : schemas) EXPECT_TRUE(*schema == *schemas[0]);
  EXPECT_EQ(change::ToString(schemas[0]->columns()[2].type), "decimal(10,2)");
  EXPECT_EQ(schemas[0]->columns()[1].type.kind, change::LogicalKind::kText);
  EXPECT_EQ(schemas[0]->columns()[3].type.kind, change::LogicalKind::kList);
  EXPECT_EQ(schemas[0]->columns()[4].type_name, "character varying(7)");
  EXPECT_TRUE(schemas[0]->columns()[4].not_null);
  EXPECT_TRUE(schemas[0]->columns()[0].primary_key);
}

TEST_P(CaptureTest, OnlyTheSnapshotLeavesNothingBehind) {
  options_.snapshot = SnapshotMode::kOnly;
  Run("CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1)");
  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();

  ASSERT_TRUE(end.has_value() && end->has_value()) << capture.status().reason;
  EXPECT_THAT(output_.Events(), ElementsAre("snapshot public.t 1"));
  EXPECT_TRUE(output_.transactions().back().ends);
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_TRUE(output_.WaitUntil([&] {
    return Ask("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") ==
           "0";
  }));
}

/// A notice about a name too long must not be taken for one about the publication.
TEST_P(CaptureTest, TheLongestNamesDrawNoNotice) {
  options_.slot = name_ + std::string(63 - name_.size(), 'x');
  options_.publication = "x";
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (1)");

  EXPECT_TRUE(output_.WaitForEvents(1)) << capture.status().reason;
}

TEST_P(CaptureTest, WithoutASnapshotTheStreamStartsAtTheSlot) {
  options_.snapshot = SnapshotMode::kNever;
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2)");

  ASSERT_TRUE(output_.WaitForEvents(1));
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 2"));
  EXPECT_EQ(output_.transactions().front().end_lsn, output_.source()->consistent_point);
}

INSTANTIATE_TEST_SUITE_P(Majors, CaptureTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
