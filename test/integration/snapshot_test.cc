#include "postgres/snapshot.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "support/memory_output.h"
#include "support/shared_postgres.h"

/// The rows that are there before the stream.
namespace freshet::postgres {
namespace {

using change::Lsn;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::HasSubstr;

constexpr const char* kLoseSessions =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'freshet snapshot'";

class SnapshotTest : public test::SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.slot = name_;
    options_.tables = {"public.*"};
  }

  Options options_;
  test::MemoryOutput output_;
};

TEST_P(SnapshotTest, ALargeTableIsDividedAmongWorkersAndComesOnce) {
  // One row a block: much heap for few bytes.
  constexpr int kRows = 3 * SnapshotReader::kBlocksPerRange;
  options_.snapshot_workers = 3;
  options_.snapshot = SnapshotMode::kOnly;
  Run("CREATE TABLE public.t (id int, v text) WITH (fillfactor = 10, autovacuum_enabled = false);"
      "ALTER TABLE public.t ALTER v SET STORAGE PLAIN;"
      "INSERT INTO public.t SELECT g, repeat('x', 700) FROM generate_series(1, " +
      std::to_string(kRows) + ") g; CREATE TABLE public.small AS SELECT 1 AS a");
  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();

  ASSERT_TRUE(end.has_value() && end->has_value()) << capture.status().reason;
  std::vector<std::string> events = output_.Events();
  EXPECT_EQ(events.size(), static_cast<size_t>(kRows + 1));
  std::sort(events.begin(), events.end());
  EXPECT_EQ(std::adjacent_find(events.begin(), events.end()), events.end());
  const auto tables = capture.status().snapshot;
  ASSERT_EQ(tables.size(), 2u);
  for (const SnapshotTable& table : tables) EXPECT_TRUE(table.done);
  EXPECT_EQ(tables[1].rows_copied, kRows);
  EXPECT_GE(tables[1].bytes_estimated, int64_t{kRows} * 8192);
  EXPECT_GT(tables[1].bytes_copied, int64_t{kRows} * 700);
}

TEST_P(SnapshotTest, ItIsOneTransactionInPartsWithOrdinalsThatNeverRepeat) {
  options_.batch_rows = 100;
  options_.snapshot = SnapshotMode::kOnly;
  Run("CREATE TABLE public.a AS SELECT generate_series(1, 1000) AS id;"
      "CREATE TABLE public.b AS SELECT generate_series(1, 1000) AS id");
  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && end->has_value()) << capture.status().reason;

  std::set<int64_t> ordinals;
  for (const auto& batch : output_.batches()) {
    ASSERT_EQ(batch->transactions.size(), 1u);
    EXPECT_EQ(batch->transactions[0].kind, change::TransactionKind::kSnapshot);
    EXPECT_EQ(batch->transactions[0].commit_lsn, output_.source()->consistent_point);
    for (const auto& table : batch->tables) {
      ordinals.insert(table.ordinals.begin(), table.ordinals.end());
    }
  }
  EXPECT_EQ(ordinals.size(), 2000u);
  EXPECT_EQ(*ordinals.rbegin(), 1999);
  EXPECT_TRUE(output_.batches().front()->transactions[0].begins);
  EXPECT_TRUE(output_.batches().back()->transactions[0].ends);
  EXPECT_GE(output_.batches().size(), 20u);
}

/// A rewritten table looks empty to a snapshot taken before.
TEST_P(SnapshotTest, ATableRewrittenWhileItBeginsIsNotTakenForEmpty) {
  Run("CREATE TABLE public.t (id int); ALTER TABLE public.t REPLICA IDENTITY FULL; INSERT INTO "
      "public.t VALUES (1), (2)");
  bool rewritten = false;
  output_.OnSource([&](const change::SourceIdentity& source) {
    if (source.consistent_point == Lsn{} || rewritten) return;  // the slot is made
    rewritten = true;
    Run("ALTER TABLE public.t ALTER id TYPE bigint");
  });
  {
    RunningCapture capture(options_, output_);
    const auto end = capture.WaitEnd();
    ASSERT_TRUE(end.has_value() && !end->has_value());
    EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable);
    EXPECT_THAT(end->error().message, HasSubstr("rewritten"));
  }
  ASSERT_TRUE(output_.WaitUntil([&] {
    return Ask("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = '" + name_ +
               "'") == "0";
  }));

  RunningCapture again(options_, output_);

  EXPECT_TRUE(output_.WaitForEvents(2)) << again.status().reason;
  EXPECT_THAT(output_.Events(), testing::ElementsAre("snapshot public.t 1", "snapshot public.t 2"));
}

