#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "postgres/connection.h"
#include "support/own_server.h"
#include "support/tcp_proxy.h"

/// The way to the server, its settings and its counters.
namespace freshet::postgres {
namespace {

using change::Lsn;
using std::chrono::seconds;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NetworkFaultsTest : public test::OwnServerTest {
 protected:
  static seconds Since(std::chrono::nanoseconds began) {
    return std::chrono::duration_cast<seconds>(SystemClock().Monotonic() - began);
  }
};

TEST_P(NetworkFaultsTest, Fault62_ASilentNetworkIsNoticedAndTheStreamGoesOnAfterIt) {
  auto proxy = test::TcpProxy::Start(server_->port());
  ASSERT_TRUE(proxy.has_value()) << proxy.error();
  options_.url = Secret(fmt::format("postgres://postgres@127.0.0.1:{}/postgres", (*proxy)->port()));
  CaptureOnce();
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    const auto began = SystemClock().Monotonic();
    (*proxy)->Freeze(true);
    Run("INSERT INTO public.t VALUES (2, 'x')");

    const auto end = capture.WaitEnd();

    ASSERT_TRUE(end.has_value() && !end->has_value());
    EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
    EXPECT_LT(Since(began), seconds(30));
  }
  (*proxy)->Freeze(false);
  CaptureWithRetries(2);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x"));
}

/// Without a timeout the server never asks whether we are still there.
TEST_P(NetworkFaultsTest, Fault63_WithoutAServerTimeoutTheSilentNetworkIsNoticedToo) {
  Start({"wal_sender_timeout = 0"});
  auto proxy = test::TcpProxy::Start(server_->port());
  ASSERT_TRUE(proxy.has_value()) << proxy.error();
  options_.url = Secret(fmt::format("postgres://postgres@127.0.0.1:{}/postgres", (*proxy)->port()));
  CaptureOnce();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  (*proxy)->Freeze(true);

  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
}

TEST_P(NetworkFaultsTest, Fault70_UsedUpSlotsAndWalsendersAreNamedWithTheirSetting) {
  Start({"max_replication_slots = 1", "max_wal_senders = 1"});
  MakeTable();
  Run("SELECT pg_create_physical_replication_slot('other')");

  const Error slots = RunToError();

  EXPECT_THAT(slots.message, AllOf(HasSubstr("all 1 replication slots are in use"),
                                   HasSubstr("max_replication_slots")));
  Run("SELECT pg_drop_replication_slot('other')");
  auto walsender = Connection::Connect(
      server_->url(), {.replication = true, .application_name = "other", .settings = {}});
  ASSERT_TRUE(walsender.has_value()) << walsender.error();
  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();
  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kBusy) << end->error();
  EXPECT_THAT(end->error().message, HasSubstr("max_wal_senders"));
}

TEST_P(NetworkFaultsTest, Fault71_ARotatedPasswordIsReadAnewAtTheNextConnection) {
  if (GetParam() < 14) GTEST_SKIP() << "one version shows it";
  MakeTable();
  Run("CREATE ROLE carrier SUPERUSER LOGIN PASSWORD 'first'");
  Shell("sed -i '1i host all carrier 127.0.0.1/32 scram-sha-256' data/pg_hba.conf");
  Run("SELECT pg_reload_conf()");
  const std::string passwords = server_->folder() + "/pgpass";
  const auto write = [&](const std::string& password) {
    Shell(fmt::format("echo '*:*:*:*:{}' > pgpass && chmod 600 pgpass", password));
  };
  write("first");
  ASSERT_EQ(::setenv("PGPASSFILE", passwords.c_str(), 1), 0);
  options_.url = server_->url("postgres", "carrier");
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("INSERT INTO public.t VALUES (1, 'x')");
    ASSERT_TRUE(output_.WaitForEvents(1));
    Run("ALTER ROLE carrier PASSWORD 'second'");
    Run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'carrier'");
    ASSERT_TRUE(capture.WaitEnd().has_value());
  }

  const Error refused = RunToError();
  write("second");
  Run("INSERT INTO public.t VALUES (2, 'x')");
  CaptureWithRetries(2);

  EXPECT_EQ(refused.kind, ErrorKind::kDenied) << refused;
  EXPECT_THAT(refused.message, HasSubstr("check user and password"));
  EXPECT_EQ(refused.message.find("first"), std::string::npos);
  EXPECT_EQ(output_.Events().size(), 2u);
  ::unsetenv("PGPASSFILE");
}

