#include "http/server.h"

#include <fmt/format.h>
#include <httplib.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/logging.h"
#include "base/queue.h"
#include "http/openmetrics.h"
#include "http/page.h"
#include "http/problem.h"
#include "http/query_json.h"
#include "http/status_json.h"

namespace freshet::http {
namespace {

constexpr const char* kJson = "application/json";

/// The library's own pool has an unbounded queue. Here the accepting thread waits when it is full.
class BoundedPool final : public httplib::TaskQueue {
 public:
  BoundedPool(size_t threads, size_t waiting) : jobs_(waiting) {
    for (size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this](std::stop_token) {
        while (auto job = jobs_.Pop({})) (*job)();
      });
    }
  }

  void enqueue(std::function<void()> job) override { jobs_.Push(std::move(job), {}); }

  void shutdown() override {
    jobs_.Close();
    threads_.clear();
  }

 private:
  Queue<std::function<void()>> jobs_;
  std::vector<std::jthread> threads_;
};

bool IsLoopbackHost(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

/// The host in a request's Host header: without the port, and without the brackets of IPv6.
std::string_view HostOf(std::string_view header) {
  if (header.starts_with('[')) return header.substr(1, header.find(']') - 1);
  return header.substr(0, header.rfind(':'));
}

void AnswerProblem(httplib::Response& response, const Error& error) {
  response.status = HttpStatusOf(error.kind);
  response.set_content(ProblemJson(error), kProblemContentType);
}

/// The SQL of a request: the parameter `sql`, a JSON body {"sql": ...}, or the body itself.
Result<std::string> SqlOf(const httplib::Request& request) {
  if (request.method == "GET" || request.has_param("sql")) return request.get_param_value("sql");
  if (!request.get_header_value("Content-Type").starts_with(kJson)) return request.body;
  const auto json = nlohmann::json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("sql") || !json["sql"].is_string()) {
    return Fail(ErrorKind::kConfig, R"(the body must be {{"sql": "SELECT ..."}})");
  }
  return json["sql"].get<std::string>();
}

/// The rows a request asks for at most, within the default limit.
sink::duckdb::QueryLimits LimitsOf(const httplib::Request& request) {
  sink::duckdb::QueryLimits limits;
  if (!request.has_param("limit")) return limits;
  const std::string text = request.get_param_value("limit");
  int64_t rows = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rows);
  if (error == std::errc() && rows > 0) limits.rows = std::min(rows, limits.rows);
  return limits;
}

/// What a request to change a table asks for.
struct TableRequest {
  change::TableName table;
  bool replaces = false;
};

/// {"schema": ..., "table": ..., "replace": bool}, the last one optional.
Result<TableRequest> TableRequestOf(const httplib::Request& request) {
  if (!request.has_header(kControlHeader) ||
      !request.get_header_value("Content-Type").starts_with(kJson)) {
    return Fail(ErrorKind::kDenied,
                "a request that changes something has Content-Type application/json and a header "
                "{}: 1",
                kControlHeader);
  }
  if (request.body.size() > Server::kMaxControlBytes) {
    return Fail(ErrorKind::kConfig, "the body has more than {} bytes", Server::kMaxControlBytes);
  }
  const auto json = nlohmann::json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  const auto text = [&json](const char* key) {
    const auto found = json.is_object() ? json.find(key) : json.end();
    return json.is_object() && found != json.end() && found->is_string() ? found->get<std::string>()
                                                                         : std::string();
  };
  TableRequest out{.table = {text("schema"), text("table")}};
  const bool has_replace = json.is_object() && json.contains("replace");
  if (out.table.schema.empty() || out.table.table.empty() ||
      (has_replace && !json["replace"].is_boolean())) {
    return Fail(ErrorKind::kConfig,
                R"(the body must be {{"schema": "public", "table": "orders"}})");
  }
  out.replaces = has_replace && json["replace"].get<bool>();
  return out;
}

/// Counts requests that read data or wait for the stream, so that they cannot take every thread.
class DataSlot {
 public:
  explicit DataSlot(std::atomic<int>& used)
      : used_(used), taken_(used.fetch_add(1) < Server::kMaxDataRequests) {}
  ~DataSlot() { used_.fetch_sub(1); }
  DataSlot(const DataSlot&) = delete;
  DataSlot& operator=(const DataSlot&) = delete;

  bool taken() const { return taken_; }

 private:
  std::atomic<int>& used_;
  const bool taken_;
};

