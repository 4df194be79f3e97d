#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "pipeline/options.h"

namespace freshet::cli {
namespace {

/// What the examples ask of the environment.
class ExamplesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"PGPASSWORD", "FLOW_PASSWORD", "SHOPSTREAM_PASSWORD", "AIRBYTE_PASSWORD", "LAKE_BUCKET",
          "LAKE_REGION", "COLLECTIONS_BUCKET"}) {
      setenv(name, "for-tests", 1);
    }
  }

  static pipeline::Options Read(const std::string& name) {
    auto options = pipeline::ReadOptions("examples/" + name);
    EXPECT_TRUE(options.has_value()) << options.error();
    return options.has_value() ? std::move(*options) : pipeline::Options();
  }
};

TEST_F(ExamplesTest, EveryExampleIsValid) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("examples")) {
    if (entry.path().extension() != ".yaml") continue;
    found.insert(entry.path().filename());
    const pipeline::Options options = Read(entry.path().filename());
    EXPECT_FALSE(options.sinks.empty()) << entry.path();
    EXPECT_FALSE(options.http.listen.empty()) << entry.path();
  }
  EXPECT_EQ(found, (std::set<std::string>{"a_one_command_demo.yaml", "b_shopstream.yaml",
                                          "c_real_time_warehouse.yaml", "d_lakehouse.yaml",
                                          "e_s3_json.yaml", "quick_start.yaml"}));
}

TEST_F(ExamplesTest, SecretsComeFromTheEnvironment) {
  const pipeline::Options options = Read("a_one_command_demo.yaml");

  EXPECT_NE(options.source.url.Reveal().find("for-tests"), std::string::npos);
  EXPECT_EQ(options.source.slot, "flow_slot");
  EXPECT_EQ(options.source.publication, "flow_publication");
}

TEST_F(ExamplesTest, ObjectsAreFlushedAsStoryEPromises) {
  const pipeline::Options options = Read("e_s3_json.yaml");

  ASSERT_EQ(options.sinks.size(), 1U);
  EXPECT_EQ(options.sinks[0].kind, "files");
  EXPECT_EQ(options.sinks[0].flush.rows, 1'000);
  EXPECT_EQ(options.sinks[0].flush.interval, std::chrono::seconds(60));
}

}  // namespace
}  // namespace freshet::cli
