#include "cli/demo/probe.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "postgres/capture.h"

namespace freshet::cli::demo {
namespace {

using nlohmann::json;

/// Whole numbers travel as strings.
int64_t Int(const json& object, const char* key) {
  return std::stoll(object.at(key).get<std::string>());
}

double Milliseconds(const json& latency, const char* key) {
  return static_cast<double>(Int(latency, key)) / 1e3;
}

/// The zero position where there is none yet.
change::Position PositionOf(const json& object, const char* key) {
  return change::ParsePosition(object.at(key).get<std::string>()).value_or(change::Position{});
}

SinkFigures ParseSink(const json& sink) {
  SinkFigures figures;
  figures.name = sink.at("name").get<std::string>();
  figures.kind = sink.at("kind").get<std::string>();
  figures.durable = PositionOf(sink, "durable_position");
  figures.rows = Int(sink, "rows_total");
  figures.lag_bytes = Int(sink, "lag_bytes");
  figures.lag_seconds = static_cast<double>(Int(sink, "lag_micros")) / 1e6;
  const json& latency = sink.at("latency").at("commit_to_durable");
  figures.p50_ms = Milliseconds(latency, "p50_micros");
  figures.p95_ms = Milliseconds(latency, "p95_micros");
  figures.p99_ms = Milliseconds(latency, "p99_micros");
  return figures;
}

}  // namespace

bool HasCaughtUp(const PipelineFigures& figures) {
  using postgres::CaptureState;
  return figures.capture_state == postgres::CaptureStateName(CaptureState::kStreaming) &&
         figures.appended != change::Position{} && !figures.sinks.empty() &&
         std::all_of(figures.sinks.begin(), figures.sinks.end(),
                     [&](const SinkFigures& sink) { return sink.durable >= figures.appended; });
}

Result<PipelineFigures> ParseStatus(const std::string& text) try {
  const json status = json::parse(text);
  PipelineFigures figures;
  figures.capture_state = status.at("source").at("state").get<std::string>();
  if (status.contains("log")) figures.appended = PositionOf(status["log"], "appended_position");
  for (const json& sink : status.at("sinks")) figures.sinks.push_back(ParseSink(sink));
  return figures;
} catch (const std::exception& e) {
  return Fail(ErrorKind::kMalformed, "the pipeline's /status is not understood: {}", e.what());
}

Result<PipelineFigures> Probe(int port) {
  httplib::Client client("127.0.0.1", port);
  client.set_connection_timeout(0, 200'000);
  client.set_read_timeout(2);
  const auto answer = client.Get("/status");
  if (!answer || answer->status != 200) {
    return Fail(ErrorKind::kUnavailable, "no pipeline answers on port {}", port);
  }
  return ParseStatus(answer->body);
}

}  // namespace freshet::cli::demo
