#include "postgres/options.h"

#include <gmock/gmock.h>

#include <map>

namespace freshet::postgres {
namespace {

/// Leaves every value as it is and notes what is rejected.
class Rejections final : public config::Binder {
 public:
  void Value(const config::Key&, bool&) override {}
  void Value(const config::Key&, int64_t&) override {}
  void Value(const config::Key&, std::string&) override {}
  void Value(const config::Key&, Secret&) override {}
  void Value(const config::Key&, config::Duration&) override {}
  void Value(const config::Key&, config::ByteSize&) override {}
  void Value(const config::Key&, std::vector<std::string>&) override {}
  void Choice(const config::Key&, std::span<const std::string_view>, size_t&) override {}
  bool Section(const config::Key&, const std::function<void(Binder&)>&) override { return false; }
  void Map(const config::Key&, const std::function<void(const std::string&, Binder&)>&) override {}
  void Reject(std::string_view key, std::string message) override {
    rejected[std::string(key)] = std::move(message);
  }

  std::map<std::string, std::string> rejected;
};

std::map<std::string, std::string> RejectedOf(Options options) {
  Rejections binder;
  Bind(binder, options);
  return binder.rejected;
}

TEST(OptionsTest, TheDefaultsMakeSense) { EXPECT_TRUE(RejectedOf({}).empty()); }

TEST(OptionsTest, AllThatMakesNoSenseIsToldAtOnce) {
  Options options;
  options.url = Secret("postgres://me:hunter2@[::1/shop");
  options.slot = "My-Slot";
  options.publication = "";
  options.tables = {"orders"};
  options.snapshot_workers = 0;
  options.status_interval = std::chrono::microseconds(1);
  options.slot_create_timeout = std::chrono::seconds(0);
  options.batch_rows = 0;
  options.batch_bytes.bytes = 1;
  options.spool_budget.bytes = 1;
  options.catch_up_threshold.bytes = 1;

  const auto rejected = RejectedOf(options);

  EXPECT_EQ(rejected.size(), 11u);
  EXPECT_THAT(rejected.at("tables"), testing::HasSubstr("schema.table"));
  EXPECT_THAT(rejected.at("url"), testing::HasSubstr("write postgres://"));
  EXPECT_THAT(rejected.at("url"), testing::Not(testing::HasSubstr("hunter2")));
}

}  // namespace
}  // namespace freshet::postgres
