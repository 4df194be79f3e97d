#include <gmock/gmock.h>

#include <algorithm>

#include "postgres/capture.h"
#include "postgres/connection.h"
#include "support/memory_output.h"
#include "support/own_server.h"
#include "support/postgres_server.h"

/// What a capture does when server, slot, publication or network do not do what they should.
namespace freshet::postgres {
namespace {

using change::Lsn;
using test::MemoryOutput;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class CaptureFaultsTest : public test::OwnServerTest {};

TEST_P(CaptureFaultsTest, ATerminatedWalsenderIsResumedWithoutLossOrRepetition) {
  CaptureOnce();
  for (int i = 2; i <= 4; ++i) {
    RunningCapture capture(options_, output_);
    while (!capture.WaitForState(CaptureState::kStreaming)) {
      ASSERT_FALSE(HasFailure());
      CaptureWithRetries(static_cast<size_t>(i - 1));
      break;
    }
    Run(fmt::format("INSERT INTO public.t VALUES ({}, 'x')", i));
    Run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots");
    const auto end = capture.WaitEnd();
    ASSERT_TRUE(end.has_value());
    ASSERT_FALSE(end->has_value());
    EXPECT_THAT(end->error().kind, testing::AnyOf(ErrorKind::kUnavailable, ErrorKind::kBusy))
        << end->error();
  }

  CaptureWithRetries(4);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x",
                                            "insert public.t 3 | x", "insert public.t 4 | x"));
}

TEST_P(CaptureFaultsTest, AnImmediateRestartRepeatsNothing) {
  CaptureOnce();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2, 'x')");
  ASSERT_TRUE(output_.WaitForEvents(2));
  ASSERT_TRUE(server_->Stop(PostgresServer::StopMode::kImmediate).has_value());
  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable);

  ASSERT_TRUE(server_->Resume().has_value());
  Run("INSERT INTO public.t VALUES (3, 'x')");
  CaptureWithRetries(3);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x",
                                            "insert public.t 3 | x"));
}

TEST_P(CaptureFaultsTest, WhatACrashLostOfUsIsSentAgain) {
  CaptureOnce();
  output_.SetDurableAtOnce(false);
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("INSERT INTO public.t VALUES (2, 'x')");
    ASSERT_TRUE(output_.WaitForEvents(2));
  }
  output_.LoseWhatIsNotDurable();
  ASSERT_EQ(output_.Events().size(), 1u);

  CaptureWithRetries(2);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x"));
}

TEST_P(CaptureFaultsTest, AConnectionLostInsideAGiantTransactionGoesOnWithItsNextPart) {
  options_.batch_rows = 1000;
  CaptureOnce();
  output_.SetRoomForBatches(3);
  {
    RunningCapture capture(options_, output_);
    Run("INSERT INTO public.t SELECT g, 'x' FROM generate_series(2, 20001) g");
    ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
    Run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
  }
  ASSERT_TRUE(output_.resume().open.has_value());
  output_.SetRoom(true);

  CaptureWithRetries(20'001);

  std::vector<std::string> events = output_.Events();
  EXPECT_EQ(events.size(), 20'001u);
  std::sort(events.begin(), events.end());
  EXPECT_EQ(std::adjacent_find(events.begin(), events.end()), events.end());
}

/// The invariant everything rests on.
TEST_P(CaptureFaultsTest, OnlyTheDurableIsAcknowledged) {
  CaptureOnce();
  output_.SetDurableAtOnce(false);
  const Lsn durable = output_.Durable().commit_end;
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  for (int i = 2; i < 50; ++i) Run(fmt::format("INSERT INTO public.t VALUES ({}, 'x')", i));
  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 10000) g");
  ASSERT_TRUE(output_.WaitForEvents(49));

  // Asks for an answer at once, so that the wrong one would be seen.
  EXPECT_LE(Confirmed(), durable);
  EXPECT_LE(capture.status().acknowledged, durable);

  output_.MakeDurable();
  const Lsn now_durable = output_.Durable().commit_end;
  EXPECT_TRUE(output_.WaitUntil([&] { return Confirmed() == now_durable; }));
}

TEST_P(CaptureFaultsTest, AnIdleSlotAdvancesWithTrafficOnOtherTables) {
  options_.status_interval = std::chrono::milliseconds(200);
  MakeTable();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 10000) g");
  const Lsn end = AskLsn("SELECT pg_current_wal_flush_lsn()");

  EXPECT_TRUE(output_.WaitUntil([&] { return Confirmed() >= end; }));
  EXPECT_LE(Confirmed(), output_.Durable().commit_end);
  EXPECT_TRUE(capture.Stop().has_value());
  // And the place is ours: a new run does not take it for somebody else's.
  RunningCapture again(options_, output_);
  while (!again.WaitForState(CaptureState::kStreaming)) {
    ASSERT_EQ(again.WaitEnd()->error().kind, ErrorKind::kBusy) << again.status().reason;
    break;
  }
}