TEST_P(SnapshotTest, RowLevelSecurityIsAnErrorNotFewerRows) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1), (2);"
      "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"
      "CREATE POLICY one ON public.t USING (id = 1); CREATE PUBLICATION freshet FOR TABLE "
      "public.t");
  const std::string role = "s_" + std::to_string(GetParam()) + "_" + name_.substr(0, 20);
  Run("CREATE ROLE " + role + " LOGIN REPLICATION; GRANT SELECT ON public.t TO " + role);
  options_.url = url(role);
  RunningCapture capture(options_, output_);

  const auto end = capture.WaitEnd();

  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kDenied);
  EXPECT_THAT(end->error().message, HasSubstr("snapshot of public.t"));
}

TEST_P(SnapshotTest, TablesThatInheritGiveTheirOwnRows) {
  options_.snapshot = SnapshotMode::kOnly;
  Run("CREATE TABLE public.parent (id int); CREATE TABLE public.child () INHERITS (public.parent);"
      "INSERT INTO public.parent VALUES (1); INSERT INTO public.child VALUES (2)");
  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && end->has_value()) << capture.status().reason;

  auto events = output_.Events();
  std::sort(events.begin(), events.end());
  EXPECT_THAT(events, testing::ElementsAre("snapshot public.child 2", "snapshot public.parent 1"));
}

TEST_P(SnapshotTest, ALostSessionOfAKeylessTableEndsItAndNamesTheTable) {
  options_.batch_rows = 100;
  Run("CREATE TABLE public.t (id int, v text); ALTER TABLE public.t REPLICA IDENTITY FULL;"
      "INSERT INTO public.t SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g");
  output_.SetRoomForBatches(2);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));

  Run(kLoseSessions);
  output_.SetRoom(true);

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(end->error().message, HasSubstr("snapshot of public.t"));
}

