#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "postgres/connection.h"
#include "support/own_server.h"
#include "support/program.h"

/// freshet itself is killed, or its machine is odd.
namespace freshet::postgres {
namespace {

using test::Eventually;
using test::MemoryOutput;
using test::PostgresServer;
using test::Program;
using test::RunningCapture;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CrashFaultsTest : public test::OwnServerTest {
 protected:
  /// Runs freshet, with more keys of the source in YAML, each with a comma before it.
  std::unique_ptr<Program> Start(std::vector<std::string> arguments,
                                 const std::string& source = "") {
    test::WriteText(folder_ / "freshet.yaml",
                    "source: { postgres: { url: '" + server_->url().Reveal() +
                        "', tables: ['public.t*']" + source + " } }\nlog: { path: '" +
                        (folder_ / "log") + "' }\nsinks: { mirror: { duckdb: { path: '" +
                        (folder_ / "a.duckdb") + "'" + more_of_mirror_ + " }, mode: upsert }" +
                        more_sinks_ + " }\n");
    arguments.insert(arguments.begin(), FRESHET_PROGRAM);
    arguments.insert(arguments.end(), {"-c", folder_ / "freshet.yaml"});
    return Program::Start(
        {.arguments = std::move(arguments), .environment = {}, .obeys_file_modes = false});
  }

  /// Runs freshet to the end of what there is. Its exit code.
  int RunToEnd(std::vector<std::string> arguments) {
    const auto program = Start(std::move(arguments));
    const int code = program->WaitExit(std::chrono::minutes(10)).value_or(-1);
    EXPECT_EQ(code, 0) << program->message() << program->out();
    return code;
  }

  test::TemporaryFolder folder_;
  std::string more_of_mirror_;  ///< keys in YAML, each with a comma before it
  std::string more_sinks_;
};

/// The server makes the slot after we are dead: a writer kept it waiting.
TEST_P(CrashFaultsTest, Fault6_ASlotThatCameAfterItsMakerDiedIsMadeAnew) {
  MakeTable();
  Run("INSERT INTO public.t SELECT g, 'x' FROM generate_series(1, 100) g");
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.t VALUES (1000, 'x')").has_value());
  {
    const auto first = Start({"run"});
    ASSERT_TRUE(Eventually([&] {
      return Ask("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'freshet'") == "1";
    })) << first->err();
    first->Signal(SIGKILL);
    ASSERT_TRUE(first->WaitExit().has_value());
  }
  ASSERT_TRUE(writer->Execute("COMMIT").has_value());

  const auto second = Start({"run", "--until-caught-up"});
  EXPECT_EQ(second->WaitExit(), 0) << second->err();
  const auto verify = Start({"verify"});

  EXPECT_EQ(verify->WaitExit(), 0) << verify->out() << verify->err();
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_replication_slots"), "1");
}

TEST_P(CrashFaultsTest, Fault7_AKilledSnapshotGoesOnAtTheChunkThatWasRead) {
  MakeTable();
  Run("INSERT INTO public.t SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g");
  const std::string small = ", snapshot_chunk_size: 1MiB, snapshot_workers: 1, batch_rows: 500";
  const auto log_bytes = [&] {
    uintmax_t bytes = 0;
    std::error_code gone;
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder_ / "log", gone)) {
      if (file.is_regular_file(gone)) bytes += file.file_size(gone);
    }
    return bytes;
  };
  {
    const auto first = Start({"run"}, small);
    // Some pieces are in the log, and not all can be.
    ASSERT_TRUE(Eventually([&] {
      return Ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet "
                 "snapshot' AND state <> 'idle'") != "0" &&
             log_bytes() > 0;
    })) << first->err();
    Run("UPDATE public.t SET v = 'new' WHERE id % 10 = 0");
    first->Signal(SIGKILL);
    ASSERT_TRUE(first->WaitExit().has_value());
  }
  Run("DELETE FROM public.t WHERE id % 10 = 1");

  const auto second = Start({"run", "--until-caught-up"}, small);
  EXPECT_EQ(second->WaitExit(std::chrono::minutes(2)), 0) << second->err();
  const auto verify = Start({"verify"}, small);

  EXPECT_EQ(verify->WaitExit(), 0) << verify->out() << verify->err();
  EXPECT_EQ(second->err().find("made the slot"), std::string::npos) << second->err();
}

