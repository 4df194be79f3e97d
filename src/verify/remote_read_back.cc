#include "verify/remote_read_back.h"

#include <httplib.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "pipeline/remote_scan.h"

namespace freshet::verify {
namespace {

constexpr time_t kConnectSeconds = 2;
constexpr time_t kReadSeconds = 120;  ///< for the first rows of a big scan

}  // namespace

bool IsServing(std::string_view listen, std::string_view sink, std::string_view target) {
  if (listen.empty()) return false;
  httplib::Client client("http://" + std::string(listen));
  client.set_connection_timeout(kConnectSeconds);
  const httplib::Result answer = client.Get("/status");
  if (!answer) return false;
  const auto status = nlohmann::json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  if (!status.is_object() || !status.contains("sinks") || !status["sinks"].is_array()) return false;
  const auto& sinks = status["sinks"];
  return std::any_of(sinks.begin(), sinks.end(), [&](const nlohmann::json& one) {
    return one.is_object() && one.value("name", nlohmann::json()) == sink &&
           one.value("target", nlohmann::json()) == target;
  });
}

RemoteReadBack::RemoteReadBack(std::string listen, std::string sink)
    : listen_(std::move(listen)), sink_(std::move(sink)) {}

Status RemoteReadBack::Scan(const change::TableSchema& schema,
                            const std::shared_ptr<arrow::RecordBatch>& keys, const Visit& visit) {
  httplib::Request request;
  request.method = "POST";
  request.path = "/scan?sink=" + httplib::detail::encode_query_param(sink_);
  FRESHET_TRY(request.body, pipeline::EncodeScanRequest(schema, keys));
  request.set_header("Content-Type", "application/octet-stream");

  pipeline::ScanAnswer answer(visit);
  Status taken;
  std::string refusal;
  int status = 0;
  request.response_handler = [&](const httplib::Response& response) {
    status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    const std::string_view bytes(data, size);
    if (status == 200) {
      taken = answer.Add(bytes);
    } else {
      refusal += bytes;
    }
    return taken.has_value();
  };

  httplib::Client client("http://" + listen_);
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kReadSeconds);
  const httplib::Result result = client.send(request);
  if (!taken.has_value()) return taken;
  if (!result) {
    return Fail(ErrorKind::kUnavailable, "read sink {} through the pipeline at {}: {}", sink_,
                listen_, httplib::to_string(result.error()));
  }
  if (status != 200) {
    return Fail(ErrorKind::kUnsupported, "the pipeline at {} answered {} to a scan: {}", listen_,
                status, refusal);
  }
  return answer.Finish();
}

}  // namespace freshet::verify
