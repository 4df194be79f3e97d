// A slot that has piled much up is read in large rounds before the stream goes on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

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
using ::testing::HasSubstr;

class BacklogTest : public test::OwnServerTest {
 protected:
  void SetUp() override {
    std::vector<std::string> settings = {"max_prepared_transactions = 10", "fsync = off"};
    if (GetParam() >= 13) settings.emplace_back("logical_decoding_work_mem = 64kB");
    ASSERT_NO_FATAL_FAILURE(Start(settings));
    options_.tables = {"public.*"};
    options_.spool_folder = folder_ / "spool";
    options_.catch_up = CatchUp::kAuto;
    options_.catch_up_threshold = {int64_t{256} << 10};
    MakeTable();
  }

  /// A first run as far as the stream, so that slot and publication are there.
  void CaptureOnce(const Options& options, MemoryOutput& output) {
    RunningCapture capture(options, output);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
    const Status status = capture.Stop();
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  /// Small transactions, one large one with savepoints, logical messages, DDL, a truncate.
  void MakeBacklog() {
    auto session = Connection::Connect(server_->url());
    ASSERT_TRUE(session.has_value()) << session.error();
    for (int i = 0; i < 200; ++i) {
      const Status status = session->Execute(
          fmt::format("INSERT INTO public.t SELECT i, repeat(chr(65 + i % 26), 100) FROM "
                      "generate_series({}, {}) i",
                      i * 10 + 1, i * 10 + 10));
      ASSERT_TRUE(status.has_value()) << status.error();
    }
    Run("BEGIN; INSERT INTO public.t SELECT i, repeat('x', 200) FROM generate_series(10001, 14000) "
        "i; SAVEPOINT a; DELETE FROM public.t WHERE id > 12000; ROLLBACK TO a; UPDATE public.t SET "
        "v = 'u' WHERE id BETWEEN 10100 AND 11000; COMMIT");
    if (GetParam() >= 14) {
      Run("SELECT pg_logical_emit_message(false, 'p', 'at once')");
      Run("SELECT pg_logical_emit_message(true, 'p', 'within')");
    }
    Run("ALTER TABLE public.t ADD more int DEFAULT 7");
    Run("UPDATE public.t SET id = -id WHERE id <= 1000");
    Run("DELETE FROM public.t WHERE id BETWEEN 1500 AND 1600");
    Run("INSERT INTO public.t VALUES (0, 'last')");
  }

  static bool Complete(const MemoryOutput& output) {
    const auto batches = output.batches();
    for (const auto& batch : batches) {
      const auto events = test::EventsOf(*batch);
      const bool last = !events.empty() && events.back() == "insert public.t 0 | last | 7";
      if (last) return true;
    }
    return false;
  }

  /// "xid commit end" of every transaction that has changes, and the changes.
  static std::vector<std::string> Content(const MemoryOutput& output) {
    std::vector<std::string> out;
    for (const auto& batch : output.batches()) {
      for (const change::Transaction& transaction : batch->transactions) {
        if (!transaction.ends ||
            batch->num_rows() + static_cast<int64_t>(batch->messages.size()) == 0) {
          continue;
        }
        out.push_back(fmt::format("{} {} {} {}", transaction.xid.value,
                                  change::ToString(transaction.commit_lsn),
                                  change::ToString(transaction.end_lsn), transaction.commit_time));
      }
    }
    const auto events = output.Events();
    out.insert(out.end(), events.begin(), events.end());
    return out;
  }

  Lsn Confirmed(const std::string& slot) {
    return change::ParseLsn(Ask("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE "
                                "slot_name = '" +
                                slot + "'"))
        .value_or(Lsn{});
  }

  bool can() const { return GetParam() >= 11; }

  test::TemporaryFolder folder_;
};

TEST_P(BacklogTest, BothWaysBringTheSame) {
  options_.slot = "peeked";
  Options streamed = options_;
  streamed.slot = "streamed";
  streamed.catch_up = CatchUp::kOff;
  MemoryOutput streamed_output;
  CaptureOnce(options_, output_);
  CaptureOnce(streamed, streamed_output);
  MakeBacklog();

  // Without room, so that the rounds can be told from the stream.
  output_.SetRoomForBatches(3);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForRoom)) << capture.status().reason;
  EXPECT_EQ(
      Ask("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'freshet peeked' "
          "AND state = 'streaming'"),
      can() ? "0" : "1");
  if (can()) {
    EXPECT_GT(capture.status().backlog_bytes, 0);
    EXPECT_LE(Confirmed("peeked"), output_.Durable().commit_end);
  }
  output_.SetRoom(true);
  ASSERT_TRUE(output_.WaitUntil([&] { return Complete(output_); }));
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  EXPECT_EQ(capture.status().backlog_bytes, 0);
  RunningCapture other(streamed, streamed_output);
  ASSERT_TRUE(output_.WaitUntil([&] { return Complete(streamed_output); }));

  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_TRUE(other.Stop().has_value());
  EXPECT_EQ(Content(output_), Content(streamed_output));
}

