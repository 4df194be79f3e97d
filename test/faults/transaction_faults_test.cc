#include <gmock/gmock.h>

#include <algorithm>

#include "faults/shared_capture.h"
#include "postgres/connection.h"

/// Transactions and values out of the ordinary.
namespace freshet::postgres {
namespace {

using change::Lsn;
using ::testing::ElementsAre;

class TransactionFaultsTest : public test::SharedCaptureTest {
 protected:
  Connection Session(const std::vector<std::string>& settings = {}) {
    auto connection = Connection::Connect(url());
    EXPECT_TRUE(connection.has_value()) << connection.error();
    for (const std::string& setting : settings) {
      EXPECT_TRUE(connection->Execute("SET " + setting).has_value());
    }
    return *std::move(connection);
  }
};

TEST_P(TransactionFaultsTest, Fault48_OfASavepointStormOnlyWhatWasKeptArrives) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Stream();

  Run("DO $$ BEGIN FOR i IN 1..5000 LOOP BEGIN INSERT INTO public.t VALUES (i);"
      " IF i % 2 = 0 THEN RAISE EXCEPTION 'undo'; END IF;"
      " EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$");

  Expect(2500);
  EXPECT_TRUE(capture_->Stop().has_value());
  const auto events = output_.Events();
  EXPECT_EQ(events.size(), 2500u);
  EXPECT_EQ(events.front(), "insert public.t 1");
  EXPECT_EQ(events.back(), "insert public.t 4999");
}

TEST_P(TransactionFaultsTest, Fault51_EmptyTransactionsMoveTheSlotAndNothingElse) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.other (id int)");
  Stream();
  auto session = Session({"synchronous_commit = off"});
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(session.Execute("INSERT INTO public.other VALUES (1)").has_value());
  }
  const Lsn end = *change::ParseLsn(Ask("SELECT pg_current_wal_insert_lsn()"));
  Run("INSERT INTO public.t VALUES (1)");

  Expect(1);
  EXPECT_TRUE(output_.WaitUntil([&] {
    return change::ParseLsn(Ask("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE "
                                "slot_name = '" +
                                name_ + "'"))
               .value_or(Lsn{}) >= end;
  }));
  EXPECT_LT(output_.transactions().size(), 100u);
}

TEST_P(TransactionFaultsTest, Fault66_MessagesOfAnySizeArriveInTheirPlace) {
  if (GetParam() < 14) GTEST_SKIP() << "pgoutput sends messages from 14 on";
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Stream();

  Run("BEGIN; INSERT INTO public.t VALUES (1);"
      "SELECT pg_logical_emit_message(true, 'rolled', 'back'); ROLLBACK");
  Run("BEGIN; INSERT INTO public.t VALUES (2);"
      "SELECT pg_logical_emit_message(false, 'at', 'once');"
      "SELECT pg_logical_emit_message(true, 'in', 'place'); INSERT INTO public.t VALUES (3);"
      "COMMIT");
  Run("SELECT pg_logical_emit_message(true, 'big', repeat('x', 100000000))");

  Expect(5);
  auto events = output_.Events();
  EXPECT_EQ(events[4].size(), std::string("message big ").size() + 100'000'000u);
  events.pop_back();
  EXPECT_THAT(events, ElementsAre("message at once (at once)", "insert public.t 2",
                                  "message in place", "insert public.t 3"));
}

TEST_P(TransactionFaultsTest, Fault67_TransactionsOfAnotherOriginArriveWithItsName) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Stream();
  const std::string origin = "o" + std::to_string(GetParam());
  Run("SELECT pg_replication_origin_create('" + origin + "')");
  auto session = Session();
  ASSERT_TRUE(
      session.Execute("SELECT pg_replication_origin_session_setup('" + origin + "')").has_value());

  ASSERT_TRUE(session
                  .Execute("BEGIN; SELECT pg_replication_origin_xact_setup('0/100', now());"
                           "INSERT INTO public.t VALUES (1); COMMIT")
                  .has_value());
  Run("INSERT INTO public.t VALUES (2)");

  Expect(2);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1", "insert public.t 2"));
  std::vector<std::string> origins;
  for (const auto& t : output_.transactions()) {
    if (t.xid.value != 0) origins.push_back(t.origin);
  }
  EXPECT_THAT(origins, ElementsAre(origin, ""));
}

TEST_P(TransactionFaultsTest, Fault54_ATableOf1600ColumnsPasses) {
  std::string columns = "id int PRIMARY KEY";
  for (int i = 1; i < 1600; ++i) columns += fmt::format(", c{} int", i);
  Run("CREATE TABLE public.t (" + columns + "); INSERT INTO public.t (id, c1599) VALUES (1, 5)");
  Stream();
  Run("INSERT INTO public.t (id, c1, c1599) VALUES (2, 7, 8)");

  Expect(2);
  const auto events = output_.Events();
  EXPECT_THAT(events[0], testing::EndsWith("| 5"));
  EXPECT_THAT(events[1], testing::StartsWith("insert public.t 2 | 7 |"));
  EXPECT_THAT(events[1], testing::EndsWith("| 8"));
}

/// One after another they are announced, each with a look into the catalog.
TEST_P(TransactionFaultsTest, Fault55_TenThousandTablesAreTouchedWithoutAStall) {
  constexpr int kTables = 10'000;
  options_.snapshot = SnapshotMode::kNever;
  for (int from = 0; from < kTables; from += 1000) {
    Run(
        fmt::format("DO $$ BEGIN FOR i IN {}..{} LOOP EXECUTE format('CREATE TABLE public.t%s (id "
                    "int PRIMARY KEY)', i); END LOOP; END $$",
                    from, from + 999));
  }
  Stream();
  for (int from = 0; from < kTables; from += 1000) {  // each holds a lock a table
    Run(fmt::format(
        "DO $$ BEGIN FOR i IN {}..{} LOOP EXECUTE format('INSERT INTO public.t%s VALUES "
        "(1)', i); END LOOP; END $$",
        from, from + 999));
  }

  Expect(kTables);
  EXPECT_FALSE(capture_->ended());
}

INSTANTIATE_TEST_SUITE_P(Majors, TransactionFaultsTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
