#include <gmock/gmock.h>

#include "support/own_server.h"

/// A standby as the source (16+).
namespace freshet::postgres {
namespace {

using test::PostgresServer;
using test::RunningCapture;
using ::testing::Contains;
using ::testing::HasSubstr;

class StandbySourceTest : public test::OwnServerTest {
 protected:
  void SetUp() override {
    OwnServerTest::SetUp();
    ASSERT_FALSE(HasFatalFailure());
    Run("CREATE TABLE public.t (id int PRIMARY KEY, v text); INSERT INTO public.t VALUES (1, 'a');"
        "CREATE TABLE public.t_bag (v text); ALTER TABLE public.t_bag REPLICA IDENTITY FULL;"
        "INSERT INTO public.t_bag VALUES ('x'), ('x');"
        "CREATE PUBLICATION freshet FOR TABLE public.t, public.t_bag");
    auto standby = PostgresServer::StartStandby(*server_, "standby", {});
    ASSERT_TRUE(standby.has_value()) << standby.error();
    standby_ = *std::move(standby);
    options_.url = Secret(standby_->url().Reveal() + "?target_session_attrs=prefer-standby");
    options_.tables = {"public.t", "public.t_bag"};
    WaitForReplay();
  }

  void WaitForReplay() {
    const std::string end = Ask("SELECT pg_current_wal_insert_lsn()");
    ASSERT_TRUE(output_.WaitUntil([&] {
      Run("SELECT pg_log_standby_snapshot()");
      return standby_->Ask("SELECT pg_last_wal_replay_lsn() >= '" + end + "'").value_or("") == "t";
    }));
  }

  /// Waits, while the primary says now and then which transactions run.
  bool WaitWithPrimary(const std::function<bool()>& reached) {
    return output_.WaitUntil([&] {
      Run("SELECT pg_log_standby_snapshot()");
      return reached();
    });
  }

  bool Streams(const RunningCapture& capture) {
    return WaitWithPrimary([&] {
             return capture.status().state == CaptureState::kStreaming || capture.ended();
           }) &&
           !capture.ended();
  }

  bool Arrives(const std::string& event) {
    return output_.WaitUntil([&] {
      const auto events = output_.Events();
      return std::find(events.begin(), events.end(), event) != events.end();
    });
  }

  std::unique_ptr<PostgresServer> standby_;
};

TEST_P(StandbySourceTest, RowsAndChangesComeAndTheStateNamesWhatTheSlotWaitsFor) {
  // Without replay no word of the primary arrives.
  ASSERT_TRUE(standby_->Run("SELECT pg_wal_replay_pause()").has_value());
  ASSERT_TRUE(output_.WaitUntil([&] {
    Run("SELECT pg_log_standby_snapshot()");  // it pauses at the next record
    return standby_->Ask("SELECT pg_get_wal_replay_pause_state()").value_or("") == "paused";
  }));
  RunningCapture capture(options_, output_);
  EXPECT_TRUE(output_.WaitUntil([&] {
    return capture.status().reason.find("pg_log_standby_snapshot") != std::string::npos;
  })) << capture.status().reason;
  ASSERT_TRUE(standby_->Run("SELECT pg_wal_replay_resume()").has_value());
  ASSERT_TRUE(Streams(capture)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2, 'b'); DELETE FROM public.t_bag WHERE ctid = '(0,1)'");

  EXPECT_TRUE(Arrives("insert public.t 2 | b"));
  EXPECT_TRUE(Arrives("delete public.t_bag x"));
  const auto events = output_.Events();
  EXPECT_THAT(events, Contains("snapshot public.t 1 | a"));
  EXPECT_EQ(std::count(events.begin(), events.end(), "snapshot public.t_bag x"), 2);
}

TEST_P(StandbySourceTest, ATableJoinsOnceThePrimaryPublishesItAndIsReadAgain) {
  RunningCapture capture(options_, output_);
  ASSERT_TRUE(Streams(capture)) << capture.status().reason;
  Run("CREATE TABLE public.later (id int PRIMARY KEY); INSERT INTO public.later VALUES (7)");
  WaitForReplay();

  ASSERT_TRUE(capture.capture().Reload({"public.*"}, {}).has_value());

  const auto why = [&] {
    for (const SnapshotTable& table : capture.status().snapshot) {
      if (table.name.table == "later") return table.waits_for;
    }
    return std::string();
  };
  ASSERT_TRUE(output_.WaitUntil([&] {
    return why().find("on the primary: ALTER PUBLICATION") != std::string::npos || capture.ended();
  })) << why();
  Run("ALTER PUBLICATION freshet ADD TABLE public.later");
  std::unique_ptr<RunningCapture> again;
  ASSERT_TRUE(WaitWithPrimary([&] {
    const auto events = output_.Events();
    // That the publication has more tables may take a new connection, as a pipeline makes one.
    if (capture.ended() && (again == nullptr || again->ended())) {
      options_.tables = {"public.*"};
      again = std::make_unique<RunningCapture>(options_, output_);
    }
    return std::find(events.begin(), events.end(), "snapshot public.later 7") != events.end();
  })) << why();
  Run("INSERT INTO public.later VALUES (8)");
  EXPECT_TRUE(Arrives("insert public.later 8"));
}

TEST_P(StandbySourceTest, ChangesGoOnBehindAPromotion) {
  {
    RunningCapture capture(options_, output_);
    ASSERT_TRUE(Streams(capture)) << capture.status().reason;
    Run("INSERT INTO public.t VALUES (2, 'b')");
    ASSERT_TRUE(Arrives("insert public.t 2 | b"));
  }
  ASSERT_TRUE(server_->Stop().has_value());
  ASSERT_TRUE(standby_->Run("SELECT pg_promote()").has_value());
  ASSERT_TRUE(standby_->Run("INSERT INTO public.t VALUES (3, 'c')").has_value());

  CaptureWithRetries(output_.Events().size() + 1);

  EXPECT_EQ(output_.Events().back(), "insert public.t 3 | c");
  EXPECT_EQ(output_.source()->timeline, 2u);
}

TEST_P(StandbySourceTest, AStandbyThatTheUrlDoesNotAskForIsRefusedWithTheWayOut) {
  options_.url = standby_->url();

  const Error error = RunToError();

  EXPECT_EQ(error.kind, ErrorKind::kNotFound) << error;
  EXPECT_THAT(error.message, HasSubstr("target_session_attrs=standby"));
}

INSTANTIATE_TEST_SUITE_P(Majors, StandbySourceTest, ::testing::Values(18),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
