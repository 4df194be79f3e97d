#include "verify/remote_read_back.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <string>
#include <thread>

namespace freshet::verify {
namespace {

/// A pipeline's /status, as far as verify looks at it.
class StatusServer {
 public:
  explicit StatusServer(std::string body) {
    server_.Get("/status",
                [body = std::move(body)](const httplib::Request&, httplib::Response& response) {
                  response.set_content(body, "application/json");
                });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~StatusServer() { server_.stop(); }
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;

  std::string listen() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::jthread thread_;
};

TEST(RemoteReadBackTest, OnlyThePipelineWithThisTargetIsAsked) {
  const StatusServer server(
      R"({"sinks": [{"name": "lake", "target": "./b"}, {"name": "warehouse", "target": "./a"}]})");

  EXPECT_TRUE(IsServing(server.listen(), "warehouse", "./a"));
  EXPECT_FALSE(IsServing(server.listen(), "warehouse", "./b"));
  EXPECT_FALSE(IsServing(server.listen(), "other", "./a"));
  EXPECT_FALSE(IsServing("", "warehouse", "./a"));
}

TEST(RemoteReadBackTest, AServerThatIsNoPipelineIsNotAsked) {
  for (const char* const body : {"hello", "{}", R"({"sinks": 1})", R"({"sinks": [1, {}]})"}) {
    const StatusServer server(body);

    EXPECT_FALSE(IsServing(server.listen(), "warehouse", "./a")) << body;
  }
}

}  // namespace
}  // namespace freshet::verify