Error NoControl() {
  return {ErrorKind::kDenied,
          "the pipeline is not changed over HTTP here; see http.control in the configuration"};
}

Error TooMany() {
  return {ErrorKind::kBusy, fmt::format("{} queries or changes run already; try again when one has "
                                        "ended",
                                        Server::kMaxDataRequests)};
}

}  // namespace

struct Server::Impl {
  explicit Impl(Handlers given) : handlers(std::move(given)) {}

  void AddRoutes(bool loopback_only);
  void Query(const httplib::Request& request, httplib::Response& response);
  void Scan(const httplib::Request& request, httplib::Response& response);
  void AddTable(const httplib::Request& request, httplib::Response& response);
  void Resnapshot(const httplib::Request& request, httplib::Response& response);

  const Handlers handlers;
  httplib::Server server;
  std::atomic<int> data_requests{0};
  int port = 0;
  std::jthread thread;
};

void Server::Impl::AddRoutes(bool loopback_only) {
  using httplib::Request;
  using httplib::Response;
  server.new_task_queue = [] { return new BoundedPool(kThreads, kMaxWaiting); };
  // Without the library's SO_REUSEPORT, by which two pipelines would share a port in silence.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_read_timeout(kReadTimeoutSeconds);
  server.set_write_timeout(kWriteTimeoutSeconds);
  server.set_keep_alive_timeout(1);  // an idle connection holds a thread
  server.set_payload_max_length(kMaxBodyBytes);
  server.set_pre_routing_handler([loopback_only](const Request& request, Response& response) {
    const std::string host = request.get_header_value("Host");
    if (!loopback_only || host.empty() || IsLoopbackHost(HostOf(host))) {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    AnswerProblem(response,
                  {ErrorKind::kDenied, "this server is for its own machine; ask it as localhost"});
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_error_handler([](const Request& request, Response& response) {
    if (!response.body.empty()) return;
    const int status = response.status;
    const std::string what =
        status == 404   ? fmt::format("there is nothing at {}; see /", request.path)
        : status == 413 ? fmt::format("the request has more than {} bytes", kMaxBodyBytes)
                        : fmt::format("the request cannot be answered (status {})", status);
    AnswerProblem(response, {ErrorKind::kNotFound, what});
    response.status = status;
  });
  server.set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    AnswerProblem(response, {ErrorKind::kFatal, "the request failed; the process log may say why"});
  });

  server.Get("/", [this](const Request&, Response& response) {
    response.set_content(StatusPage(handlers.status()), "text/html; charset=utf-8");
  });
  server.Get("/healthz", [this](const Request&, Response& response) {
    const pipeline::PipelineStatus status = handlers.status();
    response.status = pipeline::Healthy(status) ? 200 : 503;
    response.set_content(HealthJson(status), kJson);
  });
  server.Get("/status", [this](const Request&, Response& response) {
    response.set_content(StatusJson(handlers.status()), kJson);
  });
  server.Get("/metrics", [this](const Request&, Response& response) {
    response.set_content(MetricsText(handlers.status()), kMetricsContentType);
  });
  server.Get("/tables", [this](const Request&, Response& response) {
    const auto tables = handlers.tables ? handlers.tables() : std::vector<pipeline::CarriedTable>();
    response.set_content(TablesJson(tables), kJson);
  });
  server.Post("/tables/add",
              [this](const Request& request, Response& response) { AddTable(request, response); });
  server.Post("/tables/resnapshot", [this](const Request& request, Response& response) {
    Resnapshot(request, response);
  });
  const auto query = [this](const Request& request, Response& response) {
    Query(request, response);
  };
  server.Get("/query", query);
  server.Post("/query", query);
  server.Post("/scan",
              [this](const Request& request, Response& response) { Scan(request, response); });
}

void Server::Impl::Query(const httplib::Request& request, httplib::Response& response) {
  if (!handlers.query) {
    return AnswerProblem(
        response,
        {ErrorKind::kDenied, "queries are not served here; see http.query in the configuration"});
  }
  const DataSlot slot(data_requests);
  if (!slot.taken()) return AnswerProblem(response, TooMany());
  const Result<std::string> sql = SqlOf(request);
  if (!sql.has_value()) return AnswerProblem(response, sql.error());
  if (sql->empty() || sql->size() > kMaxSqlBytes) {
    return AnswerProblem(response, {ErrorKind::kConfig,
                                    "give one SQL statement as ?sql= or in the "
                                    "body, of 1 MiB at most"});
  }
  const auto result = handlers.query(*sql, LimitsOf(request));
  if (!result.has_value()) return AnswerProblem(response, result.error());
  response.set_content(QueryJson(*result), kJson);
}

void Server::Impl::Scan(const httplib::Request& request, httplib::Response& response) {
  if (!handlers.scan) {
    return AnswerProblem(
        response,
        {ErrorKind::kDenied, "targets are not read here; see http.query in the configuration"});
  }
  const auto slot = std::make_shared<DataSlot>(data_requests);
  if (!slot->taken()) return AnswerProblem(response, TooMany());
  const auto body = std::make_shared<std::string>(request.body);
  const std::string sink = request.get_param_value("sink");
  response.set_chunked_content_provider(
      "application/octet-stream", [this, slot, body, sink](size_t, httplib::DataSink& out) {
        bool open = true;
        handlers.scan(sink, std::as_bytes(std::span(*body)), [&](std::string_view bytes) {
          open = open && out.write(bytes.data(), bytes.size());
          return open;
        });
        if (open) out.done();
        return open;
      });
}

void Server::Impl::AddTable(const httplib::Request& request, httplib::Response& response) {
  if (!handlers.add_table) return AnswerProblem(response, NoControl());
  const auto asked = TableRequestOf(request);
  if (!asked.has_value()) return AnswerProblem(response, asked.error());
  const DataSlot slot(data_requests);
  if (!slot.taken()) return AnswerProblem(response, TooMany());
  const Result<bool> configured = handlers.add_table(asked->table);
  if (!configured.has_value()) return AnswerProblem(response, configured.error());
  response.status = 202;
  response.set_content(nlohmann::json{{"in_configuration", *configured}}.dump() + "\n", kJson);
}

void Server::Impl::Resnapshot(const httplib::Request& request, httplib::Response& response) {
  if (!handlers.resnapshot) return AnswerProblem(response, NoControl());
  const auto asked = TableRequestOf(request);
  if (!asked.has_value()) return AnswerProblem(response, asked.error());
  const DataSlot slot(data_requests);
  if (!slot.taken()) return AnswerProblem(response, TooMany());
  const Status taken = handlers.resnapshot(asked->table, asked->replaces);
  if (!taken.has_value()) return AnswerProblem(response, taken.error());
  response.status = 202;
  response.set_content("{}\n", kJson);
}

bool Address::is_loopback() const { return IsLoopbackHost(host); }

Result<Address> ParseAddress(std::string_view listen) {
  const size_t colon = listen.rfind(':');
  Address address;
  if (colon != std::string_view::npos) {
    const std::string_view port = listen.substr(colon + 1);
    address.host = HostOf(listen);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    const bool is_number = error == std::errc() && end == port.data() + port.size();
    if (is_number && address.port >= 0 && address.port <= 65'535) {
      if (address.host.empty()) address.host = "0.0.0.0";
      return address;
    }
  }
  return Fail(ErrorKind::kConfig, "'{}' is no address to listen on; write it as 127.0.0.1:8080",
              listen);
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  impl_->server.stop();
  impl_->thread.join();
}

int Server::port() const { return impl_->port; }

Result<std::unique_ptr<Server>> Server::Start(std::string_view listen, Handlers handlers) {
  FRESHET_TRY(const Address address, ParseAddress(listen));
  auto impl = std::make_unique<Impl>(std::move(handlers));
  impl->AddRoutes(address.is_loopback());
  errno = 0;
  impl->port = address.port;
  if (address.port == 0) {
    impl->port = impl->server.bind_to_any_port(address.host);
  } else if (!impl->server.bind_to_port(address.host, address.port)) {
    impl->port = -1;
  }
  if (impl->port < 0) {
    const int code = errno;
    const ErrorKind kind = code == EADDRINUSE ? ErrorKind::kBusy
                           : code == EACCES   ? ErrorKind::kDenied
                                              : ErrorKind::kConfig;
    const std::string_view other_holder =
        kind == ErrorKind::kBusy
            ? "stop what listens there (is this pipeline running already?), or "
            : "";
    return Fail(kind, "cannot listen on {}: {}; {}set http.listen to another address", listen,
                code == 0 ? "no such address" : std::strerror(code), other_holder);
  }
  impl->thread = std::jthread([server = &impl->server] { server->listen_after_bind(); });
  while (!impl->server.is_running()) std::this_thread::yield();  // stop() needs it running
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

}  // namespace freshet::http