TEST_P(CaptureFaultsTest, ARunKnowsAtOnceThatItIsCaughtUp) {
  CaptureOnce();
  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 10000) g");

  RunningCapture capture(options_, output_);

  EXPECT_TRUE(output_.WaitUntil([&] {
    const CaptureStatus status = capture.status();
    return status.end_at_connect != Lsn{} && status.acknowledged >= status.end_at_connect;
  })) << capture.status().reason;
}

TEST_P(CaptureFaultsTest, AFastShutdownIsNotHeldUp) {
  CaptureOnce();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2, 'x')");

  server_->SignalStop();

  EXPECT_TRUE(server_->WaitStopped(5'000));
  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable);
  EXPECT_EQ(capture.status().state, CaptureState::kServerStopping);
}

TEST_P(CaptureFaultsTest, AFastShutdownIsNotHeldUpByAFullLog) {
  CaptureOnce();
  output_.SetRoom(false);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t SELECT g, repeat('x', 100) FROM generate_series(2, 50000) g");
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
  ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForRoom));

  server_->SignalStop();

  EXPECT_TRUE(server_->WaitStopped(5'000));
  output_.SetRoom(true);
  ASSERT_TRUE(server_->Resume().has_value());
  CaptureWithRetries(50'000);
  EXPECT_EQ(output_.Events().size(), 50'000u);
}

TEST_P(CaptureFaultsTest, AStalledPipelineDoesNotSilenceTheFeedback) {
  Start({"wal_sender_timeout = '1s'"});
  options_.batch_rows = 1000;
  CaptureOnce();
  output_.SetRoom(false);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t SELECT g, repeat('x', 100) FROM generate_series(2, 50000) g");
  // Refusals come every 100 ms: the server's timeout passes three times.
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 30; }));

  EXPECT_FALSE(capture.ended()) << capture.status().reason;
  output_.SetRoom(true);

  EXPECT_TRUE(output_.WaitForEvents(50'000));
  EXPECT_FALSE(capture.ended()) << capture.status().reason;
}

TEST_P(CaptureFaultsTest, ADroppedSlotIsAGap) {
  CaptureOnce();
  ASSERT_TRUE(output_.WaitUntil(
      [&] { return server_->Run("SELECT pg_drop_replication_slot('freshet')").has_value(); }));

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("slot 'freshet' is gone"));
  EXPECT_THAT(error.message, HasSubstr("new log folder"));
}

TEST_P(CaptureFaultsTest, ASlotMadeAnewByAnotherIsAGap) {
  CaptureOnce();
  ASSERT_TRUE(output_.WaitUntil(
      [&] { return server_->Run("SELECT pg_drop_replication_slot('freshet')").has_value(); }));
  Run("INSERT INTO public.t VALUES (2, 'lost')");
  Run("SELECT pg_create_logical_replication_slot('freshet', 'pgoutput')");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("somebody else"));
}

