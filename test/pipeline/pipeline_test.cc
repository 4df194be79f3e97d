#include "pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/manual_clock.h"
#include "support/memory_file_system.h"

namespace freshet::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A pipeline that does not run: what it refuses without asking its source.
class IdlePipelineTest : public ::testing::Test {
 protected:
  static Options MakeOptions() {
    Options options;
    options.source.tables = {"public.*"};
    options.source.exclude = {"public.secret*"};
    options.log.path = "log";
    return options;
  }

  Result<bool> Add(const std::string& table) { return pipeline_.AddTable({"public", table}); }

  test::MemoryFileSystem fs_;
  test::ManualClock clock_;
  Pipeline pipeline_{MakeOptions(), fs_, clock_, "0.1.0"};
};

TEST_F(IdlePipelineTest, CarriesNoTables) { EXPECT_THAT(pipeline_.tables(), IsEmpty()); }

TEST_F(IdlePipelineTest, PatternIsNoTableToAdd) {
  for (const char* pattern : {"*", "order?", "a*b"}) {
    const auto added = Add(pattern);
    ASSERT_FALSE(added.has_value());
    EXPECT_EQ(added.error().kind, ErrorKind::kConfig);
    EXPECT_THAT(added.error().message, HasSubstr("SIGHUP"));
  }
}

TEST_F(IdlePipelineTest, ExcludedTableIsNotAdded) {
  const auto added = Add("secret_plans");

  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(added.error().message, HasSubstr("source.postgres.exclude"));
}

TEST_F(IdlePipelineTest, TablesThatAreNoGlobsAreRefused) {
  EXPECT_EQ(pipeline_.ChooseTables({"no_dot"}, {}).error().kind, ErrorKind::kConfig);
}

TEST_F(IdlePipelineTest, NothingIsReadAgainWhereNothingStreams) {
  EXPECT_FALSE(pipeline_.Resnapshot({"public", "orders"}, false).has_value());
}

}  // namespace
}  // namespace freshet::pipeline
