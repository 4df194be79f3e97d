#include <gtest/gtest.h>

#include <string>

#include "base/clock.h"
#include "generate/generator.h"
#include "support/postgres_server.h"

namespace freshet::generate {
namespace {

class GenerateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = test::PostgresServer::Start();
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = std::move(server).value();
    options_.url = server_->url();
    options_.rate = 0;
    options_.synchronous_commit = false;
  }

  Progress Run() {
    auto progress = Generate(options_, SystemClock(), {}, [](const Progress&) {});
    EXPECT_TRUE(progress.has_value()) << progress.error();
    return progress.value_or(Progress{});
  }

  std::string Ask(const std::string& sql) { return server_->Ask(sql).value_or("(error)"); }

  std::unique_ptr<test::PostgresServer> server_;
  Options options_;
};

TEST_F(GenerateTest, ShopTrafficNeverBreaksAForeignKeyAndMayBeRunAgain) {
  options_.rows = 4000;
  options_.shape.truncates = true;

  const Progress first = Run();
  const Progress second = Run();

  EXPECT_EQ(first.conflicts, 0);
  EXPECT_EQ(second.conflicts, 0);
  EXPECT_GE(first.rows, 4000);
  EXPECT_GT(first.rolled_back, 0);
  EXPECT_NE(Ask("SELECT count(*) FROM public.order_items"), "0");
  EXPECT_NE(Ask("SELECT count(*) FROM public.audit_log"), "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM freshet_generate.runs"), "2");
}

TEST_F(GenerateTest, BigValuesAreReallyStoredOutOfLine) {
  options_.initial_rows = 1000;
  options_.rows = 1;

  Run();

  EXPECT_NE(Ask("SELECT count(*) FROM public.products WHERE pg_column_size(description) > 8000"),
            "0");
  EXPECT_EQ(Ask("SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class "
                "WHERE oid = 'public.products'::regclass"),
            "t");
}

TEST_F(GenerateTest, ShippingTrafficWithAllSurprisesRuns) {
  options_.schema = Schema::kShipping;
  options_.rows = 3000;
  options_.shape.truncates = true;

  EXPECT_EQ(Run().conflicts, 0);
  EXPECT_EQ(Run().conflicts, 0);
}

TEST_F(GenerateTest, BulkMixTouchesExactlyTheRowsItCounts) {
  options_.schema = Schema::kBench;
  options_.initial_rows = 5000;
  options_.rows = 30'000;
  options_.shape = {.rows = 1000,
                    .mix = {.inserts = 1, .updates = 1, .deletes = 1},
                    .surprises = false,
                    .truncates = false};

  EXPECT_EQ(Run().rows, 30'000);

  EXPECT_EQ(Ask("SELECT count(*) FROM public.bench"), "5030");  // 334 in and 333 out, 30 times
}

TEST_F(GenerateTest, AWriterBesidesOursIsAConflictAndNoFailure) {
  options_.initial_rows = 500;
  options_.rows = 200;
  bool emptied = false;
  auto progress = Generate(options_, SystemClock(), {}, [&](const Progress& at) {
    if (at.filling || emptied) return;
    emptied = true;
    const Status gone = server_->Run("TRUNCATE public.users CASCADE");
    EXPECT_TRUE(gone.has_value()) << gone.error();
  });

  ASSERT_TRUE(progress.has_value()) << progress.error();
  EXPECT_GT(progress->conflicts, 0);
  EXPECT_GE(progress->rows, 200);
}

TEST_F(GenerateTest, AServerThatIsNotThereIsAnError) {
  options_.url = Secret("postgres://nobody@127.0.0.1:1/none");

  const auto progress = Generate(options_, SystemClock(), {}, [](const Progress&) {});

  ASSERT_FALSE(progress.has_value());
  EXPECT_EQ(progress.error().kind, ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace freshet::generate
