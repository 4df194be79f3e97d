#include "cli/remote.h"

#include <fmt/format.h>
#include <httplib.h>

#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>

#include "http/server.h"
#include "pipeline/options.h"

namespace freshet::cli {
namespace {

constexpr time_t kConnectSeconds = 3;
constexpr time_t kReadSeconds = 60;  ///< longer than a query may take

/// The kind that has `name`; kFatal for a name of another version.
ErrorKind KindOf(std::string_view name) {
  for (int kind = 0; kind < static_cast<int>(ErrorKind::kFatal); ++kind) {
    if (ErrorKindName(static_cast<ErrorKind>(kind)) == name) return static_cast<ErrorKind>(kind);
  }
  return ErrorKind::kFatal;
}

/// Lets `send` talk to the server of `url` about the path in it.
Result<Answer> Exchange(
    const std::string& url,
    const std::function<httplib::Result(httplib::Client&, const std::string& path)>& send) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return Fail(ErrorKind::kConfig, "'{}' is no URL of a pipeline; write http://HOST:PORT", url);
  }
  const size_t slash = url.find('/', kScheme.size());
  const std::string server = url.substr(0, slash);
  httplib::Client client(server);
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kReadSeconds);
  const httplib::Result result = send(client, slash == std::string::npos ? "/" : url.substr(slash));
  if (!result) {
    return Fail(ErrorKind::kUnavailable,
                "no pipeline answers at {} ({}); is `freshet run` up, and is http.listen the same?",
                server, httplib::to_string(result.error()));
  }
  return Answer{.status = result->status, .body = result->body};
}

}  // namespace

Result<Answer> Ask(const std::string& url, const std::string* body) {
  return Exchange(url, [&](httplib::Client& client, const std::string& path) {
    return body == nullptr ? client.Get(path) : client.Post(path, *body, "text/plain");
  });
}

Result<Answer> AskForChange(const std::string& url, const std::string& json) {
  return Exchange(url, [&](httplib::Client& client, const std::string& path) {
    return client.Post(path, httplib::Headers{{http::kControlHeader, "1"}}, json,
                       "application/json");
  });
}

Error ErrorOf(const Answer& answer) {
  const auto problem = nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (problem.is_object() && problem.contains("kind") && problem.contains("detail")) {
    return {KindOf(problem["kind"].get<std::string>()), problem["detail"].get<std::string>()};
  }
  return {ErrorKind::kFatal, fmt::format("the pipeline answered with status {}", answer.status)};
}

Result<std::string> UrlOf(const std::string& listen) {
  if (listen.empty()) {
    return Fail(ErrorKind::kConfig,
                "the configuration has no http.listen; add it and restart the pipeline");
  }
  FRESHET_TRY(http::Address address, http::ParseAddress(listen));
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  const bool v6 = address.host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", address.host, v6 ? "]" : "", address.port);
}

Result<std::string> ServerOf(const std::string& url, const std::string& config) {
  std::string server = url;
  if (server.empty()) {
    FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(config));
    FRESHET_TRY(server, UrlOf(options.http.listen));
  }
  while (server.ends_with('/')) server.pop_back();
  return server;
}

std::string Text(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t Int(const nlohmann::json& object, const char* name) {
  const std::string text = Text(object, name);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace freshet::cli
