#include "postgres/preflight.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "postgres/capture.h"
#include "support/memory_output.h"
#include "support/shared_postgres.h"

namespace freshet::postgres {
namespace {

using test::PostgresServer;
using ::testing::HasSubstr;

class PreflightTest : public test::SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.slot = name_;
    options_.tables = {"public.*"};
  }

  std::vector<Check> Checks() {
    auto checks = RunPreflight(options_);
    EXPECT_TRUE(checks.has_value()) << checks.error();
    return checks.value_or(std::vector<Check>());
  }

  Check Find(const std::string& name) {
    for (const Check& check : Checks()) {
      if (check.name == name) return check;
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }

  /// What a capture says that starts here.
  Error CaptureError() {
    test::MemoryOutput output;
    test::RunningCapture capture(options_, output);
    const auto end = capture.WaitEnd();
    EXPECT_TRUE(end.has_value() && !end->has_value());
    return end.has_value() && !end->has_value() ? end->error() : Error{};
  }

  Options options_;
};

TEST_P(PreflightTest, AReadySourcePassesAndNothingIsChangedThere) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");

  const std::vector<Check> checks = Checks();

  for (const Check& check : checks) {
    EXPECT_NE(check.result, CheckResult::kFail) << check.name << ": " << check.what;
  }
  EXPECT_FALSE(FirstFailure(checks).has_value());
  EXPECT_GE(checks.size(), 12u);
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + name_ + "'"),
            "0");
}

TEST_P(PreflightTest, AnUnreachableServerIsAFailedCheck) {
  options_.url = Secret("postgres://x@127.0.0.1:1/x");

  const Check check = Find("connection");

  EXPECT_EQ(check.result, CheckResult::kFail);
  EXPECT_EQ(check.kind, ErrorKind::kUnavailable);
}

TEST_P(PreflightTest, AnUnknownTableIsNamed) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  options_.tables = {"public.t", "public.ordrs"};

  EXPECT_THAT(Find("tables").what, HasSubstr("public.ordrs"));
  const Error error = CaptureError();

  EXPECT_EQ(error.kind, ErrorKind::kNotFound);
  EXPECT_THAT(error.message, HasSubstr("public.ordrs"));
}

TEST_P(PreflightTest, ATableWhoseUpdatesWouldFailIsNotPublished) {
  Run("CREATE TABLE public.no_key (id int); CREATE TABLE public.fine (id int PRIMARY KEY);"
      "CREATE TABLE public.late (id int PRIMARY KEY DEFERRABLE);"
      "CREATE TABLE public.nothing (id int PRIMARY KEY);"
      "ALTER TABLE public.nothing REPLICA IDENTITY NOTHING;"
      "CREATE TABLE public.lost (id int NOT NULL UNIQUE);"
      "ALTER TABLE public.lost REPLICA IDENTITY USING INDEX lost_id_key;"
      "ALTER TABLE public.lost DROP CONSTRAINT lost_id_key");

  const Check check = Find("replica_identity");
  const Error error = CaptureError();

  EXPECT_EQ(check.result, CheckResult::kFail);
  EXPECT_THAT(check.what, HasSubstr("\"public\".\"no_key\" has no primary key"));
  EXPECT_THAT(check.what, HasSubstr("\"public\".\"late\" has no primary key, or a DEFERRABLE one"));
  EXPECT_THAT(check.what, HasSubstr("REPLICA IDENTITY NOTHING"));
  EXPECT_THAT(check.what, HasSubstr("\"public\".\"lost\" has lost the index"));
  EXPECT_THAT(check.what, testing::Not(HasSubstr("fine")));
  EXPECT_EQ(error.kind, ErrorKind::kConfig);
  EXPECT_THAT(error.message, HasSubstr("REPLICA IDENTITY FULL"));
  EXPECT_EQ(Ask("SELECT count(*) FROM pg_publication"), "0");
  // And the application is unharmed.
  Run("INSERT INTO public.no_key VALUES (1); UPDATE public.no_key SET id = 2");
}

TEST_P(PreflightTest, AnUnloggedTableIsRefused) {
  Run("CREATE UNLOGGED TABLE public.t (id int PRIMARY KEY)");

  EXPECT_THAT(Find("replica_identity").what, HasSubstr("SET LOGGED"));
}

TEST_P(PreflightTest, MissingRightsAreNamedWithTheirGrant) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  const std::string role = "r_" + std::to_string(GetParam()) + "_" + name_.substr(0, 20);
  Run("CREATE ROLE " + role + " LOGIN");
  options_.url = url(role);

  const Check replication = Find("replication_right");
  const Check select = Find("select_right");
  const Check publication = Find("publication");

  EXPECT_EQ(replication.result, CheckResult::kFail);
  EXPECT_THAT(replication.repair, HasSubstr("ALTER ROLE \"" + role + "\" REPLICATION"));
  EXPECT_EQ(select.result, CheckResult::kFail);
  EXPECT_EQ(select.kind, ErrorKind::kDenied);
  EXPECT_EQ(publication.result, CheckResult::kFail);
  EXPECT_THAT(publication.repair, HasSubstr("CREATE PUBLICATION \"freshet\""));
  EXPECT_EQ(CaptureError().kind, ErrorKind::kDenied);
}

