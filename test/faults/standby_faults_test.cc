#include <gmock/gmock.h>

#include "postgres/connection.h"
#include "postgres/preflight.h"
#include "support/own_server.h"

/// A primary with a standby: failover, and a standby that holds things up.
namespace freshet::postgres {
namespace {

using test::PostgresServer;
using test::RunningCapture;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StandbyFaultsTest : public test::OwnServerTest {
 protected:
  void StartStandby(const std::vector<std::string>& settings = {}) {
    auto standby = PostgresServer::StartStandby(*server_, "standby", settings);
    ASSERT_TRUE(standby.has_value()) << standby.error();
    standby_ = *std::move(standby);
    // The standby first: whoever ignores target_session_attrs ends up there.
    options_.url =
        Secret(fmt::format("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres"
                           "?target_session_attrs=read-write",
                           standby_->port(), server_->port()));
  }

  /// What the standby says; empty while it cannot be asked.
  std::string AskStandby(const std::string& sql) {
    auto answer = standby_->Ask(sql);
    return answer.has_value() ? *answer : "";
  }

  /// Waits until the standby has replayed all that the primary has.
  void WaitForReplay() {
    const std::string end = Ask("SELECT pg_current_wal_flush_lsn()");
    ASSERT_TRUE(output_.WaitUntil(
        [&] { return AskStandby("SELECT pg_last_wal_replay_lsn() >= '" + end + "'") == "t"; }));
  }

  /// The primary dies, the standby takes over.
  void FailOver() {
    ASSERT_TRUE(server_->Stop(PostgresServer::StopMode::kImmediate).has_value());
    const Status promoted = standby_->Run("SELECT pg_promote()");
    ASSERT_TRUE(promoted.has_value()) << promoted.error();
  }

  std::unique_ptr<PostgresServer> standby_;
};

/// The slot's copy on the standby may be older than what was acknowledged.
TEST_P(StandbyFaultsTest, Fault18_APromotedStandbyWithTheSlotIsGoneOnWith) {
  if (GetParam() < 17) GTEST_SKIP() << "failover slots came with 17";
  MakeTable();
  StartStandby({"sync_replication_slots = on"});
  Run("ALTER SYSTEM SET synchronized_standby_slots = 'standby'");
  Run("SELECT pg_reload_conf()");
  size_t rows = 0;
  const auto insert = [&] {
    Run(fmt::format("INSERT INTO public.t VALUES ({}, 'x')", ++rows));
    Run("SELECT pg_log_standby_snapshot()");
  };
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    ASSERT_TRUE(output_.WaitUntil([&] {
      insert();
      return AskStandby(
                 "SELECT synced AND NOT temporary AND invalidation_reason IS NULL"
                 " FROM pg_replication_slots WHERE slot_name = 'freshet'") == "t";
    })) << AskStandby("SELECT count(*) FROM pg_replication_slots");
    for (int i = 0; i < 3; ++i) insert();
    ASSERT_TRUE(output_.WaitForEvents(rows));

    FailOver();

    ASSERT_TRUE(capture.WaitEnd().has_value());
  }
  ASSERT_TRUE(output_.WaitUntil([&] {
    return standby_->Run(fmt::format("INSERT INTO public.t VALUES ({}, 'after')", rows + 1))
        .has_value();
  }));
  CaptureWithRetries(rows + 1);

  std::vector<std::string> expected;
  for (size_t i = 1; i <= rows; ++i) expected.push_back(fmt::format("insert public.t {} | x", i));
  expected.push_back(fmt::format("insert public.t {} | after", rows + 1));
  EXPECT_EQ(output_.Events(), expected);
  EXPECT_EQ(output_.source()->timeline, 2u);
}

TEST_P(StandbyFaultsTest, Fault19_APromotedStandbyWithoutTheSlotIsAGap) {
  if (GetParam() < 12) GTEST_SKIP() << "standby.signal and pg_promote() came with 12";
  CaptureOnce();
  StartStandby();
  CaptureOneMore();
  WaitForReplay();

  FailOver();
  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("slot 'freshet' is gone"), HasSubstr("new log folder")));
}

/// The walsender holds back what the standby does not have, and says so to nobody but its log.
TEST_P(StandbyFaultsTest, Fault20_AStreamThatWaitsForAStandbySaysForWhich) {
  if (GetParam() < 17) GTEST_SKIP() << "synchronized_standby_slots came with 17";
  CaptureOnce();
  StartStandby();
  Run("ALTER SYSTEM SET synchronized_standby_slots = 'standby'");
  Run("SELECT pg_reload_conf()");
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2, 'x')");
  ASSERT_TRUE(output_.WaitForEvents(2));
  ASSERT_TRUE(standby_->Stop().has_value());

  Run("INSERT INTO public.t VALUES (3, 'held back')");

  ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForStandby)) << capture.status().reason;
  EXPECT_THAT(capture.status().reason, AllOf(HasSubstr("'standby'"), HasSubstr("not in use"),
                                             HasSubstr("synchronized_standby_slots")));
  EXPECT_EQ(output_.Events().size(), 2u);
  ASSERT_TRUE(standby_->Resume().has_value());
  EXPECT_TRUE(output_.WaitForEvents(3));
  EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
}

TEST_P(StandbyFaultsTest, Fault21_ASlotInConflictWithRecoveryIsNamed) {
  if (GetParam() < 16) GTEST_SKIP() << "decoding on a standby came with 16";
  MakeTable();
  StartStandby({"hot_standby_feedback = off", "primary_slot_name = ''"});
  WaitForReplay();
  auto maker = Connection::Connect(standby_->url());
  ASSERT_TRUE(maker.has_value()) << maker.error();
  ASSERT_TRUE(
      maker->Send("SELECT pg_create_logical_replication_slot('freshet', 'pgoutput')").has_value());
  ASSERT_TRUE(output_.WaitUntil([&] {
    Run("SELECT pg_log_standby_snapshot()");
    const auto answered = maker->AnswerWithin(std::chrono::milliseconds(50), {});
    return answered.has_value() && *answered;
  }));
  ASSERT_TRUE(maker->Receive().has_value());

  Run("CREATE TABLE public.gone (id int); DROP TABLE public.gone");
  Run("VACUUM pg_class");
  Run("VACUUM FULL pg_class");
  WaitForReplay();

  auto connection = Connection::Connect(standby_->url());
  ASSERT_TRUE(connection.has_value()) << connection.error();
  std::optional<Error> failure;
  EXPECT_TRUE(output_.WaitUntil([&] {
    const auto checks = CheckSlot(*connection, options_);
    failure = checks.has_value() ? FirstFailure(*checks) : std::nullopt;
    return failure.has_value();
  }));
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->kind, ErrorKind::kGap) << *failure;
  EXPECT_THAT(failure->message,
              AnyOf(HasSubstr("rows_removed"), HasSubstr("conflict on the standby")));
}

TEST_P(StandbyFaultsTest, Fault72_OfSeveralHostsThePrimaryIsReadWhicheverComesFirst) {
  if (GetParam() < 12) GTEST_SKIP() << "standby.signal and pg_promote() came with 12";
  MakeTable();
  StartStandby();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (1, 'x')");

  EXPECT_TRUE(output_.WaitForEvents(1));
  EXPECT_EQ(Ask("SELECT active FROM pg_replication_slots WHERE slot_name = 'freshet'"), "t");
}

INSTANTIATE_TEST_SUITE_P(Majors, StandbyFaultsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