TEST_P(SnapshotTest, AChunkWhoseSessionIsLostIsReadAgain) {
  options_.batch_rows = 100;
  options_.snapshot_workers = 1;
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "INSERT INTO public.t SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g");
  output_.SetRoomForBatches(10);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));

  Run(kLoseSessions);
  output_.SetRoom(true);

  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  std::vector<std::string> events = output_.Events();
  EXPECT_GE(events.size(), 50'000u);
  const std::set<std::string> distinct(events.begin(), events.end());
  EXPECT_EQ(distinct.size(), 50'000u);
  EXPECT_TRUE(output_.resume().snapshots.unfinished().empty());
}

TEST_P(SnapshotTest, AStopEndsItAtOnceAndLeavesItUnfinished) {
  options_.batch_rows = 100;
  Run("CREATE TABLE public.t AS SELECT generate_series(1, 50000) AS id;"
      "ALTER TABLE public.t REPLICA IDENTITY FULL");
  output_.SetRoomForBatches(2);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
  EXPECT_EQ(capture.status().state, CaptureState::kSnapshotting);

  const Status status = capture.Stop();

  EXPECT_TRUE(status.has_value()) << status.error();
  EXPECT_EQ(output_.resume().appended.commit_end, Lsn{});
}

/// Tables whose rows are read while others are streamed.
class LiveSnapshotTest : public SnapshotTest {
 protected:
  /// Starts with public.t of two rows.
  void StartStreaming() {
    Run("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t VALUES (1, 'a'),"
        " (2, 'b')");
    options_.tables = {"public.t"};
    capture_.emplace(options_, output_);
    ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  }

  /// Waits until no table's rows are being read.
  bool WaitUntilRead() {
    return output_.WaitUntil([&] {
      const auto tables = capture_->status().snapshot;
      return output_.resume().snapshots.unfinished().empty() &&
             std::all_of(tables.begin(), tables.end(), [](const auto& t) { return t.done; });
    });
  }

  std::vector<std::string> EventsOf(const std::string& table) {
    std::vector<std::string> out;
    for (std::string& event : output_.Events()) {
      if (event.find(table + " ") != std::string::npos) out.push_back(std::move(event));
    }
    return out;
  }

  std::optional<RunningCapture> capture_;
};

TEST_P(LiveSnapshotTest, ATableChosenLaterJoinsWithItsRows) {
  StartStreaming();
  Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (1), (2)");

  const Status chosen = capture_->capture().Reload({"public.t", "public.later"}, {});

  ASSERT_TRUE(chosen.has_value()) << chosen.error();
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.later").size() == 2; }));
  ASSERT_TRUE(WaitUntilRead());
  Run("INSERT INTO public.later VALUES (3); INSERT INTO public.t VALUES (3, 'c')");
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.later").size() == 3; }));
  EXPECT_THAT(EventsOf("public.later"),
              testing::ElementsAre("snapshot public.later 1", "snapshot public.later 2",
                                   "insert public.later 3"));
  EXPECT_EQ(capture_->status().reconnects_total, 0);
  EXPECT_FALSE(capture_->ended());
}

/// A target need not look for rows that it cannot have.
TEST_P(LiveSnapshotTest, RowsAreFreshWhereTheTableWasEmptiedAndDidNotChange) {
  const auto fresh_rows = [&] {
    int64_t rows = 0;
    for (const auto& batch : output_.batches()) {
      for (const auto& step : batch->snapshots) {
        if (step.step == change::SnapshotStep::kFresh) rows += batch->num_rows();
      }
    }
    return rows;
  };
  StartStreaming();
  ASSERT_TRUE(WaitUntilRead());
  EXPECT_EQ(fresh_rows(), 2);

  ASSERT_TRUE(capture_->capture().RequestSnapshot({"public", "t"}, false).has_value());
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.t").size() == 4; }));
  ASSERT_TRUE(WaitUntilRead());
  EXPECT_EQ(fresh_rows(), 2) << "rows that a target keeps";

  ASSERT_TRUE(capture_->capture().RequestSnapshot({"public", "t"}, true).has_value());
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.t").size() == 6; }));
  ASSERT_TRUE(WaitUntilRead());
  EXPECT_EQ(fresh_rows(), 4);
}

/// Changes that came behind the table's beginning may have brought the same keys.
TEST_P(LiveSnapshotTest, RowsAreNotFreshOnceTheTableChanged) {
  options_.batch_rows = 100;
  options_.snapshot_workers = 1;
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "INSERT INTO public.t SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g");
  options_.tables = {"public.t"};
  output_.SetRoomForBatches(10);
  capture_.emplace(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));

  Run("INSERT INTO public.t VALUES (0, 'new')");
  output_.SetRoom(true);

  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  ASSERT_TRUE(WaitUntilRead());
  bool changed = false;
  int64_t fresh = 0;
  int64_t others = 0;
  for (const auto& batch : output_.batches()) {
    const bool piece = batch->transactions[0].kind == change::TransactionKind::kSnapshot;
    changed = changed || (!piece && batch->num_rows() > 0);
    const bool marked =
        std::any_of(batch->snapshots.begin(), batch->snapshots.end(),
                    [](const auto& step) { return step.step == change::SnapshotStep::kFresh; });
    EXPECT_FALSE(marked && changed);
    if (piece) (marked ? fresh : others) += batch->num_rows();
  }
  EXPECT_GT(fresh, 0);
  EXPECT_GT(others, 0);
}

/// Each for itself would be some round trips and a batch or two.
TEST_P(LiveSnapshotTest, ManySmallTablesAreReadAndPlacedTogether) {
  constexpr int kTables = 150;
  Run("DO $$ BEGIN FOR n IN 1 .. " + std::to_string(kTables) +
      " LOOP EXECUTE format('CREATE TABLE public.t_%s (id int PRIMARY KEY)', n);"
      " IF n % 3 = 0 THEN EXECUTE format('INSERT INTO public.t_%s VALUES (1), (2)', n); END IF;"
      " END LOOP; END $$");

  capture_.emplace(options_, output_);

  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  ASSERT_TRUE(WaitUntilRead());
  const std::vector<std::string> events = output_.Events();
  EXPECT_EQ(events.size(), 100u);
  EXPECT_EQ(std::set<std::string>(events.begin(), events.end()).size(), 100u);
  std::set<std::string> told;
  int64_t pieces = 0;
  for (const auto& batch : output_.batches()) {
    if (batch->transactions.front().kind != change::TransactionKind::kSnapshot) continue;
    ++pieces;
    std::set<int64_t> ordinals;
    int64_t rows = 0;
    for (const auto& table : batch->tables) {
      told.insert(table.schema->name().table);
      ordinals.insert(table.ordinals.begin(), table.ordinals.end());
      rows += table.num_rows();
    }
    EXPECT_EQ(std::ssize(ordinals), rows);
  }
  EXPECT_EQ(told.size(), size_t{kTables});
  EXPECT_LT(pieces, kTables / 5);
}