/// A clock of a machine that is set forward and back by a day.
class JumpingClock final : public Clock {
 public:
  UnixMicros Now() const override { return SystemClock().Now() + jumped_.load(); }
  std::chrono::nanoseconds Monotonic() const override { return SystemClock().Monotonic(); }
  bool WaitFor(std::chrono::nanoseconds duration, std::stop_token stop) const override {
    return SystemClock().WaitFor(duration, std::move(stop));
  }
  void JumpTo(std::chrono::hours hours) {
    jumped_ = std::chrono::duration_cast<std::chrono::microseconds>(hours).count();
  }

 private:
  std::atomic<UnixMicros> jumped_{0};
};

TEST_P(CrashFaultsTest, Fault65_AClockThatJumpsByADayLosesAndRepeatsNothing) {
  JumpingClock clock;
  MakeTable();
  {
    RunningCapture capture(options_, output_, clock);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("INSERT INTO public.t VALUES (1, 'now')");
    ASSERT_TRUE(output_.WaitForEvents(1));
    clock.JumpTo(std::chrono::hours(24));
    Run("INSERT INTO public.t VALUES (2, 'tomorrow')");
    ASSERT_TRUE(output_.WaitForEvents(2));
    clock.JumpTo(std::chrono::hours(-24));
    Run("INSERT INTO public.t VALUES (3, 'yesterday')");
    ASSERT_TRUE(output_.WaitForEvents(3));
    EXPECT_TRUE(output_.WaitUntil([&] { return Confirmed() >= output_.Durable().commit_end; }));
    ASSERT_TRUE(capture.Stop().has_value());
  }
  CaptureWithRetries(3);

  EXPECT_THAT(output_.Events(),
              ElementsAre("insert public.t 1 | now", "insert public.t 2 | tomorrow",
                          "insert public.t 3 | yesterday"));
  // Commit times are the server's.
  for (const auto& t : output_.transactions()) {
    if (t.xid.value == 0) continue;
    EXPECT_LT(std::abs(t.commit_time - SystemClock().Now()), UnixMicros{3'600'000'000});
  }
}

TEST_P(CrashFaultsTest, Fault50_APreparedTransactionArrivesOnceWhenItIsCommitted) {
  OwnServerTest::Start({"max_prepared_transactions = 10"});
  CaptureOnce();
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Run("BEGIN; INSERT INTO public.t VALUES (2, 'kept'); PREPARE TRANSACTION 'kept'");
    Run("BEGIN; INSERT INTO public.t VALUES (3, 'undone'); PREPARE TRANSACTION 'undone'");
    Run("INSERT INTO public.t VALUES (4, 'later')");
    ASSERT_TRUE(output_.WaitForEvents(2));
  }
  Run("COMMIT PREPARED 'kept'");
  Run("ROLLBACK PREPARED 'undone'");
  CaptureWithRetries(3);
  Run("INSERT INTO public.t VALUES (5, 'end')");
  CaptureWithRetries(4);

  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | one", "insert public.t 4 | later",
                                            "insert public.t 2 | kept", "insert public.t 5 | end"));
}

/// Once with the snapshot and once in the stream, into a mirror and into Parquet.
TEST_P(CrashFaultsTest, Fault52_ATextOfABillionBytesPassesBothWays) {
  if (GetParam() < 15) GTEST_SKIP() << "needs much memory and time; the newer versions show it";
  MakeTable();
  more_of_mirror_ = ", memory_limit: 8GiB";
  more_sinks_ = ", parquet: { files: { url: '" + (folder_ / "parquet") + "' } }";

  Run("INSERT INTO public.t VALUES (1, repeat('x', 1000000000))");
  ASSERT_EQ(RunToEnd({"run", "--until-caught-up"}), 0);
  Run("INSERT INTO public.t VALUES (2, repeat('y', 1000000000))");
  ASSERT_EQ(RunToEnd({"run", "--until-caught-up"}), 0);

  EXPECT_EQ(RunToEnd({"verify", "--sink", "parquet"}), 0);
  const auto query =
      Start({"query",
             "SELECT count(*) AS n FROM public.t WHERE v = repeat(CASE id WHEN 1 THEN 'x' "
             "ELSE 'y' END, 1000000000) HAVING n = 2"});
  ASSERT_EQ(query->WaitExit(std::chrono::minutes(5)), 0) << query->message();
  EXPECT_THAT(query->out(), HasSubstr("2"));
}