TEST_P(NetworkFaultsTest, Fault61_ALongWriterIsNamedWhileTheSlotWaitsForIt) {
  MakeTable();
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.t VALUES (1, 'x')").has_value());
  RunningCapture capture(options_, output_);

  EXPECT_TRUE(output_.WaitUntil([&] {
    return capture.status().reason.find(fmt::format("pid {}", writer->backend_pid())) !=
           std::string::npos;
  })) << capture.status().reason;
  EXPECT_EQ(capture.status().state, CaptureState::kCreatingSlot);
  ASSERT_TRUE(writer->Execute("COMMIT").has_value());

  EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  EXPECT_TRUE(output_.WaitForEvents(1));
}

/// Positions of a server that has written 2^63 bytes; the next segment is the first above them.
TEST_P(NetworkFaultsTest, Fault69_PositionsNearTheEndOfTheirRangeAreExact) {
  if (GetParam() != 15) GTEST_SKIP() << "needs pg_resetwal, which only Debian's package has";
  ASSERT_TRUE(server_->Stop().has_value());
  Shell(
      "su -s /bin/sh postgres -c '/usr/lib/postgresql/15/bin/pg_resetwal -f -l "
      "000000017FFFFFFF00000000 data'");
  ASSERT_TRUE(server_->Resume().has_value());

  CaptureOnce();
  Run("CREATE TABLE public.other AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
  CaptureOneMore();

  EXPECT_GE(output_.Durable().commit_end, Lsn{uint64_t{0x7FFFFFFF} << 32});
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 2 | x"));
  EXPECT_TRUE(output_.WaitUntil([&] { return Confirmed() >= output_.Durable().commit_end; }));
}

TEST_P(NetworkFaultsTest, Fault68_TransactionIdsOfALaterEpochAreReadExactly) {
  if (GetParam() != 15) GTEST_SKIP() << "needs pg_resetwal, which only Debian's package has";
  ASSERT_TRUE(server_->Stop().has_value());
  Shell("su -s /bin/sh postgres -c '/usr/lib/postgresql/15/bin/pg_resetwal -f -e 5 data'");
  ASSERT_TRUE(server_->Resume().has_value());
  MakeTable();
  Run("INSERT INTO public.t SELECT g, 'old' FROM generate_series(1, 2000) g");
  std::atomic<bool> done{false};
  int last = 2000;
  std::thread writer([&] {
    while (!done)
      (void)server_->Run(fmt::format("INSERT INTO public.t VALUES ({}, 'new')", ++last));
  });
  RunningCapture capture(options_, output_);
  EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  EXPECT_TRUE(output_.WaitForEvents(2050));
  done = true;
  writer.join();

  const auto rows = static_cast<size_t>(std::stoi(Ask("SELECT count(*) FROM public.t")));
  EXPECT_TRUE(output_.WaitForEvents(rows));
  EXPECT_EQ(Ask("SELECT txid_current() >> 32"), "5");
}

/// The age counts transactions, not time: a slot that stands still grows old with any traffic.
TEST_P(NetworkFaultsTest, Fault74_AnOldCatalogHorizonOfTheSlotIsWarnedOf) {
  Start({"autovacuum_freeze_max_age = 100000", "autovacuum = off"});
  CaptureOnce();
  output_.SetDurableAtOnce(false);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE 'CREATE TABLE public.d (i int)';"
      " EXECUTE 'DROP TABLE public.d'; END LOOP; END $$");
  // Each is a subtransaction with an id of its own.
  Run("CREATE TABLE public.ids (i int)");
  Run("DO $$ BEGIN FOR i IN 1..80000 LOOP BEGIN INSERT INTO public.ids VALUES (1);"
      " EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$");

  EXPECT_TRUE(output_.WaitUntil([&] {
    return capture.status().slot_verdict.alarm == SlotAlarm::kUrgent;
  })) << capture.status().slot_catalog_age;
  EXPECT_GT(capture.status().slot_catalog_age, 75'000);
  EXPECT_THAT(capture.status().slot_verdict.reason, HasSubstr("rows of the catalog"));
}

INSTANTIATE_TEST_SUITE_P(Majors, NetworkFaultsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
