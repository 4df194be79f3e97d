#include "pipeline/pipeline.h"

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <thread>

#include "base/file_system.h"
#include "pipeline/error_policy.h"
#include "support/fake_sink.h"
#include "support/postgres_server.h"
#include "support/temporary_folder.h"

/// A whole pipeline between a real server and a target in memory, where a part of it breaks.
namespace freshet::pipeline {
namespace {

using std::chrono::milliseconds;
using test::FakeTarget;

/// The machine's clock, which a test can set forward.
class JumpingClock final : public Clock {
 public:
  UnixMicros Now() const override {
    return SystemClock().Now() + std::chrono::microseconds(jumped_.load()).count();
  }
  std::chrono::nanoseconds Monotonic() const override {
    return SystemClock().Monotonic() + jumped_.load();
  }
  bool WaitFor(std::chrono::nanoseconds duration, std::stop_token stop) const override {
    return SystemClock().WaitFor(duration, std::move(stop));
  }
  void Jump(std::chrono::seconds by) { jumped_ = jumped_.load() + by; }

 private:
  std::atomic<std::chrono::seconds> jumped_{std::chrono::seconds(0)};
};

class PipelineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = test::PostgresServer::Start();
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = *std::move(server);
    Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
    options_.source.url = server_->url();
    options_.source.tables = {"public.t"};
    options_.log.path = folder_ / "log";
    SinkSpec sink;
    sink.options.name = "warehouse";
    sink.factory = std::make_shared<test::FakeFactory>(target_);
    sink.flush.interval = std::chrono::microseconds(0);
    options_.sinks = {sink};
  }

  void TearDown() override { Stop(); }

  void Run(const std::string& sql) {
    const Status status = server_->Run(sql);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  void Start(bool until_caught_up = false) {
    pipeline_ = std::make_unique<Pipeline>(options_, LocalFileSystem(), clock_, "test");
    ended_ = false;
    thread_ = std::jthread([this, until_caught_up](std::stop_token stop) {
      result_ = pipeline_->Run({.until_caught_up = until_caught_up}, stop);
      ended_ = true;
    });
  }

  void Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  /// Waits until `reached` holds. False after 30 s, or when the pipeline ended before.
  bool WaitUntil(const std::function<bool()>& reached) {
    for (const auto deadline = SystemClock().Monotonic() + std::chrono::seconds(30);
         SystemClock().Monotonic() < deadline; SystemClock().WaitFor(milliseconds(1), {})) {
      if (reached()) return true;
      if (ended_) return reached();
    }
    return false;
  }

  bool Streaming() {
    return pipeline_->status().capture.state == postgres::CaptureState::kStreaming;
  }

  bool Has(size_t transactions) {
    const std::lock_guard lock(target_->mutex);
    return target_->transactions.size() >= transactions;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<test::PostgresServer> server_;
  const std::shared_ptr<FakeTarget> target_ = std::make_shared<FakeTarget>();
  JumpingClock clock_;
  Options options_;
  std::unique_ptr<Pipeline> pipeline_;
  std::atomic<bool> ended_{false};
  Status result_;
  std::jthread thread_;
};

/// That nothing was there to capture does not make it a start.
TEST_F(PipelineTest, IdleSourceThatWasAwayForAMomentIsComeBackTo) {
  Start(/*until_caught_up=*/true);
  ASSERT_TRUE(WaitUntil([&] { return ended_.load(); }));
  Stop();
  ASSERT_TRUE(result_.has_value()) << result_.error();
  Start();
  ASSERT_TRUE(WaitUntil([&] { return Streaming(); }));

  clock_.Jump(2 * kStartGrace);
  Run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");

  ASSERT_TRUE(WaitUntil([&] { return pipeline_->status().capture.reconnects_total > 0; }));
  ASSERT_TRUE(WaitUntil([&] { return Streaming(); })) << result_.error();
  Run("INSERT INTO public.t VALUES (1, 'x')");
  EXPECT_TRUE(WaitUntil([&] { return Has(2); }));
}

TEST_F(PipelineTest, SnapshotWhoseSessionBreaksGoesOnBesideTheStream) {
  Run("INSERT INTO public.t SELECT g, repeat('x', 500) FROM generate_series(1, 300000) g");
  options_.source.batch_rows = 50;
  options_.source.snapshot_workers = 1;
  Start();
  ASSERT_TRUE(WaitUntil([&] { return pipeline_->status().log.appended.offset.value > 0; }));

  Run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
      " WHERE application_name = 'freshet snapshot'");

  ASSERT_TRUE(WaitUntil([&] { return Has(1); })) << result_.error();
  EXPECT_EQ(pipeline_->status().source_errors_by_kind["unavailable"], 0);
  Run("INSERT INTO public.t VALUES (0, 'x')");
  EXPECT_TRUE(WaitUntil([&] { return Has(2); })) << result_.error();
}

/// As an address does that moves after a failover.
TEST_F(PipelineTest, StandbyIsWaitedForUntilItIsPromoted) {
  Start();
  ASSERT_TRUE(WaitUntil([&] { return Streaming(); })) << result_.error();
  ASSERT_TRUE(server_->Stop().has_value());
  test::WriteText(server_->folder() + "/data/standby.signal", "");
  ASSERT_TRUE(server_->Resume().has_value());
  ASSERT_TRUE(WaitUntil([&] {
    const auto error = pipeline_->status().source_last_error;
    return error.has_value() && error->message.find("is a standby") != std::string::npos;
  })) << result_.error();

  Run("SELECT pg_promote()");
  Run("INSERT INTO public.t VALUES (1, 'x')");

  EXPECT_TRUE(WaitUntil([&] { return Has(2); })) << result_.error();
}

/// The new timeline is to be recorded in a log that takes nothing: that must not hold up a stop.
TEST_F(PipelineTest, StopIsNotHeldUpByAFullLogWhenTheServerWasPromoted) {
  options_.log.budget.bytes = 64 << 10;
  target_->errors.assign(1000, {"flush", {ErrorKind::kUnavailable, "gone"}});
  Start();
  ASSERT_TRUE(WaitUntil([&] { return Streaming(); })) << result_.error();
  Run("INSERT INTO public.t SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g");
  ASSERT_TRUE(WaitUntil([&] { return pipeline_->status().log_health.code == "log_blocked"; }));
  ASSERT_TRUE(server_->Stop().has_value());
  test::WriteText(server_->folder() + "/data/standby.signal", "");
  ASSERT_TRUE(server_->Resume().has_value());
  Run("SELECT pg_promote()");
  // It has asked all that it had to, and waits for the record of the new timeline.
  ASSERT_TRUE(WaitUntil([&] {
    return server_->Ask(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet'"
               " AND state = 'idle' AND state_change < clock_timestamp() - interval '1 second'"
               " AND pid <> pg_backend_pid()") == "1";
  }));

  thread_.request_stop();

  EXPECT_TRUE(WaitUntil([&] { return ended_.load(); }));
}

TEST_F(PipelineTest, SnapshotOnlyEndsWhenItsSinkGivesUp) {
  Run("INSERT INTO public.t VALUES (1, 'x')");
  options_.source.snapshot = postgres::SnapshotMode::kOnly;
  target_->errors = {{"flush", {ErrorKind::kUnsupported, "cannot hold this"}}};

  Start();

  ASSERT_TRUE(WaitUntil([&] { return ended_.load(); }));
  ASSERT_FALSE(result_.has_value());
  EXPECT_EQ(result_.error().message, "cannot hold this");
}

}  // namespace
}  // namespace freshet::pipeline
