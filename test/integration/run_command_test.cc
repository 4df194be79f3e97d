#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "integration/program_fixture.h"
#include "support/openmetrics.h"
#include "support/silent_server.h"

namespace freshet::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

/// `freshet run` as its users see it: a process, its port, its signals, its exit code.
class RunCommandTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    Run("CREATE TABLE public.orders (id int PRIMARY KEY, status text);"
        "INSERT INTO public.orders VALUES (1, 'old')");
  }

  /// Starts it and waits until it streams.
  std::unique_ptr<Program> StartStreaming() {
    auto run = StartRun();
    EXPECT_TRUE(Eventually([&] {
      return !run->Running() || StatusJson().value("/source/state"_json_pointer, "") == "streaming";
    }));
    EXPECT_TRUE(run->Running()) << run->err();
    return run;
  }

  bool Holds(const std::string& sql, const std::string& value) const {
    return Eventually([&] { return Query(sql) == value; });
  }
};

TEST_P(RunCommandTest, ChangesOfARunningPipelineAreSeenInEveryWay) {
  const auto run = StartStreaming();
  EXPECT_TRUE(Eventually([&] { return !Get("/healthz").empty(); }));
  Run("INSERT INTO public.orders VALUES (2, 'new'), (3, 'gone'); DELETE FROM public.orders WHERE "
      "id = 3; UPDATE public.orders SET status = 'changed' WHERE id = 1");

  ASSERT_TRUE(Holds("SELECT string_agg(id || status, ' ' ORDER BY id) FROM public.orders",
                    "1changed 2new"));

  const Finished text = OnConfig({"query", "SELECT id, status FROM public.orders ORDER BY id"});
  EXPECT_EQ(text.out, "id  status\n 1  changed\n 2  new\n(2 rows)\n");
  const Finished csv =
      OnConfig({"query", "--output", "csv", "SELECT id, status FROM public.orders ORDER BY id"});
  EXPECT_EQ(csv.out, "id,status\r\n1,changed\r\n2,new\r\n");
  EXPECT_EQ(json::parse(Get("/query?sql=SELECT%20count(*)%20FROM%20public.orders"))["rows"],
            json::parse(R"([["2"]])"));
  ExpectEqual();  // through the pipeline, which holds the file
}

TEST_P(RunCommandTest, QueriesThatWriteOrAreWrongAreRefusedAndSaid) {
  const auto run = StartStreaming();
  ASSERT_TRUE(Holds("SELECT count(*) FROM public.orders", "1"));

  const Finished writes = OnConfig({"query", "DELETE FROM public.orders"});
  const Finished wrong = OnConfig({"query", "SELECT nothing FROM public.orders"});

  EXPECT_EQ(writes.exit_code, 2);
  EXPECT_THAT(writes.message, HasSubstr("only statements that read"));
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.message, HasSubstr("nothing"));
  EXPECT_EQ(Query("SELECT count(*) FROM public.orders"), "1");
}

TEST_P(RunCommandTest, StatusAndMetricsTellTheSameStory) {
  const auto run = StartStreaming();
  Run("INSERT INTO public.orders SELECT g, 'x' FROM generate_series(2, 11) g");
  ASSERT_TRUE(Holds("SELECT count(*) FROM public.orders", "11"));
  ASSERT_TRUE(Eventually(
      [&] { return StatusJson().value("/sinks/0/rows_total"_json_pointer, "") == "11"; }));

  const json status = StatusJson();
  const std::string metrics = Get("/metrics");
  const Finished people = OnConfig({"status"});
  const Finished programs = OnConfig({"status", "--output", "json"});

  EXPECT_EQ(status["health"]["health"], "ok");
  EXPECT_EQ(status["source"]["identity"]["database"], name_);
  EXPECT_EQ(status["source"]["rows_total"], "11");
  EXPECT_EQ(status["slot"]["name"], name_);
  EXPECT_EQ(status["snapshot"][0]["table"], "public.orders");
  EXPECT_EQ(status["snapshot"][0]["state"], "finished");
  EXPECT_EQ(status["log"]["durable_offset"], status["log"]["appended_offset"]);
  EXPECT_EQ(status["sinks"][0]["name"], "warehouse");
  EXPECT_EQ(status["sinks"][0]["state"], "running");
  CheckOpenMetrics(metrics);
  for (const char* sample :
       {"freshet_health{part=\"source\"} 0\n", "freshet_source_rows_total 11\n",
        "freshet_sink_applied_rows_total{sink=\"warehouse\"} 11\n",
        "freshet_sink_lag_bytes{sink=\"warehouse\"} ", "freshet_sink_lag_seconds{",
        "freshet_log_size_bytes ", "freshet_sink_flush_seconds_sum",
        "freshet_sink_latency_seconds_bucket{sink=\"warehouse\",le=\"",
        "freshet_process_resident_bytes "}) {
    EXPECT_THAT(metrics, HasSubstr(sample));
  }
  EXPECT_EQ(people.exit_code, 0);
  EXPECT_THAT(people.out, HasSubstr("streaming since"));
  EXPECT_EQ(json::parse(programs.out)["sinks"][0]["rows_total"], "11");
}

TEST_P(RunCommandTest, SigtermFlushesWhatWasBufferedAndExitsZero) {
  config_.sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                  "' }, flush: { interval: 1h } }, lake: { files: { url: '" + (folder_ / "lake") +
                  "', rotate: { age: 1h } } } }";
  auto run = StartStreaming();
  Run("INSERT INTO public.orders SELECT g, 'x' FROM generate_series(2, 100) g");
  // Both sinks have taken the rows and made none durable.
  ASSERT_TRUE(Eventually([&] {
    const json status = StatusJson();
    return status.value("/sinks/0/pending_rows"_json_pointer, "") == "100" &&
           status.value("/sinks/1/pending_rows"_json_pointer, "") == "100";
  }));

  run->Signal(SIGTERM);

  EXPECT_EQ(run->WaitExit(), 0) << run->err();
  EXPECT_EQ(run->message(), "");
  ExpectEqual();  // from the files: nobody runs
}