/// The least a role needs: LOGIN REPLICATION, SELECT, and a publication made by the owner.
TEST_P(PreflightTest, ARoleWithTheLeastRightsCaptures) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1);"
      "CREATE PUBLICATION freshet FOR TABLE public.t");
  const std::string role = "l_" + std::to_string(GetParam()) + "_" + name_.substr(0, 20);
  Run("CREATE ROLE " + role + " LOGIN REPLICATION; GRANT SELECT ON public.t TO " + role);
  options_.url = url(role);
  test::MemoryOutput output;
  test::RunningCapture capture(options_, output);

  EXPECT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;
  Run("INSERT INTO public.t VALUES (2)");

  EXPECT_TRUE(output.WaitForEvents(2));
}

TEST_P(PreflightTest, APublicationThatLacksATableOrAnOperationIsTold) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.u (id int PRIMARY KEY);"
      "CREATE PUBLICATION freshet FOR TABLE public.t WITH (publish = 'insert')");

  const Check missing = Find("publication");
  options_.tables = {"public.t"};
  const Check narrow = Find("publication");

  EXPECT_EQ(missing.result, CheckResult::kFail);
  EXPECT_THAT(missing.what, HasSubstr("\"public\".\"u\""));
  EXPECT_EQ(narrow.result, CheckResult::kWarn);
  EXPECT_THAT(narrow.repair, HasSubstr("SET (publish = "));
}

TEST_P(PreflightTest, APublicationOfAllTablesGivesOnlyTheChosenOnes) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.u (id int PRIMARY KEY);"
      "CREATE PUBLICATION freshet FOR ALL TABLES");
  options_.tables = {"public.t"};
  test::MemoryOutput output;
  test::RunningCapture capture(options_, output);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.u VALUES (1); INSERT INTO public.t VALUES (1);"
      "INSERT INTO public.u VALUES (2)");

  ASSERT_TRUE(output.WaitForEvents(1));
  EXPECT_THAT(output.Events(), testing::ElementsAre("insert public.t 1"));
}

TEST_P(PreflightTest, ColumnListsAndRowFiltersHoldForTheSnapshotToo) {
  if (GetParam() < 15) GTEST_SKIP() << "column lists and row filters came with 15";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, shown text, hidden text);"
      "INSERT INTO public.t VALUES (1, 'a', 'b'), (-1, 'a', 'b');"
      "CREATE PUBLICATION freshet FOR TABLE public.t (id, shown) WHERE (id > 0)");
  test::MemoryOutput output;
  test::RunningCapture capture(options_, output);
  ASSERT_TRUE(capture.WaitForState(CaptureState::kStreaming)) << capture.status().reason;

  Run("INSERT INTO public.t VALUES (2, 'c', 'd'), (-2, 'c', 'd')");

  ASSERT_TRUE(output.WaitForEvents(2));
  EXPECT_THAT(output.Events(),
              testing::ElementsAre("snapshot public.t 1 | a", "insert public.t 2 | c"));
  EXPECT_EQ(Find("publication").result, CheckResult::kWarn);
}

TEST_P(PreflightTest, ASlotOfAnotherPluginIsRefused) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Run("SELECT pg_create_physical_replication_slot('" + name_ + "')");

  const Check check = Find("slot");

  EXPECT_EQ(check.result, CheckResult::kFail);
  EXPECT_EQ(check.kind, ErrorKind::kConfig);
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
}

TEST_P(PreflightTest, ASlotOfAnotherDatabaseIsRefused) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  const Status made =
      server_->Run("SELECT pg_create_logical_replication_slot('" + name_ + "', 'pgoutput')");
  ASSERT_TRUE(made.has_value()) << made.error();

  EXPECT_THAT(Find("slot").what, HasSubstr("belongs to database 'postgres'"));
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
}

TEST_P(PreflightTest, AsynchronousCommitIsAWarning) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY);"
      "ALTER DATABASE " +
      name_ + " SET synchronous_commit = off");

  EXPECT_EQ(Find("synchronous_commit").result, CheckResult::kWarn);
}

TEST_P(PreflightTest, NoGlobsIsAnErrorOfTheConfiguration) {
  options_.tables = {"nodot"};

  auto checks = RunPreflight(options_);

  ASSERT_FALSE(checks.has_value());
  EXPECT_EQ(checks.error().kind, ErrorKind::kConfig);
}

INSTANTIATE_TEST_SUITE_P(Majors, PreflightTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

/// Settings that take a server of their own.
TEST(PreflightServerTest, WalLevelSlotsAndWalsendersAreNamedWithTheirRepair) {
  auto server =
      PostgresServer::Start({.major = 15,
                             .settings = {"wal_level = replica", "max_replication_slots = 0",
                                          "wal_sender_timeout = '1s'"}});
  ASSERT_TRUE(server.has_value()) << server.error();
  ASSERT_TRUE((*server)->Run("CREATE TABLE public.t (id int PRIMARY KEY)").has_value());
  Options options;
  options.url = (*server)->url();
  options.tables = {"public.*"};

  auto checks = RunPreflight(options);

  ASSERT_TRUE(checks.has_value()) << checks.error();
  const auto result = [&](const std::string& name) {
    const auto it = std::find_if(checks->begin(), checks->end(),
                                 [&](const Check& check) { return check.name == name; });
    return it == checks->end() ? CheckResult::kOk : it->result;
  };
  EXPECT_EQ(result("wal_level"), CheckResult::kFail);
  EXPECT_EQ(result("max_replication_slots"), CheckResult::kFail);
  EXPECT_EQ(result("wal_sender_timeout"), CheckResult::kWarn);
  const auto failure = FirstFailure(*checks);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->kind, ErrorKind::kConfig);
  EXPECT_THAT(failure->message, HasSubstr("ALTER SYSTEM SET wal_level = 'logical'"));
}

}  // namespace
}  // namespace freshet::postgres