/// The rows it wrote before are in no stream, those after may be.
TEST_P(LiveSnapshotTest, ATransactionThatRunsWhileATableJoinsIsWaitedFor) {
  StartStreaming();
  Run("CREATE TABLE public.later (id int PRIMARY KEY)");
  auto writer = Connection::Connect(url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.t VALUES (9, 'z')").has_value());

  const Status chosen = capture_->capture().Reload({"public.*"}, {});

  ASSERT_TRUE(chosen.has_value()) << chosen.error();
  ASSERT_TRUE(output_.WaitUntil([&] {
    for (const SnapshotTable& table : capture_->status().snapshot) {
      const std::string pid = "pid " + std::to_string(writer->backend_pid());
      const bool named = table.waits_for.find(pid) != std::string::npos;
      if (table.name.table == "later" && named) return true;
    }
    return false;
  }));
  ASSERT_TRUE(writer->Execute("INSERT INTO public.later VALUES (7); COMMIT").has_value());
  ASSERT_TRUE(WaitUntilRead());
  EXPECT_THAT(EventsOf("public.later"), testing::Contains("snapshot public.later 7"));
}

TEST_P(LiveSnapshotTest, ReadingPausesWhileASnapshotHoldsBackVacuumAndSaysSo) {
  options_.snapshot_pause_xmin_age = 5;
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)");
  auto reader = Connection::Connect(url());
  ASSERT_TRUE(reader.has_value());
  ASSERT_TRUE(
      reader->Execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t")
          .has_value());
  for (int i = 0; i < 10; ++i) Run("SELECT txid_current()");
  capture_.emplace(options_, output_);
  const auto why = [&] {
    const auto tables = capture_->status().snapshot;
    return tables.empty() ? std::string() : tables[0].waits_for;
  };

  ASSERT_TRUE(output_.WaitUntil(
      [&] { return why().find("`snapshot_pause_xmin_age`") != std::string::npos; }));

  ASSERT_TRUE(reader->Execute("COMMIT").has_value());
  EXPECT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << why();
  EXPECT_THAT(output_.Events(), testing::Contains("snapshot public.t 1"));
}

TEST_P(LiveSnapshotTest, AColumnAddedWhileATableWaitsIsReadWithIt) {
  options_.snapshot_pause_xmin_age = 5;
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1), (2)");
  auto reader = Connection::Connect(url());
  ASSERT_TRUE(reader.has_value());
  ASSERT_TRUE(
      reader->Execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
          .has_value());
  for (int i = 0; i < 10; ++i) Run("SELECT txid_current()");
  capture_.emplace(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] {
    const auto tables = capture_->status().snapshot;
    return !tables.empty() && !tables[0].waits_for.empty();
  }));
  Run("ALTER TABLE public.t ADD COLUMN c int DEFAULT 5");
  Run("UPDATE public.t SET c = 7 WHERE id = 1");
  ASSERT_TRUE(reader->Execute("COMMIT").has_value());

  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;

  int64_t rows = 0;
  for (const auto& batch : output_.batches()) {
    if (batch->transactions.front().kind != change::TransactionKind::kSnapshot) continue;
    for (const auto& table : batch->tables) {
      rows += table.num_rows();
      if (table.num_rows() == 0) continue;
      EXPECT_GE(table.schema->IndexOf("c"), 0);
    }
  }
  EXPECT_GE(rows, 1);
}