TEST_P(CaptureFaultsTest, ASlotAdvancedByAnotherIsAGap) {
  if (GetParam() < 11) GTEST_SKIP() << "pg_replication_slot_advance() came with 11";
  CaptureOnce();
  Run("INSERT INTO public.t VALUES (2, 'lost')");
  ASSERT_TRUE(output_.WaitUntil([&] {
    return server_->Run("SELECT pg_replication_slot_advance('freshet', pg_current_wal_flush_lsn())")
        .has_value();
  }));

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("somebody else"));
}

/// Nobody uses the slot while tables without a key are copied.
TEST_P(CaptureFaultsTest, ASlotMadeAnewUnderTheSnapshotIsAGap) {
  options_.batch_rows = 100;
  MakeTable();
  Run("ALTER TABLE public.t DROP CONSTRAINT t_pkey; ALTER TABLE public.t REPLICA IDENTITY FULL");
  Run("INSERT INTO public.t SELECT g, 'x' FROM generate_series(1, 1000) g");
  output_.SetRoomForBatches(3);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
  Run("SELECT pg_drop_replication_slot('freshet')");
  Run("INSERT INTO public.t VALUES (2000, 'lost')");
  Run("SELECT pg_create_logical_replication_slot('freshet', 'pgoutput')");

  output_.SetRoom(true);

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kGap) << end->error();
  EXPECT_THAT(end->error().message, HasSubstr("made it anew"));
}

/// The log has row 2, the promoted server never had it, and it writes past the place where it was.
TEST_P(CaptureFaultsTest, APromotedServerThatLacksWhatTheLogHasIsAGap) {
  if (GetParam() < 12) GTEST_SKIP() << "standby.signal and pg_promote() came with 12";
  CaptureOnce();
  ASSERT_TRUE(server_->Stop().has_value());
  Shell("cp -a data before");
  ASSERT_TRUE(server_->Resume().has_value());
  CaptureOneMore();
  ASSERT_TRUE(server_->Stop().has_value());
  Shell("rm -r data && mv before data");
  Promote();
  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 100000) g");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("left timeline 1 at"));
}

TEST_P(CaptureFaultsTest, APromotedServerThatHasAllIsGoneOnWith) {
  if (GetParam() < 12) GTEST_SKIP() << "standby.signal and pg_promote() came with 12";
  CaptureOnce();
  ASSERT_TRUE(server_->Stop().has_value());
  Promote();
  Run("INSERT INTO public.t VALUES (2, 'x')");

  CaptureWithRetries(2);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x"));
  EXPECT_EQ(output_.source()->timeline, 2u);
}

TEST_P(CaptureFaultsTest, AnotherServerAtTheSameAddressIsAGap) {
  CaptureOnce();
  Start({});
  MakeTable();

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("another server"));
}

TEST_P(CaptureFaultsTest, AServerOlderThanTheLogIsAGap) {
  CaptureOnce();
  output_.PretendToHave(Lsn{uint64_t{1} << 50});

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("restored from a backup"));
}

TEST_P(CaptureFaultsTest, ALostSlotIsNamedWithItsReason) {
  if (GetParam() < 13) GTEST_SKIP() << "max_slot_wal_keep_size came with 13";
  Start({"max_slot_wal_keep_size = '1MB'", "min_wal_size = '32MB'", "max_wal_size = '32MB'"});
  CaptureOnce();
  for (int i = 0; i < 6; ++i) {
    Run("CREATE TABLE public.fill AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    Run("DROP TABLE public.fill; SELECT pg_switch_wal(); CHECKPOINT");
  }
  ASSERT_TRUE(output_.WaitUntil([&] {
    Run("CHECKPOINT");
    return Ask("SELECT wal_status FROM pg_replication_slots") == "lost";
  }));

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("slot 'freshet' is lost"));
}