/// Each of them is larger than what the server keeps in memory of a transaction.
TEST_P(CrashFaultsTest, Fault49_InterleavedTransactionsArriveWholeInTheOrderOfTheirCommits) {
  OwnServerTest::Start(GetParam() >= 13
                           ? std::vector<std::string>{"logical_decoding_work_mem = '64kB'"}
                           : std::vector<std::string>{});
  MakeTable();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  std::vector<Connection> writers;
  for (int i = 0; i < 4; ++i) {
    auto writer = Connection::Connect(server_->url());
    ASSERT_TRUE(writer.has_value()) << writer.error();
    ASSERT_TRUE(writer->Execute("BEGIN").has_value());
    writers.push_back(*std::move(writer));
  }

  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 4; ++i) {
      const int first = i * 100'000 + round * 1'000;
      ASSERT_TRUE(writers[static_cast<size_t>(i)]
                      .Execute(fmt::format("INSERT INTO public.t SELECT g, repeat('x', 200) FROM "
                                           "generate_series({}, {}) g",
                                           first, first + 999))
                      .has_value());
    }
  }
  for (const size_t i : {size_t{2}, size_t{0}, size_t{3}}) {
    ASSERT_TRUE(writers[i].Execute("COMMIT").has_value());
  }
  ASSERT_TRUE(writers[1].Execute("ROLLBACK").has_value());

  ASSERT_TRUE(output_.WaitForEvents(15'000));
  ASSERT_TRUE(capture.Stop().has_value());
  std::vector<int> order;
  for (const std::string& event : output_.Events()) {
    const int writer = std::stoi(event.substr(std::string("insert public.t ").size())) / 100'000;
    if (order.empty() || order.back() != writer) order.push_back(writer);
  }
  EXPECT_THAT(order, ElementsAre(2, 0, 3));
  EXPECT_EQ(output_.Events().size(), 15'000u);
}

TEST_P(CrashFaultsTest, Fault47_ALargeTransactionThatIsRolledBackLeavesNothing) {
  OwnServerTest::Start(GetParam() >= 13
                           ? std::vector<std::string>{"logical_decoding_work_mem = '64kB'"}
                           : std::vector<std::string>{});
  MakeTable();
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("BEGIN; INSERT INTO public.t SELECT g, 'x' FROM generate_series(1, 1000000) g; ROLLBACK");
  Run("INSERT INTO public.t VALUES (1, 'kept')");

  ASSERT_TRUE(output_.WaitForEvents(1));
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | kept"));
}

/// It doubles in hex, which the server cannot hold in one piece.
TEST_P(CrashFaultsTest, Fault53_AByteaThatTextCannotCarryIsNamedWithItsRepair) {
  if (GetParam() < 15) GTEST_SKIP() << "needs much memory and time; the newer versions show it";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v bytea);"
      "ALTER TABLE public.t ALTER v SET STORAGE EXTERNAL");
  const std::string insert =
      "INSERT INTO public.t VALUES (1, convert_to(repeat('x', 600000000), 'UTF8'))";
  const auto wait_for_error = [](RunningCapture& capture) {
    auto end = capture.WaitEnd();
    for (int tries = 0; tries < 5 && !end.has_value(); ++tries) end = capture.WaitEnd();
    ASSERT_TRUE(end.has_value() && !end->has_value());
    EXPECT_EQ(end->error().kind, ErrorKind::kUnsupported) << end->error();
    EXPECT_THAT(end->error().message, HasSubstr("too large to be sent as text"));
    EXPECT_THAT(end->error().message, HasSubstr("shorten it, or leave its column or table out"));
  };

  {
    RunningCapture stream(options_, output_);
    ASSERT_TRUE(stream.WaitForState(CaptureState::kStreaming)) << stream.status().reason;
    Run(insert);
    wait_for_error(stream);
  }
  Run("SELECT pg_drop_replication_slot('freshet')");
  MemoryOutput begun_anew;
  RunningCapture snapshot(options_, begun_anew);
  wait_for_error(snapshot);
}

/// pg_upgrade gives the cluster a new identifier: nothing proves that the new one is the old one.
TEST_P(CrashFaultsTest, Fault73_AnUpgradedServerIsAGapThatNamesTheUpgrade) {
  if (GetParam() == PostgresServer::InstalledMajors().back()) GTEST_SKIP() << "nothing is newer";
  CaptureOnce();
  auto newer = PostgresServer::Start(
      {.major = PostgresServer::InstalledMajors().back(), .settings = {}, .encoding = "UTF8"});
  ASSERT_TRUE(newer.has_value()) << newer.error();
  server_ = *std::move(newer);
  options_.url = server_->url();
  MakeTable();
  Run("CREATE PUBLICATION freshet FOR TABLE public.t WITH (publish_via_partition_root = true)");
  Run("SELECT pg_create_logical_replication_slot('freshet', 'pgoutput')");

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, HasSubstr("another server"));
  EXPECT_THAT(error.message, HasSubstr("pg_upgrade"));
}

INSTANTIATE_TEST_SUITE_P(Majors, CrashFaultsTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