/// The root has no rows, so the catalog holds the default with its leaves only.
TEST_P(LiveSnapshotTest, ADefaultAddedToAPartitionedTableIsTakenFromItsLeaves) {
  if (GetParam() < 13) GTEST_SKIP() << "leaves are carried under their own names";
  Run("CREATE TABLE public.t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t_low PARTITION OF public.t FOR VALUES FROM (0) TO (100);"
      "INSERT INTO public.t VALUES (1)");
  options_.tables = {"public.t"};
  capture_.emplace(options_, output_);
  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;

  Run("ALTER TABLE public.t ADD COLUMN c int NOT NULL DEFAULT 5");
  Run("INSERT INTO public.t VALUES (2, 6)");

  ASSERT_TRUE(output_.WaitForEvents(2));
  const auto& schema = output_.batches().back()->tables.at(0).schema;
  const int column = schema->IndexOf("c");
  ASSERT_GE(column, 0);
  EXPECT_EQ(schema->columns()[static_cast<size_t>(column)].missing_value, "5");
}

/// From 16 on what a publication sends is not told of a table that is locked.
TEST_P(LiveSnapshotTest, ATableLockedForLongEndsNothing) {
  if (GetParam() < 16) GTEST_SKIP() << "asks no lock for it";
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.other (id int PRIMARY KEY)");
  options_.tables = {"public.t", "public.other"};
  capture_.emplace(options_, output_);
  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  auto holder = Connection::Connect(url());
  ASSERT_TRUE(holder.has_value());
  ASSERT_TRUE(holder->Execute("BEGIN; LOCK TABLE public.t").has_value());
  const auto waits = [&] {
    return Ask("SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM"
               " pg_database WHERE datname = current_database())") != "0";
  };
  ASSERT_TRUE(output_.WaitUntil(waits));
  ASSERT_TRUE(output_.WaitUntil([&] { return !waits(); }));

  Run("INSERT INTO public.other VALUES (1)");

  EXPECT_TRUE(output_.WaitUntil([&] { return EventsOf("public.other").size() == 1; }));
  EXPECT_FALSE(capture_->ended());
  ASSERT_TRUE(holder->Execute("ROLLBACK").has_value());
}

TEST_P(LiveSnapshotTest, ATableNobodyHasIsRefusedAndTheChoiceStays) {
  StartStreaming();

  const Status chosen = capture_->capture().Reload({"public.t", "public.nowhere"}, {});

  ASSERT_FALSE(chosen.has_value());
  EXPECT_EQ(chosen.error().kind, ErrorKind::kNotFound) << chosen.error();
  Run("INSERT INTO public.t VALUES (3, 'c')");
  EXPECT_TRUE(output_.WaitUntil([&] { return EventsOf("public.t").size() == 3; }));
}

TEST_P(LiveSnapshotTest, ATableIsReadOnceMore) {
  StartStreaming();

  const Status asked = capture_->capture().RequestSnapshot({"public", "t"}, true);

  ASSERT_TRUE(asked.has_value()) << asked.error();
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.t").size() == 4; }));
  ASSERT_TRUE(WaitUntilRead());
  bool replaced = false;
  for (const auto& batch : output_.batches()) {
    for (const auto& step : batch->snapshots) {
      replaced |= step.step == change::SnapshotStep::kBegun && step.replaces;
    }
  }
  EXPECT_TRUE(replaced);
}

TEST_P(LiveSnapshotTest, WhatCannotBeReadIsRefusedWithTheReason) {
  StartStreaming();
  Run("CREATE TABLE public.plain (id int); ALTER TABLE public.plain REPLICA IDENTITY FULL");
  Capture& capture = capture_->capture();

  const Status other = capture.RequestSnapshot({"public", "plain"}, true);

  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().kind, ErrorKind::kConfig) << other.error();
}

TEST_P(LiveSnapshotTest, ATableLeftOutAndChosenAgainIsReadAgain) {
  Run("CREATE TABLE public.other (id int PRIMARY KEY); INSERT INTO public.other VALUES (1)");
  StartStreaming();
  ASSERT_TRUE(capture_->capture().Reload({"public.*"}, {}).has_value());
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.other").size() == 1; }));
  ASSERT_TRUE(WaitUntilRead());

  ASSERT_TRUE(capture_->capture().Reload({"public.t"}, {}).has_value());

  const auto end = capture_->WaitEnd();  // the caller runs it again
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
}