TEST_P(RunCommandTest, ARestartGoesOnWithoutLossOrRepetition) {
  config_.sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                  "' }, mode: append, flush: { interval: 0s } } }";
  auto first = StartStreaming();
  Run("INSERT INTO public.orders VALUES (2, 'first run')");
  ASSERT_TRUE(Holds("SELECT count(*) FROM public.orders", "2"));
  first->Signal(SIGINT);
  ASSERT_EQ(first->WaitExit(), 0) << first->err();
  Run("INSERT INTO public.orders VALUES (3, 'nobody runs')");

  auto second = StartStreaming();
  Run("INSERT INTO public.orders VALUES (4, 'second run')");

  EXPECT_TRUE(Holds("SELECT string_agg(id, ' ' ORDER BY _cdc_lsn, _cdc_seq) FROM public.orders",
                    "1 2 3 4"));
  second->Signal(SIGKILL);  // and a start behind a kill
  ASSERT_EQ(second->WaitExit(), 128 + SIGKILL);
  auto third = StartStreaming();
  Run("INSERT INTO public.orders VALUES (5, 'third run')");
  EXPECT_TRUE(Holds("SELECT string_agg(id, ' ' ORDER BY _cdc_lsn, _cdc_seq) FROM public.orders",
                    "1 2 3 4 5"));
}

TEST_P(RunCommandTest, SighupReadsTheConfigurationAgainAndNamesWhatNeedsARestart) {
  const auto run = StartStreaming();
  config_.log = "{ path: '" + (folder_ / "log") + "', budget: 5GiB }";
  WriteConfig();

  run->Signal(SIGHUP);

  EXPECT_TRUE(Eventually([&] { return run->err().find("log.budget") != std::string::npos; }));
  EXPECT_THAT(run->err(), Not(HasSubstr("source.postgres")));

  // A configuration that is wrong changes nothing.
  WriteText(folder_ / "freshet.yaml", "source: { postgres: { tablse: x } }\n");
  run->Signal(SIGHUP);
  EXPECT_TRUE(Eventually([&] { return run->err().find("tablse") != std::string::npos; }));
  Run("INSERT INTO public.orders VALUES (2, 'goes on')");
  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "2"));
}

TEST_P(RunCommandTest, ASecondSignalEndsItAtOnce) {
  // A store that takes connections and never answers holds the end up.
  SilentServer store;
  config_.sinks = "{ lake: { files: { url: 's3://b/p', s3: { endpoint: 'http://127.0.0.1:" +
                  std::to_string(store.port()) +
                  "', region: eu, access_key: a, secret_key: b } } } }";
  const auto run = StartRun();
  store.WaitForClient();  // the sink opens

  run->Signal(SIGTERM);
  run->Signal(SIGINT);  // another one, as two of a kind may become one on the way

  EXPECT_EQ(run->WaitExit(std::chrono::seconds(10)), 130);
}

TEST_P(RunCommandTest, UntilCaughtUpDeliversAllThatWasCommittedAndExitsZero) {
  Run("INSERT INTO public.orders SELECT g, 'x' FROM generate_series(2, 50000) g");

  const Finished first = OnConfig({"run", "--until-caught-up"});
  Run("UPDATE public.orders SET status = 'y'");
  const Finished second = OnConfig({"run", "--until-caught-up", "--output", "json"});

  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("50,000"));
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(json::parse(second.out)["sinks"][0]["lag_bytes"], "0");
  ExpectEqual();
}

TEST_P(RunCommandTest, TheSnapshotOnlyEndsByItself) {
  config_.source = ", snapshot: only";

  const Finished run = OnConfig({"run"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  ExpectEqual();
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + name_ + "'"),
            "0");
}

TEST_P(RunCommandTest, ASecondInstanceIsRefusedAndTheFirstGoesOn) {
  const auto first = StartStreaming();

  const Finished same_port = OnConfig({"run"});
  config_.listen = "127.0.0.1:0";
  const Finished same_log = OnConfig({"run"});

  EXPECT_EQ(same_port.exit_code, 5);
  EXPECT_THAT(same_port.message, HasSubstr("is this pipeline running already"));
  EXPECT_EQ(same_log.exit_code, 5);
  EXPECT_THAT(same_log.message, HasSubstr("held by process " + std::to_string(first->pid())));
  Run("INSERT INTO public.orders VALUES (2, 'still there')");
  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "2"));
}

TEST_P(RunCommandTest, AServerRestartIsSurvivedAndSeen) {
  auto own = PostgresServer::Start({.major = GetParam(), .settings = {}});
  ASSERT_TRUE(own.has_value()) << own.error();
  ASSERT_TRUE((*own)->Run("CREATE TABLE public.orders (id int PRIMARY KEY, status text)"));
  config_.url = (*own)->url().Reveal();
  const auto run = StartStreaming();

  ASSERT_TRUE((*own)->Stop().has_value());
  EXPECT_TRUE(Eventually(
      [&] { return StatusJson().value("/source/health/health"_json_pointer, "") == "degraded"; }));
  ASSERT_TRUE((*own)->Resume().has_value());
  ASSERT_TRUE((*own)->Run("INSERT INTO public.orders VALUES (1, 'after')").has_value());

  EXPECT_TRUE(Holds("SELECT count(*) FROM public.orders", "1"));
}

INSTANTIATE_TEST_SUITE_P(Majors, RunCommandTest, ::testing::Values(15),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::test
