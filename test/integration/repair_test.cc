#include <gmock/gmock.h>
#include <signal.h>

#include "integration/program_fixture.h"

namespace freshet::test {
namespace {

using ::testing::HasSubstr;

/// `freshet repair` of a pipeline whose slot can no longer give what follows in its log.
class RepairTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    config_.sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                    "' }, flush: { interval: 0s } }, lake: { files: { url: '" + (folder_ / "lake") +
                    "' }, flush: { interval: 0s } } }";
    Run("CREATE TABLE public.orders (id int PRIMARY KEY, status text);"
        "CREATE TABLE public.items (id int PRIMARY KEY);"
        "INSERT INTO public.orders SELECT g, 'old' FROM generate_series(1, 100) g");
    CatchUp();
    Run("UPDATE public.orders SET status = 'streamed' WHERE id <= 10");
    CatchUp();
    ExpectEqual();
  }

  /// Changes of every kind that nobody will receive.
  void ChangeUnseen() {
    Run("DELETE FROM public.orders WHERE id > 90; UPDATE public.orders SET status = 'unseen' WHERE "
        "id = 50; INSERT INTO public.orders VALUES (1000, 'unseen');"
        "INSERT INTO public.items VALUES (1)");
  }

  /// The pipeline says that it cannot go on; repair cures it, and source and targets are the same.
  void ExpectRepaired(const std::string& found) {
    const Finished run = OnConfig({"run", "--until-caught-up"});
    EXPECT_EQ(run.exit_code, 11) << run.err;

    const Finished said = OnConfig({"repair"});
    EXPECT_EQ(said.exit_code, 3) << said.err;
    EXPECT_THAT(said.out, HasSubstr(found));
    EXPECT_THAT(said.out, HasSubstr("--confirm"));
    EXPECT_EQ(OnConfig({"run", "--until-caught-up"}).exit_code, 11) << "it only said so";

    const Finished done = OnConfig({"repair", "--confirm"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("reads 2 tables anew"));
    CatchUp();
    ExpectEqual();
    EXPECT_EQ(OnConfig({"repair"}).exit_code, 0);

    Run("INSERT INTO public.orders VALUES (2000, 'afterwards'); DELETE FROM public.items");
    CatchUp();
    ExpectEqual();
  }
};

TEST_P(RepairTest, SlotThatIsGone) {
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
  ChangeUnseen();

  ExpectRepaired("is gone");
}

TEST_P(RepairTest, SlotThatSomebodyElseReadFrom) {
  ChangeUnseen();
  Run("SELECT pg_replication_slot_advance('" + name_ + "', pg_current_wal_lsn())");

  ExpectRepaired("somebody else");
}

TEST_P(RepairTest, PublicationThatIsGone) {
  Run("DROP PUBLICATION freshet");
  ChangeUnseen();

  ExpectRepaired("publication 'freshet' is gone");
}

TEST_P(RepairTest, LossThatOnlyTheOperatorKnowsOf) {
  Run("ALTER PUBLICATION freshet SET (publish = 'truncate')");
  ChangeUnseen();
  CatchUp();
  Run("ALTER PUBLICATION freshet SET (publish = 'insert, update, delete, truncate')");
  EXPECT_EQ(OnConfig({"repair"}).exit_code, 0);

  EXPECT_EQ(OnConfig({"repair", "--force"}).exit_code, 3);
  EXPECT_EQ(OnConfig({"repair", "--force", "--confirm"}).exit_code, 0);

  CatchUp();
  ExpectEqual();
}

TEST_P(RepairTest, TableWithoutAKeyIsReadAnewToo) {
  Run("CREATE TABLE public.bag (x int); ALTER TABLE public.bag REPLICA IDENTITY FULL; ALTER "
      "PUBLICATION freshet ADD TABLE public.bag; INSERT INTO public.bag VALUES (1), (1), (2)");
  CatchUp();
  ExpectEqual();
  Run("ALTER PUBLICATION freshet SET (publish = 'truncate')");
  Run("DELETE FROM public.bag WHERE x = 2; INSERT INTO public.bag VALUES (1), (3)");
  CatchUp();
  Run("ALTER PUBLICATION freshet SET (publish = 'insert, update, delete, truncate')");

  const Finished repair = OnConfig({"repair", "--force", "--confirm"});

  EXPECT_EQ(repair.exit_code, 0) << repair.err;
  CatchUp();
  ExpectEqual();
}

TEST_P(RepairTest, RunningPipelineIsLeftAlone) {
  const auto run = StartRun();
  ASSERT_TRUE(Eventually(
      [&] { return StatusJson().value("/source/state"_json_pointer, "") == "streaming"; }));

  const Finished repair = OnConfig({"repair", "--force", "--confirm"});

  EXPECT_EQ(repair.exit_code, 5) << repair.out << repair.err;
  EXPECT_TRUE(run->Running());
}

TEST_P(RepairTest, NewPipelineHasNothingToRepair) {
  config_.log = "{ path: '" + (folder_ / "another") + "' }";

  EXPECT_EQ(OnConfig({"repair"}).exit_code, 7);
}

INSTANTIATE_TEST_SUITE_P(Majors, RepairTest, ::testing::Values(15),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::test