TEST_P(LiveSnapshotTest, ATableLeftOutByARunIsReadAgainByALaterOne) {
  Run("CREATE TABLE public.other (id int PRIMARY KEY); INSERT INTO public.other VALUES (1)");
  StartStreaming();
  ASSERT_TRUE(capture_->Stop().has_value());
  const auto run = [&](const char* tables) {
    options_.tables = {tables};
    capture_.emplace(options_, output_);
  };
  run("public.*");
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.other").size() == 1; }));
  ASSERT_TRUE(WaitUntilRead());
  ASSERT_TRUE(capture_->Stop().has_value());

  run("public.t");
  ASSERT_TRUE(output_.WaitUntil([&] { return !output_.resume().snapshots.left_out().empty(); }));
  Run("INSERT INTO public.other VALUES (2); DELETE FROM public.other WHERE id = 1;"
      "INSERT INTO public.t VALUES (3, 'c')");
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.t").size() == 3; }));
  ASSERT_TRUE(capture_->Stop().has_value());
  run("public.*");

  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.other").size() == 2; }));
  EXPECT_EQ(EventsOf("public.other")[1], "snapshot public.other 2");
  ASSERT_TRUE(WaitUntilRead());
  EXPECT_TRUE(output_.resume().snapshots.left_out().empty());
  int replaced = 0;
  for (const auto& batch : output_.batches()) {
    for (const auto& step : batch->snapshots) {
      replaced += step.step == change::SnapshotStep::kBegun && step.replaces ? 1 : 0;
    }
  }
  EXPECT_EQ(replaced, 3);
}

/// A piece without the column, placed behind rows that have it, would be null there.
TEST_P(LiveSnapshotTest, NoRowReadBeforeAColumnWasAddedStandsBehindOneThatHasIt) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t SELECT g, "
      "repeat('x', 500) FROM generate_series(1, 3000) g");
  options_.tables = {"public.t"};
  options_.snapshot_chunk_size.bytes = 8192;
  options_.snapshot_workers = 4;
  capture_.emplace(options_, output_);
  ASSERT_TRUE(output_.WaitForEvents(20));

  for (int i = 0; i < 30; ++i) {
    const std::string n = std::to_string(i);
    Run("ALTER TABLE public.t ADD COLUMN c" + n + " int DEFAULT " + n);
    if (i % 3 == 0) Run("INSERT INTO public.t (id) VALUES (" + std::to_string(-i) + ")");
  }
  ASSERT_TRUE(WaitUntilRead());

  size_t columns = 0;
  for (const auto& batch : output_.batches()) {
    for (const auto& table : batch->tables) {
      EXPECT_GE(table.schema->columns().size(), columns);
      columns = std::max(columns, table.schema->columns().size());
    }
  }
  EXPECT_GT(columns, 2u);
}

/// A crash behind that transaction must not find changes of the table, and no word of its rows.
TEST_P(LiveSnapshotTest, ATableThatJoinsInsideATransactionIsWantedWhereThatEnds) {
  options_.batch_rows = 10;
  Run("CREATE PUBLICATION freshet FOR ALL TABLES");
  StartStreaming();
  ASSERT_TRUE(WaitUntilRead());
  Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (1)");
  output_.SetRoomForBatches(4);
  Run("BEGIN; INSERT INTO public.t SELECT g, 'x' FROM generate_series(100, 300) g;"
      "INSERT INTO public.later VALUES (2); COMMIT");
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
  ASSERT_TRUE(capture_->Stop().has_value());
  ASSERT_TRUE(output_.resume().open.has_value());

  output_.SetRoom(true);
  options_.tables = {"public.*"};
  capture_.emplace(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.later").size() >= 3; }));

  bool wanted = false;
  for (const auto& batch : output_.batches()) {
    const change::Transaction& transaction = batch->transactions.back();
    if (transaction.begins || !transaction.ends) continue;
    for (const auto& step : batch->snapshots) {
      wanted |= step.step == change::SnapshotStep::kWanted;
    }
  }
  EXPECT_TRUE(wanted);
  EXPECT_THAT(EventsOf("public.later"),
              testing::IsSupersetOf({"insert public.later 2", "snapshot public.later 1"}));
}

INSTANTIATE_TEST_SUITE_P(Majors, LiveSnapshotTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

INSTANTIATE_TEST_SUITE_P(Majors, SnapshotTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
