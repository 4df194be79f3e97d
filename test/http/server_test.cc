#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/pipeline_status.h"

namespace freshet::http {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ServerTest : public ::testing::Test {
 protected:
  void Start(Handlers handlers) {
    auto server = Server::Start("127.0.0.1:0", std::move(handlers));
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = std::move(*server);
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port());
  }

  static Handlers StatusOnly() {
    return {.status = test::MakePipelineStatus, .query = {}, .scan = {}};
  }

  std::unique_ptr<Server> server_;
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(ServerTest, PagesHaveTheirContentTypes) {
  Start(StatusOnly());

  const auto page = client_->Get("/");
  const auto status = client_->Get("/status");
  const auto metrics = client_->Get("/metrics");

  ASSERT_TRUE(page && status && metrics);
  EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
  EXPECT_THAT(page->body, HasSubstr("bucket &lt;lake&gt; is &quot;away&quot;"));
  EXPECT_THAT(page->body, HasSubstr("2 of 3 tables to do"));
  EXPECT_THAT(page->body, HasSubstr("public.later&lt;b&gt;"));
  EXPECT_THAT(page->body, HasSubstr("transactions that ran when it joined: pid 17"));
  EXPECT_EQ(status->get_header_value("Content-Type"), "application/json");
  EXPECT_EQ(json::parse(status->body)["version"], "0.1.0");
  EXPECT_EQ(metrics->get_header_value("Content-Type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

TEST_F(ServerTest, HealthIs503OnlyWhenFailing) {
  pipeline::PipelineStatus status = test::MakePipelineStatus();
  Start({.status = [&] { return status; }, .query = {}, .scan = {}});

  const auto degraded = client_->Get("/healthz");
  status.health.health = pipeline::Health::kFailing;
  const auto failing = client_->Get("/healthz");

  ASSERT_TRUE(degraded && failing);
  EXPECT_EQ(degraded->status, 200);
  EXPECT_EQ(failing->status, 503);
  EXPECT_FALSE(json::parse(failing->body)["healthy"]);
}

TEST_F(ServerTest, QueryTakesSqlInThreeForms) {
  std::vector<std::string> asked;
  std::vector<int64_t> limits;
  Handlers handlers = StatusOnly();
  handlers.query =
      [&](const std::string& sql,
          const sink::duckdb::QueryLimits& limit) -> Result<sink::duckdb::QueryResult> {
    asked.push_back(sql);
    limits.push_back(limit.rows);
    return sink::duckdb::QueryResult{.columns = {{"n", "INTEGER"}}, .rows = {{"1"}}};
  };
  Start(std::move(handlers));

  const auto get = client_->Get("/query?sql=SELECT%201&limit=5");
  const auto text = client_->Post("/query", "SELECT 2", "text/plain");
  const auto object = client_->Post("/query", R"({"sql": "SELECT 3"})", "application/json");

  ASSERT_TRUE(get && text && object);
  EXPECT_EQ(get->body,
            "{\"columns\":[{\"name\":\"n\",\"type\":\"INTEGER\"}],\"rows\":[[1]],"
            "\"truncated\":false}\n");
  EXPECT_THAT(asked, ::testing::ElementsAre("SELECT 1", "SELECT 2", "SELECT 3"));
  EXPECT_THAT(limits, ::testing::ElementsAre(5, 10'000, 10'000));
}

TEST_F(ServerTest, ErrorsAreProblemDetails) {
  Handlers handlers = StatusOnly();
  handlers.query = [](const std::string&,
                      const sink::duckdb::QueryLimits&) -> Result<sink::duckdb::QueryResult> {
    return Fail(ErrorKind::kConfig, "wrong SQL");
  };
  Start(std::move(handlers));

  const auto wrong = client_->Post("/query", "SELEC", "text/plain");
  const auto empty = client_->Post("/query", "", "text/plain");
  const auto body = client_->Post("/query", "{", "application/json");
  const auto nowhere = client_->Get("/nowhere");

  ASSERT_TRUE(wrong && empty && body && nowhere);
  for (const auto* answer : {&wrong, &empty, &body}) {
    EXPECT_EQ((*answer)->status, 400);
    EXPECT_EQ((*answer)->get_header_value("Content-Type"), "application/problem+json");
  }
  EXPECT_EQ(json::parse(wrong->body)["detail"], "wrong SQL");
  EXPECT_EQ(json::parse(wrong->body)["kind"], "config");
  EXPECT_EQ(nowhere->status, 404);
  EXPECT_EQ(json::parse(nowhere->body)["status"], 404);
}

TEST_F(ServerTest, DataIsRefusedWithoutHandlers) {
  Start(StatusOnly());

  const auto query = client_->Get("/query?sql=SELECT%201");
  const auto scan = client_->Post("/scan?sink=a", "", "application/octet-stream");

  ASSERT_TRUE(query && scan);
  EXPECT_EQ(query->status, 403);
  EXPECT_EQ(scan->status, 403);
}

TEST_F(ServerTest, ScanStreamsWhatTheHandlerWrites) {
  Handlers handlers = StatusOnly();
  handlers.scan = [](std::string_view sink, std::span<const std::byte> request,
                     const std::function<bool(std::string_view)>& write) {
    EXPECT_EQ(sink, "lake");
    EXPECT_EQ(request.size(), 3U);
    for (int i = 0; i < 3 && write(std::string(100'000, 'x')); ++i) {
    }
  };
  Start(std::move(handlers));

  const auto scan = client_->Post("/scan?sink=lake", "abc", "application/octet-stream");

  ASSERT_TRUE(scan);
  EXPECT_EQ(scan->status, 200);
  EXPECT_EQ(scan->body.size(), 300'000U);
}

/// A page of another site may resolve its own name to 127.0.0.1 and then ask us.
TEST_F(ServerTest, LoopbackServerRefusesOtherHostNames) {
  Start(StatusOnly());

  const auto stranger = client_->Get("/status", {{"Host", "evil.example:8080"}});
  const auto local = client_->Get("/status", {{"Host", "localhost:8080"}});

  ASSERT_TRUE(stranger && local);
  EXPECT_EQ(stranger->status, 403);
  EXPECT_EQ(local->status, 200);
}

TEST_F(ServerTest, QueriesCannotTakeEveryThread) {
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0;
  bool release = false;
  Handlers handlers = StatusOnly();
  handlers.query = [&](const std::string&,
                       const sink::duckdb::QueryLimits&) -> Result<sink::duckdb::QueryResult> {
    std::unique_lock lock(mutex);
    ++running;
    changed.notify_all();
    changed.wait(lock, [&] { return release; });
    return sink::duckdb::QueryResult();
  };
  std::atomic<int> changes = 0;
  handlers.resnapshot = [&](const change::TableName&, bool) -> Status {
    ++changes;
    return {};
  };
  Start(std::move(handlers));
  std::vector<std::jthread> slow;
  for (int i = 0; i < Server::kMaxDataRequests; ++i) {
    slow.emplace_back(
        [this] { httplib::Client("127.0.0.1", server_->port()).Get("/query?sql=SELECT%201"); });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return running == Server::kMaxDataRequests; });
  }

  const auto one_more = client_->Get("/query?sql=SELECT%201");
  const auto change =
      client_->Post("/tables/resnapshot", httplib::Headers{{kControlHeader, "1"}},
                    R"({"schema": "public", "table": "orders"})", "application/json");
  const auto health = client_->Get("/healthz");
  {
    const std::lock_guard lock(mutex);
    release = true;
  }
  changed.notify_all();

  ASSERT_TRUE(one_more && change && health);
  EXPECT_EQ(one_more->status, 503);
  EXPECT_EQ(change->status, 503);
  EXPECT_EQ(changes, 0);
  EXPECT_EQ(health->status, 200);
}

TEST_F(ServerTest, TablesAreListedWithWhatTheyWaitFor) {
  Handlers handlers = StatusOnly();
  handlers.tables = [] {
    return std::vector<pipeline::CarriedTable>{
        {.name = {"public", "orders"}, .snapshot = {}},
        {.name = {"odd.one", "T\"x"},
         .snapshot = postgres::SnapshotTable{.name = {"odd.one", "T\"x"}, .waits_for = "a pause"}}};
  };
  Start(std::move(handlers));

  const auto answer = client_->Get("/tables");

  ASSERT_TRUE(answer);
  const json tables = json::parse(answer->body)["tables"];
  EXPECT_EQ(tables[0], (json{{"schema", "public"}, {"table", "orders"}, {"state", "streaming"}}));
  EXPECT_EQ(tables[1]["table"], "T\"x");
  EXPECT_EQ(tables[1]["state"], "wanted");
  EXPECT_EQ(tables[1]["waits_for"], "a pause");
}

/// Requests of `freshet table`, and what is no such request.
class ControlTest : public ServerTest {
 protected:
  void StartControlled() {
    Handlers handlers = StatusOnly();
    handlers.add_table = [this](const change::TableName& table) -> Result<bool> {
      asked_.push_back("add " + ToString(table));
      if (table.table == "none") return Fail(ErrorKind::kNotFound, "no such table");
      return false;
    };
    handlers.resnapshot = [this](const change::TableName& table, bool replaces) -> Status {
      asked_.push_back((replaces ? "replace " : "again ") + ToString(table));
      return {};
    };
    Start(std::move(handlers));
  }

  httplib::Result Post(const std::string& path, const std::string& body) {
    return client_->Post(path, httplib::Headers{{kControlHeader, "1"}}, body, "application/json");
  }

  std::vector<std::string> asked_;
};

TEST_F(ControlTest, TablesAreAddedAndReadAgain) {
  StartControlled();

  const auto added = Post("/tables/add", R"({"schema": "public", "table": "orders"})");
  const auto again = Post("/tables/resnapshot", R"({"schema": "public", "table": "orders"})");
  const auto anew =
      Post("/tables/resnapshot", R"({"schema": "odd.one", "table": "T", "replace": true})");
  const auto missing = Post("/tables/add", R"({"schema": "public", "table": "none"})");

  ASSERT_TRUE(added && again && anew && missing);
  EXPECT_EQ(added->status, 202);
  EXPECT_EQ(json::parse(added->body)["in_configuration"], false);
  EXPECT_EQ(again->status, 202);
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(json::parse(missing->body)["detail"], "no such table");
  EXPECT_THAT(asked_, ::testing::ElementsAre("add public.orders", "again public.orders",
                                             "replace odd.one.T", "add public.none"));
}

/// A form or a script of another site's page can send neither the header nor this type unasked.
TEST_F(ControlTest, RequestOfAWebPageIsRefused) {
  StartControlled();
  const std::string body = R"({"schema": "public", "table": "orders"})";

  const auto no_header = client_->Post("/tables/add", body, "application/json");
  const auto form =
      client_->Post("/tables/add", httplib::Headers{{kControlHeader, "1"}}, body, "text/plain");
  const auto preflight = client_->Options("/tables/add");
  const auto get = client_->Get("/tables/add");

  ASSERT_TRUE(no_header && form && preflight && get);
  EXPECT_EQ(no_header->status, 403);
  EXPECT_EQ(form->status, 403);
  EXPECT_FALSE(preflight->has_header("Access-Control-Allow-Headers"));
  EXPECT_EQ(preflight->status, 404);
  EXPECT_EQ(get->status, 404);
  EXPECT_THAT(asked_, ::testing::IsEmpty());
}

TEST_F(ControlTest, BodiesThatNameNoTableAreRefused) {
  StartControlled();

  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string(R"({"table": "orders"})"),
        std::string(R"({"schema": 1, "table": "orders"})"),
        std::string(R"({"schema": "public", "table": "orders", "replace": "yes"})"),
        R"({"schema": "public", "table": ")" + std::string(Server::kMaxControlBytes, 'x') +
            "\"}"}) {
    const auto answer = Post("/tables/resnapshot", body);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 400) << body.substr(0, 60);
  }
  EXPECT_THAT(asked_, ::testing::IsEmpty());
}

TEST_F(ControlTest, NothingIsChangedWhereItIsNotServed) {
  Start(StatusOnly());

  const auto answer = Post("/tables/add", R"({"schema": "public", "table": "orders"})");

  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 403);
  EXPECT_THAT(answer->body, HasSubstr("http.control"));
}

TEST_F(ServerTest, TakenPortIsSaid) {
  Start(StatusOnly());

  const auto second = Server::Start("127.0.0.1:" + std::to_string(server_->port()), StatusOnly());

  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
  EXPECT_THAT(second.error().message, HasSubstr("http.listen"));
}

TEST(AddressTest, FormsAreRead) {
  const auto v4 = ParseAddress("127.0.0.1:8080");
  const auto v6 = ParseAddress("[::1]:80");
  const auto any = ParseAddress(":9090");

  ASSERT_TRUE(v4.has_value() && v6.has_value() && any.has_value());
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 8080);
  EXPECT_TRUE(v4->is_loopback());
  EXPECT_EQ(v6->host, "::1");
  EXPECT_TRUE(v6->is_loopback());
  EXPECT_EQ(any->host, "0.0.0.0");
  EXPECT_FALSE(any->is_loopback());
}

TEST(AddressTest, WhatIsNoneIsRefused) {
  for (const char* text : {"", "8080", "host", "host:", "host:x", "host:70000", "host:-1"}) {
    const auto address = ParseAddress(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_EQ(address.error().kind, ErrorKind::kConfig);
  }
}

}  // namespace
}  // namespace freshet::http
