#include <gmock/gmock.h>

#include <set>
#include <string>

#include "faults/shared_capture.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"

/// What becomes of the publication.
namespace freshet::postgres {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PublicationFaultsTest : public test::SharedCaptureTest {
 protected:
  /// How the running capture ends by itself.
  Error EndOfStream() {
    const auto end = capture_->WaitEnd();
    EXPECT_TRUE(end.has_value()) << "still running";
    if (!end.has_value()) return {};
    EXPECT_FALSE(end->has_value()) << "ended without an error";
    return end->has_value() ? Error{} : end->error();
  }
};

TEST_P(PublicationFaultsTest, Fault23_AMissingPublicationIsMadeForTheChosenTables) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.other (id int)");
  Stream();

  EXPECT_EQ(Ask("SELECT string_agg(tablename, ',') FROM pg_publication_tables WHERE pubname = "
                "'freshet'"),
            "t");
}

/// Rows that an open transaction wrote before are in no stream.
TEST_P(PublicationFaultsTest, Fault24_OfATableThatJoinsNoRowIsLeftOutInSilence) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Stream();
  Run("CREATE TABLE public.t_later (id int PRIMARY KEY); INSERT INTO public.t_later VALUES (1)");
  auto writer = Connection::Connect(url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.t_later VALUES (2)").has_value());
  Run("ALTER PUBLICATION freshet ADD TABLE public.t_later");
  ASSERT_TRUE(writer->Execute("INSERT INTO public.t_later VALUES (3); COMMIT").has_value());
  Run("INSERT INTO public.t_later VALUES (4)");

  // A run may end to begin anew with the table, as a pipeline does by itself.
  const auto all_there = [&] {
    std::set<std::string> rows;
    for (const std::string& event : output_.Events()) {
      if (event.find(" public.t_later ") != std::string::npos)
        rows.insert(event.substr(event.rfind(' ')));
    }
    return rows.size() == 4;
  };
  for (int run = 0; run < 5 && !all_there(); ++run) {
    output_.WaitUntil([&] { return all_there() || capture_->ended(); });
    if (all_there()) break;
    const auto end = capture_->WaitEnd();
    ASSERT_TRUE(end.has_value() && !end->has_value()) << capture_->status().reason;
    ASSERT_EQ(end->error().kind, ErrorKind::kUnavailable) << end->error();
    capture_ = std::make_unique<test::RunningCapture>(options_, output_);
  }
  EXPECT_TRUE(all_there()) << testing::PrintToString(output_.Events());
}

TEST_P(PublicationFaultsTest, Fault25_ATableTakenOutOfThePublicationIsAGapFromAPositionOn) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.t2 (id int PRIMARY KEY)");
  Stream();
  Run("INSERT INTO public.t2 VALUES (1)");
  Expect(1);

  Run("ALTER PUBLICATION freshet DROP TABLE public.t2");
  Run("INSERT INTO public.t2 VALUES (2)");

  const Error error = EndOfStream();
  EXPECT_EQ(error.kind, ErrorKind::kGap) << error;
  EXPECT_THAT(error.message, AllOf(HasSubstr("no longer sends \"public\".\"t2\""),
                                   HasSubstr("complete up to"), HasSubstr("ADD TABLE")));
}

TEST_P(PublicationFaultsTest, Fault25_OfATableTakenOutAndAddedAgainTheRowsAreReadAgain) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.t2 (id int PRIMARY KEY);"
      "INSERT INTO public.t2 VALUES (1), (2)");
  Stream();
  ASSERT_TRUE(capture_->Stop().has_value());

  Run("ALTER PUBLICATION freshet DROP TABLE public.t2");
  Run("INSERT INTO public.t2 VALUES (3); DELETE FROM public.t2 WHERE id = 1");
  Run("ALTER PUBLICATION freshet ADD TABLE public.t2");
  Stream();

  ExpectReadAgain("t2", "was taken out of publication 'freshet' and added again");
  EXPECT_EQ(Replaced(), 3) << "two by the first snapshot";
  EXPECT_THAT(output_.Events(), testing::IsSupersetOf({"snapshot public.t2 3"}));
  EXPECT_EQ(capture_->status().read_again_total, 1);
}

TEST_P(PublicationFaultsTest, Fault26_ANarrowedPublicationIsWarnedOfWhileItRuns) {
  Run("CREATE TABLE public.t (id int PRIMARY KEY)");
  Stream();

  Run("ALTER PUBLICATION freshet SET (publish = 'insert')");

  ExpectWarning("leaves out some operations");
  Run("ALTER PUBLICATION freshet SET (publish = 'insert, update, delete" +
      std::string(GetParam() >= 11 ? ", truncate')" : "')"));
  EXPECT_TRUE(output_.WaitUntil([&] { return capture_->status().warnings.empty(); }));
}

TEST_P(PublicationFaultsTest, Fault27_ANewRowFilterOrColumnListIsWarnedOf) {
  if (GetParam() < 15) GTEST_SKIP() << "column lists and row filters came with 15";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text)");
  Stream();
  Run("INSERT INTO public.t VALUES (1, 'x')");

  Run("ALTER PUBLICATION freshet SET TABLE public.t (id) WHERE (id > 10)");
  Run("INSERT INTO public.t VALUES (2, 'x'); INSERT INTO public.t VALUES (11, 'x')");

  Expect(2);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | x", "insert public.t 11"));
  ExpectWarning("\"public\".\"t\"");
}

/// The server refuses to send a table by two publications with different columns.
TEST_P(PublicationFaultsTest, Fault28_AnotherPublicationWithOtherColumnsIsNoneOfOurs) {
  if (GetParam() < 15) GTEST_SKIP() << "column lists came with 15";
  Run("CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "CREATE PUBLICATION another FOR TABLE public.t (id)");
  Stream();

  Run("INSERT INTO public.t VALUES (1, 'x')");

  Expect(1);
  EXPECT_THAT(output_.Events(), ElementsAre("insert public.t 1 | x"));
}

INSTANTIATE_TEST_SUITE_P(Majors, PublicationFaultsTest,
                         ::testing::ValuesIn(test::PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
