#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "support/postgres_server.h"

namespace freshet::test {

/// A fixture whose tests share one server a major and have a database each, named after the test.
/// For tests that neither restart the server nor change its settings.
class SharedPostgresTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto& server = Servers()[GetParam()];
    if (server == nullptr) {
      auto started = PostgresServer::Start({.major = GetParam(), .settings = {}});
      ASSERT_TRUE(started.has_value()) << started.error();
      server = *std::move(started);
    }
    server_ = server.get();
    // "Name/15" -> a database and a slot of this test alone.
    name_ = "t";
    for (const char c :
         std::string(::testing::UnitTest::GetInstance()->current_test_info()->name())) {
      if (c == '/') break;
      name_ += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    name_.resize(std::min<size_t>(name_.size(), 60));
    const Status made = server_->Run("CREATE DATABASE " + name_ + " TEMPLATE template0");
    ASSERT_TRUE(made.has_value()) << made.error();
  }

  static void TearDownTestSuite() { Servers().clear(); }

  void Run(const std::string& sql) {
    const Status status = server_->Run(sql, name_);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  std::string Ask(const std::string& sql) {
    auto answer = server_->Ask(sql, name_);
    EXPECT_TRUE(answer.has_value()) << answer.error();
    return answer.value_or("");
  }

  Secret url(std::string_view user = "postgres") const { return server_->url(name_, user); }

  PostgresServer* server_ = nullptr;
  std::string name_;  ///< of the database; free for slot and publication too

 private:
  static std::map<int, std::unique_ptr<PostgresServer>>& Servers() {
    static std::map<int, std::unique_ptr<PostgresServer>> servers;
    return servers;
  }
};

}  // namespace freshet::test