TEST_P(CaptureFaultsTest, ASlotInUseIsBusyAndNamesThePid) {
  CaptureOnce();
  RunningCapture first(options_, output_);
  ASSERT_TRUE(first.WaitForState(CaptureState::kStreaming)) << first.status().reason;
  RunningCapture second(options_, output_);

  const auto end = second.WaitEnd();

  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kBusy);
  EXPECT_THAT(end->error().message, HasSubstr("pid"));
}

TEST_P(CaptureFaultsTest, ADroppedPublicationIsAGap) {
  CaptureOnce();
  Run("DROP PUBLICATION freshet");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("publication 'freshet' is gone"));
}

/// 10 to 17 end the stream with an error; 18 warns and skips the rows.
TEST_P(CaptureFaultsTest, APublicationDroppedUnderTheStreamIsAGap) {
  CaptureOnce();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("DROP PUBLICATION freshet; INSERT INTO public.t VALUES (2, 'x')");

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kGap) << end->error();
  EXPECT_THAT(end->error().message, HasSubstr("publication 'freshet' is gone"));
}

/// The rows written while there was none are in the WAL, and no version decodes them.
TEST_P(CaptureFaultsTest, APublicationMadeAnewIsAGap) {
  CaptureOnce();
  Run("DROP PUBLICATION freshet");
  Run("INSERT INTO public.t VALUES (2, 'lost')");
  Run("CREATE PUBLICATION freshet FOR TABLE public.t");
  Run("INSERT INTO public.t VALUES (3, 'x')");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("made anew"));
}

TEST_P(CaptureFaultsTest, ATableThatCameLaterJoinsAtTheNextStart) {
  options_.tables = {"public.*"};
  CaptureOnce();
  const size_t before = output_.Events().size();
  Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (1)");
  RunningCapture capture(options_, output_);

  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.later VALUES (2)");

  ASSERT_TRUE(output_.WaitForEvents(before + 2));
  const auto events = output_.Events();
  EXPECT_EQ(events[before], "snapshot public.later 1");
  EXPECT_EQ(events[before + 1], "insert public.later 2");
}

TEST_P(CaptureFaultsTest, ATableAddedToThePublicationLaterHasItsRowsRead) {
  options_.tables = {"public.*"};
  CaptureOnce();
  const size_t before = output_.Events().size();
  Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (1);"
      "ALTER PUBLICATION freshet ADD TABLE public.later");
  RunningCapture capture(options_, output_);

  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  ASSERT_TRUE(output_.WaitForEvents(before + 1));
  EXPECT_EQ(output_.Events().back(), "snapshot public.later 1");
}

/// The log must know that rows are lacking before it has the first change.
TEST_P(CaptureFaultsTest, ATableAddedToThePublicationUnderTheStreamIsWantedFirst) {
  options_.tables = {"public.*"};
  CaptureOnce();
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (1)");
    Run("ALTER PUBLICATION freshet ADD TABLE public.later");
    Run("INSERT INTO public.later VALUES (2)");
    const auto end = capture.WaitEnd();
    ASSERT_TRUE(end.has_value() && !end->has_value());
    EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
    EXPECT_THAT(end->error().message, HasSubstr("public.later joined the stream"));
  }
  for (const std::string& event : output_.Events()) EXPECT_THAT(event, Not(HasSubstr("later")));

  RunningCapture again(options_, output_);

  ASSERT_TRUE(again.WaitForState(CaptureState::kStreaming)) << again.status().reason;
  const auto events = output_.Events();
  EXPECT_THAT(events, Contains("snapshot public.later 1"));
  EXPECT_THAT(events, Contains("insert public.later 2"));
}

TEST_P(CaptureFaultsTest, ATableWithoutAKeyThatCameLaterIsReadToo) {
  options_.tables = {"public.*"};
  CaptureOnce();
  Run("CREATE TABLE public.later (id int); ALTER TABLE public.later REPLICA IDENTITY FULL;"
      "INSERT INTO public.later VALUES (1)");

  CaptureWithRetries(2);

  EXPECT_THAT(output_.Events(), Contains("snapshot public.later 1"));
}