/// What runs on at a round's end comes again, whole, in a later round or in the stream.
TEST_P(BacklogTest, TransactionsThatRunOnAreCarriedWhole) {
  CaptureOnce(options_, output_);
  auto session = Connection::Connect(server_->url());
  ASSERT_TRUE(session.has_value());
  ASSERT_TRUE(session
                  ->Execute("BEGIN; INSERT INTO public.t SELECT i, repeat('x', 300) FROM "
                            "generate_series(100001, 105000) i")
                  .has_value());
  Run("BEGIN; INSERT INTO public.t SELECT i, repeat('y', 300) FROM generate_series(200001, 203000) "
      "i; PREPARE TRANSACTION 'p'");
  Run("INSERT INTO public.t SELECT i, repeat('z', 300) FROM generate_series(1, 3000) i");
  Run("COMMIT PREPARED 'p'");
  Run("INSERT INTO public.t SELECT i, repeat('z', 300) FROM generate_series(3001, 6000) i");

  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitForEvents(9'000));
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  ASSERT_TRUE(session->Execute("COMMIT").has_value());
  ASSERT_TRUE(output_.WaitForEvents(14'000));
  EXPECT_TRUE(capture.Stop().has_value());

  std::vector<int> ids;
  for (const std::string& event : output_.Events()) ids.push_back(std::stoi(event.substr(16)));
  ASSERT_EQ(ids.size(), 14'000u);
  for (int i = 0; i < 3'000; ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_EQ(ids[at], i + 1);
    ASSERT_EQ(ids[3'000 + at], 200'001 + i);
    ASSERT_EQ(ids[6'000 + at], 3'001 + i);
  }
  for (int i = 0; i < 5'000; ++i) ASSERT_EQ(ids[9'000 + static_cast<size_t>(i)], 100'001 + i);
}

TEST_P(BacklogTest, ABrokenOffRoundIsGoneOnWith) {
  options_.batch_rows = 100;
  CaptureOnce(options_, output_);
  MakeBacklog();
  for (const int batches : {1, 5, 17, 30}) {
    output_.SetRoomForBatches(batches);
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForRoom)) << capture.status().reason;
    EXPECT_TRUE(capture.Stop().has_value());
  }
  output_.SetRoom(true);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return Complete(output_); }));
  EXPECT_TRUE(capture.Stop().has_value());
  // 2000 + 4000 + 901 + 1000 key changes (two images) + 101 + 1, and two messages.
  EXPECT_EQ(output_.Events().size(), GetParam() >= 14 ? 9'005u : 9'003u);
}

TEST_P(BacklogTest, NothingIsAdvancedBeforeItIsDurable) {
  if (!can()) GTEST_SKIP() << "this version cannot advance a slot";
  CaptureOnce(options_, output_);
  const Lsn before = Confirmed("freshet");
  MakeBacklog();
  output_.SetDurableAtOnce(false);

  RunningCapture capture(options_, output_);
  ASSERT_TRUE(output_.WaitForEvents(100));
  ASSERT_TRUE(capture.WaitForState(CaptureState::kCatchingUp));
  EXPECT_EQ(Confirmed("freshet"), before);
  EXPECT_TRUE(capture.Stop().has_value());
  EXPECT_EQ(Confirmed("freshet"), before);

  output_.LoseWhatIsNotDurable();
  output_.SetDurableAtOnce(true);
  RunningCapture again(options_, output_);
  ASSERT_TRUE(output_.WaitUntil([&] { return Complete(output_); }));
  EXPECT_TRUE(again.Stop().has_value());
  EXPECT_EQ(output_.Events().size(), GetParam() >= 14 ? 9'005u : 9'003u);
}

/// The server decodes a whole round before it sends the first row.
TEST_P(BacklogTest, AStopDoesNotWaitForARound) {
  CaptureOnce(options_, output_);
  MakeBacklog();
  output_.SetRoom(false);
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kWaitingForRoom)) << capture.status().reason;
  const auto asked = SystemClock().Monotonic();

  EXPECT_TRUE(capture.Stop().has_value());

  EXPECT_LT(SystemClock().Monotonic() - asked, std::chrono::seconds(5));
}

TEST_P(BacklogTest, ASlotMovedBySomebodyElseIsAGap) {
  if (!can()) GTEST_SKIP() << "this version cannot advance a slot";
  CaptureOnce(options_, output_);
  MakeBacklog();
  Run("SELECT pg_replication_slot_advance('freshet', pg_current_wal_lsn())");

  RunningCapture capture(options_, output_);
  const auto end = capture.WaitEnd();

  ASSERT_TRUE(end.has_value() && !end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::kGap);
  EXPECT_TRUE(output_.Events().empty());
}

/// Whatever keeps the server from it, the walsender is the way for all.
TEST_P(BacklogTest, AServerThatCannotLeavesItToTheStream) {
  if (!can()) GTEST_SKIP() << "this version is never asked";
  CaptureOnce(options_, output_);
  MakeBacklog();
  options_.catch_up_threshold = {int64_t{2} << 20};
  Run("ALTER DATABASE postgres SET temp_file_limit = 600");
  Run("ALTER DATABASE postgres SET work_mem = '64kB'");
  const auto capture = Capture::Create(options_, SystemClock());
  const std::stop_source never;

  const Status first = capture->Run(output_.resume(), output_, never.get_token());

  ASSERT_FALSE(first.has_value());
  SCOPED_TRACE(first.error().message);
  EXPECT_EQ(first.error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(first.error().message, HasSubstr("temp_file_limit"));
  std::jthread thread([&](std::stop_token stop) {
    EXPECT_TRUE(capture->Run(output_.resume(), output_, stop).has_value());
  });
  EXPECT_TRUE(output_.WaitUntil([&] { return Complete(output_); }));
  EXPECT_EQ(output_.Events().size(), GetParam() >= 14 ? 9'005u : 9'003u);
}

INSTANTIATE_TEST_SUITE_P(Majors, BacklogTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
