// Large transactions, which servers since 14 send while they still run.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "integration/program_fixture.h"
#include "postgres/capture.h"
#include "postgres/connection.h"
#include "support/own_server.h"
#include "support/temporary_folder.h"

namespace freshet::postgres {
namespace {

using change::Lsn;
using test::MemoryOutput;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Enough rows for the server to send them while their transaction runs: see SetUp().
constexpr int kMany = 3'000;

class StreamingTest : public test::OwnServerTest {
 protected:
  void SetUp() override {
    std::vector<std::string> settings = {"max_prepared_transactions = 10", "fsync = off"};
    // The least there is: every transaction above 64 kB in the server is sent while it runs.
    if (GetParam() >= 13) settings.emplace_back("logical_decoding_work_mem = 64kB");
    ASSERT_NO_FATAL_FAILURE(Start(settings));
    options_.tables = {"public.*"};
    options_.spool_folder = folder_ / "spool";
    MakeTable();
  }

  /// A session of its own, for transactions left open.
  Connection Session() {
    auto session = Connection::Connect(server_->url());
    CHECK(session.has_value());
    return *std::move(session);
  }

  static void Do(Connection& session, const std::string& sql) {
    const Status status = session.Execute(sql);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  static std::string InsertMany(int first, int count = kMany) {
    return fmt::format(
        "INSERT INTO public.t SELECT i, 'row ' || i || repeat('.', 100) FROM generate_series({}, "
        "{}) i",
        first, first + count - 1);
  }

  bool WaitForStatus(const RunningCapture& capture,
                     const std::function<bool(const CaptureStatus&)>& reached) {
    return output_.WaitUntil([&] { return reached(capture.status()); });
  }

  bool WaitUntilStreamed(const RunningCapture& capture, int64_t transactions = 1) {
    if (!streams()) return true;
    return WaitForStatus(capture, [&](const CaptureStatus& status) {
      return status.running.transactions == transactions;
    });
  }

  bool streams() const { return GetParam() >= 14; }

  /// The ids of the events, in order.
  std::vector<int> Ids() const {
    std::vector<int> ids;
    for (const std::string& event : output_.Events()) {
      const size_t at = event.find("public.t ");
      if (at != std::string::npos) ids.push_back(std::stoi(event.substr(at + 9)));
    }
    return ids;
  }

  size_t FilesInSpool() const { return test::FilesBelow(folder_.path()).size(); }

  test::TemporaryFolder folder_;
};

TEST_P(StreamingTest, ATransactionIsSeenAtItsCommitAndOthersDoNotWaitForIt) {
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Connection session = Session();
  Do(session, "BEGIN");
  Do(session, InsertMany(1));
  ASSERT_TRUE(WaitUntilStreamed(capture));
  if (streams()) {
    ASSERT_TRUE(WaitForStatus(capture, [](const CaptureStatus& status) {
      return status.running.largest_bytes > int64_t{100} * kMany;
    }));
    EXPECT_GT(capture.status().running.oldest_since, 0);
  }

  Run("INSERT INTO public.t VALUES (0, 'short')");
  ASSERT_TRUE(output_.WaitForEvents(1));
  Do(session, InsertMany(kMany + 1));
  Do(session, "COMMIT");

  ASSERT_TRUE(output_.WaitForEvents(1 + 2 * kMany));
  ASSERT_TRUE(WaitUntilStreamed(capture, 0));
  EXPECT_TRUE(capture.Stop().has_value());
  const std::vector<int> ids = Ids();
  ASSERT_THAT(ids, SizeIs(1 + 2 * kMany));
  for (int i = 0; i <= 2 * kMany; ++i) ASSERT_EQ(ids[static_cast<size_t>(i)], i);
  EXPECT_EQ(FilesInSpool(), 0u);
}

TEST_P(StreamingTest, ARollbackLeavesNoTrace) {
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Connection session = Session();
  Do(session, "BEGIN");
  Do(session, InsertMany(1));
  ASSERT_TRUE(WaitUntilStreamed(capture));
  Do(session, "ROLLBACK");
  Run("INSERT INTO public.t VALUES (0, 'after')");

  ASSERT_TRUE(output_.WaitForEvents(1));
  ASSERT_TRUE(WaitUntilStreamed(capture, 0));
  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_THAT(Ids(), ElementsAre(0));
  EXPECT_EQ(FilesInSpool(), 0u);
}

TEST_P(StreamingTest, RolledBackSavepointsAreLeftOut) {
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Connection session = Session();
  Do(session, "BEGIN");
  Do(session, InsertMany(1, 1'000));
  Do(session, "SAVEPOINT a");
  Do(session, InsertMany(10'001));
  Do(session, "SAVEPOINT b; ALTER TABLE public.t ADD more int");
  Do(session, "INSERT INTO public.t SELECT i, 'wide', i FROM generate_series(20001, 23000) i");
  ASSERT_TRUE(WaitUntilStreamed(capture));
  Do(session, "ROLLBACK TO a");
  Do(session, InsertMany(1'001, 1'000));
  Do(session, "SAVEPOINT c");
  Do(session, InsertMany(2'001, 1'000));
  Do(session, "RELEASE c");
  Do(session, "COMMIT");

  ASSERT_TRUE(output_.WaitForEvents(3'000));
  Run("INSERT INTO public.t VALUES (3001, 'after')");
  ASSERT_TRUE(output_.WaitForEvents(3'001));
  EXPECT_TRUE(capture.Stop().has_value());
  const std::vector<int> ids = Ids();
  ASSERT_THAT(ids, SizeIs(3'001));
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], static_cast<int>(i) + 1);
}

/// A running transaction commits after everything received, so what the server has sent may be
/// acknowledged; a new connection gets all of it again.
TEST_P(StreamingTest, ARunningTransactionHoldsBackNoAcknowledgementAndIsSentAgain) {
  options_.status_interval = std::chrono::milliseconds(100);
  Connection session = Session();
  Lsn in_between;
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    Do(session, "BEGIN");
    Do(session, InsertMany(1));
    ASSERT_TRUE(WaitUntilStreamed(capture));
    Run("INSERT INTO public.t VALUES (0, 'short'); CREATE SCHEMA s; CREATE TABLE s.other (id int)");
    in_between = *change::ParseLsn(Ask("SELECT pg_current_wal_lsn()"));
    EXPECT_TRUE(WaitForStatus(
        capture, [&](const CaptureStatus& status) { return status.acknowledged >= in_between; }));
    EXPECT_TRUE(capture.Stop().has_value());
  }
  EXPECT_EQ(Ask(fmt::format("SELECT confirmed_flush_lsn >= '{}' FROM pg_replication_slots",
                            change::ToString(in_between))),
            "t");
  output_.LoseWhatIsNotDurable();

  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Do(session, InsertMany(kMany + 1));
  Do(session, "COMMIT");
  ASSERT_TRUE(output_.WaitForEvents(1 + 2 * kMany));
  EXPECT_TRUE(capture.Stop().has_value());
  const std::vector<int> ids = Ids();
  ASSERT_THAT(ids, SizeIs(1 + 2 * kMany));
  for (int i = 0; i <= 2 * kMany; ++i) ASSERT_EQ(ids[static_cast<size_t>(i)], i);
}

TEST_P(StreamingTest, ATransactionBrokenOffWhileItIsPassedOnIsCompleted) {
  options_.batch_rows = 100;
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    output_.SetRoomForBatches(7);
    Connection session = Session();
    Do(session, "BEGIN");
    Do(session, InsertMany(1));
    ASSERT_TRUE(WaitUntilStreamed(capture));
    Do(session, "COMMIT");
    ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForRoom));
    EXPECT_TRUE(capture.Stop().has_value());
  }
  ASSERT_GT(output_.resume().appended.ordinal, 0);
  output_.SetRoom(true);

  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitForEvents(kMany));
  EXPECT_TRUE(capture.Stop().has_value());
  const std::vector<int> ids = Ids();
  ASSERT_THAT(ids, SizeIs(kMany));
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], static_cast<int>(i) + 1);
}

/// Two slots read the same load, one streaming and one not.
TEST_P(StreamingTest, StreamedOrNotTheChangesAreTheSame) {
  options_.slot = "streaming";
  Options plain_options = options_;
  plain_options.slot = "plain";
  plain_options.streaming = Streaming::kOff;
  MemoryOutput plain_output;
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  RunningCapture plain(plain_options, plain_output);
  ASSERT_TRUE(plain.WaitForState(CaptureState::kStreaming)) << plain.status().reason;

  std::vector<std::jthread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([this, writer] {
      Connection session = Session();
      for (int round = 0; round < 5; ++round) {
        const int first = (writer * 5 + round) * 10'000;
        Do(session, "BEGIN");
        Do(session, InsertMany(first, 700));
        Do(session, "SAVEPOINT a");
        Do(session,
           fmt::format("DELETE FROM public.t WHERE id BETWEEN {} AND {}", first, first + 99));
        Do(session, round % 2 == 0 ? "ROLLBACK TO a" : "RELEASE a");
        Do(session, InsertMany(first + 700, 700));
        Do(session, fmt::format("UPDATE public.t SET v = 'new', id = id + 5000 WHERE id BETWEEN "
                                "{} AND {}",
                                first + 200, first + 900));
        Do(session, round == 3 ? "ROLLBACK" : "COMMIT");
      }
    });
  }
  writers.clear();
  Run("INSERT INTO public.t VALUES (-1, 'last')");
  const auto complete = [](const MemoryOutput& output) {
    const auto batches = output.batches();
    return !batches.empty() && batches.back()->num_rows() > 0 &&
           test::EventsOf(*batches.back()).back() == "insert public.t -1 | last";
  };
  ASSERT_TRUE(output_.WaitUntil([&] { return complete(output_) && complete(plain_output); }));
  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_TRUE(plain.Stop().has_value());
  EXPECT_EQ(output_.Events(), plain_output.Events());
  EXPECT_GT(output_.Events().size(), 4u * 4 * 1'400);
}

TEST_P(StreamingTest, BeyondItsBudgetTheServerKeepsTheTransaction) {
  if (!streams()) GTEST_SKIP() << "this version does not stream";
  options_.spool_budget = {int64_t{1} << 20};
  const auto capture = Capture::Create(options_, SystemClock());
  Connection session = Session();
  {
    std::optional<Status> result;
    std::jthread thread(
        [&](std::stop_token stop) { result = capture->Run(output_.resume(), output_, stop); });
    ASSERT_TRUE(
        output_.WaitUntil([&] { return capture->status().state == CaptureState::kStreaming; }));
    Do(session, "BEGIN");
    Do(session, InsertMany(1, 20'000));
    thread.join();
    ASSERT_TRUE(result.has_value() && !result->has_value());
    EXPECT_EQ(result->error().kind, ErrorKind::kNoSpace);
    EXPECT_THAT(result->error().message, HasSubstr("spool_budget"));
  }
  EXPECT_EQ(capture->status().running.transactions, 0);

  std::jthread thread([&](std::stop_token stop) {
    EXPECT_TRUE(capture->Run(output_.resume(), output_, stop).has_value());
  });
  Run("INSERT INTO public.t VALUES (0, 'short')");
  ASSERT_TRUE(output_.WaitForEvents(1));
  Do(session, "COMMIT");
  ASSERT_TRUE(output_.WaitForEvents(20'001));
  EXPECT_THAT(Ids().front(), 0);
}

// Two-phase transactions: once, at COMMIT PREPARED.

TEST_P(StreamingTest, PreparedTransactionsComeOnceWhenTheyAreCommitted) {
  Connection session = Session();
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    for (const int first : {0, 10'000, 20'000, 30'000}) {
      Do(session, "BEGIN");
      Do(session, InsertMany(first, first < 20'000 ? 3 : kMany));  // two small, two streamed
      Do(session, fmt::format("PREPARE TRANSACTION 'p{}'", first));
    }
    Run("INSERT INTO public.t VALUES (-1, 'later, and committed before')");
    ASSERT_TRUE(output_.WaitForEvents(1));
    ASSERT_TRUE(WaitUntilStreamed(capture, 2));
    EXPECT_TRUE(capture.Stop().has_value());
  }
  output_.LoseWhatIsNotDurable();  // as after kill -9
  Run("ROLLBACK PREPARED 'p0'");
  Run("COMMIT PREPARED 'p10000'");

  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  ASSERT_TRUE(output_.WaitForEvents(4));
  Run("ROLLBACK PREPARED 'p20000'");
  Run("COMMIT PREPARED 'p30000'");
  ASSERT_TRUE(output_.WaitForEvents(4 + kMany));
  ASSERT_TRUE(WaitUntilStreamed(capture, 0));
  EXPECT_TRUE(capture.Stop().has_value());

  std::vector<int> expected = {-1, 10'000, 10'001, 10'002};
  for (int i = 0; i < kMany; ++i) expected.push_back(30'000 + i);
  EXPECT_EQ(Ids(), expected);
  EXPECT_EQ(FilesInSpool(), 0u);
}

/// The whole program with a warehouse.
class StreamingProgramTest : public test::ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    Run("ALTER DATABASE " + name_ + " SET logical_decoding_work_mem = '64kB'");
    Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
    config_.source = ", batch_rows: 1000";
    CatchUp();
  }

  static std::string InsertMany(int first) {
    return fmt::format(
        "INSERT INTO public.t SELECT i, repeat('.', 200) FROM generate_series({}, {}) i", first,
        first + 9'999);
  }

  std::string Running() const {
    const auto status = StatusJson();
    if (!status.contains("source")) return "";
    return status["source"]["running_transactions"]["count"].get<std::string>();
  }

  bool WaitForRows(const std::string& count) const {
    return test::Eventually([&] { return Query("SELECT count(*) FROM public.t") == count; });
  }
};

TEST_P(StreamingProgramTest, AKillInTheMiddleOfATransactionCostsNothing) {
  auto session = Connection::Connect(url());
  ASSERT_TRUE(session.has_value()) << session.error();
  auto program = StartRun();
  ASSERT_TRUE(test::Eventually([&] { return Running() == "0"; }));
  ASSERT_TRUE(session->Execute("BEGIN").has_value());
  ASSERT_TRUE(session->Execute(InsertMany(1)).has_value());
  ASSERT_TRUE(test::Eventually([&] { return Running() == "1"; }));
  program->Signal(SIGKILL);
  ASSERT_EQ(program->WaitExit(), 128 + SIGKILL);

  program = StartRun();
  Run("INSERT INTO public.t VALUES (0, 'other')");
  ASSERT_TRUE(session->Execute(InsertMany(10'001)).has_value());
  ASSERT_TRUE(test::Eventually([&] { return Running() == "1"; }));
  EXPECT_TRUE(WaitForRows("1"));  // the other one does not wait
  ASSERT_TRUE(session->Execute("COMMIT").has_value());
  EXPECT_TRUE(WaitForRows("20001"));

  ASSERT_TRUE(session->Execute("BEGIN").has_value());
  ASSERT_TRUE(session->Execute(InsertMany(30'001)).has_value());
  ASSERT_TRUE(test::Eventually([&] { return Running() == "1"; }));
  ASSERT_TRUE(session->Execute("ROLLBACK").has_value());
  ASSERT_TRUE(test::Eventually([&] { return Running() == "0"; }));
  ExpectEqual();
}

/// Killed while the committed transaction is read back and half of it is in the log.
TEST_P(StreamingProgramTest, AKillWhileATransactionIsPassedOnCostsNothing) {
  const auto program =
      test::Program::Start({.arguments = {FRESHET_PROGRAM, "run", "-c", WriteConfig()},
                            .environment = {"NO_COLOR=1", "FRESHET_FAILPOINT=after_append:7"}});
  ASSERT_TRUE(test::Eventually([&] { return Running() == "0"; }));
  auto session = Connection::Connect(url());
  ASSERT_TRUE(session.has_value()) << session.error();
  ASSERT_TRUE(session->Execute("BEGIN").has_value());
  ASSERT_TRUE(session->Execute(InsertMany(1)).has_value());
  ASSERT_TRUE(session->Execute(InsertMany(10'001)).has_value());
  ASSERT_TRUE(test::Eventually([&] { return Running() == "1"; }));
  ASSERT_TRUE(session->Execute("COMMIT").has_value());
  ASSERT_EQ(program->WaitExit(), 128 + SIGKILL);

  const auto again = StartRun();
  EXPECT_TRUE(WaitForRows("20000"));
  ExpectEqual();
}

INSTANTIATE_TEST_SUITE_P(Majors, StreamingProgramTest, ::testing::Values(15),
                         [](const auto& tested) { return std::to_string(tested.param); });

INSTANTIATE_TEST_SUITE_P(Majors, StreamingTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