TEST_P(CaptureFaultsTest, APartitionAddedUnderTheStreamIsNoGap) {
  if (GetParam() < 13) GTEST_SKIP() << "publish_via_partition_root came with 13";
  Run("CREATE TABLE public.t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
      "CREATE TABLE public.t_1 PARTITION OF public.t FOR VALUES FROM (0) TO (10)");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("CREATE TABLE public.t_2 PARTITION OF public.t FOR VALUES FROM (10) TO (20)");
  Run("INSERT INTO public.t VALUES (1), (11)");

  EXPECT_TRUE(output_.WaitForEvents(2)) << capture.status().reason;
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1", "insert public.t 11"));
}

/// A warning that came while there was no session beside the stream must not be forgotten.
TEST_P(CaptureFaultsTest, APublicationDroppedWhileTheSideSessionIsAwayIsAGap) {
  Run("CREATE DATABASE shop");
  options_.url = server_->url("shop");
  auto admin = Connection::Connect(options_.url);
  ASSERT_TRUE(admin.has_value()) << admin.error();
  ASSERT_TRUE(admin->Execute("CREATE TABLE public.t (id int PRIMARY KEY)").has_value());
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("ALTER DATABASE shop ALLOW_CONNECTIONS false");
  ASSERT_TRUE(admin
                  ->Execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                            " 'shop' AND application_name = 'freshet' AND backend_type ="
                            " 'client backend' AND pid <> pg_backend_pid()")
                  .has_value());
  ASSERT_TRUE(admin->Execute("DROP PUBLICATION freshet").has_value());
  ASSERT_TRUE(admin->Execute("INSERT INTO public.t VALUES (1)").has_value());

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_THAT(end->error().kind, testing::AnyOf(ErrorKind::kGap, ErrorKind::kNotFound));
  EXPECT_TRUE(output_.Events().empty());
}

TEST_P(CaptureFaultsTest, AnUnfinishedSnapshotIsTakenAnewWithANewSlot) {
  options_.batch_rows = 100;
  MakeTable();
  Run("INSERT INTO public.t SELECT g, 'x' FROM generate_series(1, 1000) g");
  output_.SetDurableAtOnce(false);
  output_.SetRoomForBatches(3);
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
  }
  const Lsn first = output_.source()->consistent_point;
  output_.LoseWhatIsNotDurable();
  output_.SetRoom(true);
  output_.SetDurableAtOnce(true);
  Run("INSERT INTO public.t VALUES (2000, 'y')");

  CaptureWithRetries(1001);

  EXPECT_GT(output_.source()->consistent_point, first);
  EXPECT_EQ(output_.Events().size(), 1001u);
}

TEST_P(CaptureFaultsTest, AStrangersSlotIsNotTakenOver) {
  MakeTable();
  Run("SELECT pg_create_logical_replication_slot('freshet', 'pgoutput')");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kConfig) << error;
  EXPECT_THAT(error.message, HasSubstr("slot 'freshet' is there already"));
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_replication_slots"), "1");
}

TEST_P(CaptureFaultsTest, ALongTransactionThatHoldsUpTheSlotIsNamed) {
  options_.slot_create_timeout = std::chrono::seconds(1);
  MakeTable();
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.t VALUES (1, 'x')").has_value());

  const Error error = [&] {
    RunningCapture capture(options_, output_);
    const auto end = capture.WaitEnd();
    return end.has_value() && !end->has_value() ? end->error() : Error{};
  }();

  EXPECT_EQ(error.kind, ErrorKind::kBusy) << error;
  EXPECT_THAT(error.message, HasSubstr(fmt::format("pid {}", writer->backend_pid())));
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_replication_slots"), "0");
}

INSTANTIATE_TEST_SUITE_P(Majors, CaptureFaultsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
