#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>

#include "postgres/connection.h"
#include "support/own_server.h"

/// What becomes of the slot, and of the WAL it needs.
namespace freshet::postgres {
namespace {

using change::Lsn;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SlotFaultsTest : public test::OwnServerTest {
 protected:
  /// Writes WAL until the server takes away what the slot needs.
  void LoseTheSlot() {
    ASSERT_TRUE(output_.WaitUntil([&] {
      Run("CREATE TABLE public.fill AS SELECT repeat('x', 1000) FROM generate_series(1, 20000);"
          "DROP TABLE public.fill; SELECT pg_switch_wal()");
      Run("CHECKPOINT");
      return Ask("SELECT wal_status FROM pg_replication_slots") == "lost";
    }));
  }
};

TEST_P(SlotFaultsTest, Fault1_AKilledWalsenderSendsItsTransactionAgainAndItComesOnce) {
  options_.batch_rows = 1000;
  CaptureOnce();
  output_.SetRoomForBatches(3);
  {
    RunningCapture capture(options_, output_);
    Run("INSERT INTO public.t SELECT g, repeat('x', 100) FROM generate_series(2, 20001) g");
    ASSERT_TRUE(output_.WaitUntil([&] { return output_.refused() > 0; }));
    const std::string pid = Ask("SELECT active_pid FROM pg_replication_slots WHERE active");
    ASSERT_EQ(::kill(std::stoi(pid), SIGKILL), 0);
    output_.SetRoom(true);
    const auto end = capture.WaitEnd();
    ASSERT_TRUE(end.has_value() && !end->has_value());
    EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
  }

  CaptureWithRetries(20'001);

  std::vector<std::string> events = output_.Events();
  EXPECT_EQ(events.size(), 20'001u);
  std::sort(events.begin(), events.end());
  EXPECT_EQ(std::adjacent_find(events.begin(), events.end()), events.end());
}

/// The server ends the walsender as an administrator would (57P01): what it is shows the slot.
TEST_P(SlotFaultsTest, Fault10_ASlotLostUnderTheStreamIsAGapAndNoRetryLoop) {
  if (GetParam() < 13) GTEST_SKIP() << "max_slot_wal_keep_size came with 13";
  Start({"max_slot_wal_keep_size = '1MB'", "min_wal_size = '32MB'", "max_wal_size = '32MB'"});
  CaptureOnce();
  output_.SetDurableAtOnce(false);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  LoseTheSlot();

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value()) << capture.status().reason;
  EXPECT_EQ(end->error().kind, ErrorKind::kGap) << end->error();
  EXPECT_THAT(end->error().message, HasSubstr("slot 'freshet' is lost"));
}

TEST_P(SlotFaultsTest, Fault11_ASlotInvalidatedForIdlenessIsNamedWithItsReason) {
  if (GetParam() < 18) GTEST_SKIP() << "idle_replication_slot_timeout came with 18";
  Start({"idle_replication_slot_timeout = '1s'"});
  CaptureOnce();
  ASSERT_TRUE(output_.WaitUntil([&] {
    Run("CHECKPOINT");
    return Ask("SELECT COALESCE(invalidation_reason, '') FROM pg_replication_slots") ==
           "idle_timeout";
  }));

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, AllOf(HasSubstr("slot 'freshet' is lost"), HasSubstr("idle_timeout")));
}

TEST_P(SlotFaultsTest, Fault12_AMissingWalFileIsAGapAndNoPartOfATransactionPasses) {
  Start({"min_wal_size = '32MB'"});
  CaptureOnce();
  ASSERT_TRUE(
      output_.WaitUntil([&] { return Ask("SELECT active FROM pg_replication_slots") == "f"; }));
  Run("INSERT INTO public.t SELECT g, repeat('x', 1000) FROM generate_series(2, 40000) g");
  const std::string file = Ask("SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots");
  Run("SELECT pg_switch_wal()");
  Run("CHECKPOINT");
  Shell("rm data/pg_wal/" + file);

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("the tables must be taken anew"));
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one"));
}

/// The server would take such a position without a word, and skip what comes before it.
TEST_P(SlotFaultsTest, Fault15_NoPositionAboveTheServersWalIsAcknowledged) {
  CaptureOnce();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  output_.PretendToHave(Lsn{uint64_t{1} << 50});  // a sink that counts wrong

  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 10000) g");
  const Lsn end = AskLsn("SELECT pg_current_wal_flush_lsn()");
  ASSERT_TRUE(output_.WaitUntil([&] { return capture.status().server_end >= end; }));

  EXPECT_LE(capture.status().acknowledged, AskLsn("SELECT pg_current_wal_flush_lsn()"));
  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_LE(Confirmed(), AskLsn("SELECT pg_current_wal_flush_lsn()"));
}

TEST_P(SlotFaultsTest, Fault16_AServerRestoredFromAnOlderCopyIsAGap) {
  CaptureOnce();
  ASSERT_TRUE(server_->Stop().has_value());
  Shell("cp -a data before");
  ASSERT_TRUE(server_->Resume().has_value());
  Run("CREATE TABLE public.other AS SELECT g FROM generate_series(1, 100000) g");
  CaptureOneMore();
  ASSERT_TRUE(server_->Stop().has_value());
  Shell("rm -r data && mv before data");
  ASSERT_TRUE(server_->Resume().has_value());

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("the server ends at"), HasSubstr("restored from a backup or reset")));
}

INSTANTIATE_TEST_SUITE_P(Majors, SlotFaultsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
