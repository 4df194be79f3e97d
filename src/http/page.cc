#include "http/page.h"

#include <fmt/format.h>

#include <string_view>

#include "http/status_json.h"

namespace freshet::http {
namespace {

using pipeline::HealthReport;
using pipeline::PipelineStatus;
using pipeline::SinkStatus;

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>freshet</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem;
       color: #1d2433; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884;
         vertical-align: top }
th { font-weight: 500; opacity: .7 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.ok { color: #1a7f37 } .degraded { color: #9a6700 } .failing { color: #cf222e; font-weight: 600 }
nav a { margin-right: 1rem } code { font-size: .95em }
@media (prefers-color-scheme: dark) {
  body { color: #e6e9ef; background: #14181f } a { color: #7ab7ff }
  .ok { color: #4cc26d } .degraded { color: #e0b341 } .failing { color: #ff7b72 }
}
</style></head><body>
)";

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string Badge(const HealthReport& report) {
  const std::string_view name = pipeline::HealthName(report.health);
  return fmt::format("<span class=\"{}\">{}</span>{}", name, name,
                     report.reason.empty() ? "" : ": " + Escaped(report.reason));
}

std::string Row(std::string_view name, std::string_view html) {
  return fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, html);
}

std::string Millis(int64_t micros) {
  return fmt::format("{:.1f}", static_cast<double>(micros) / 1e3);
}

std::string Mebibytes(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string SourceTable(const PipelineStatus& status) {
  const postgres::CaptureStatus& capture = status.capture;
  std::string state(postgres::CaptureStateName(capture.state));
  if (!capture.reason.empty()) state += ": " + capture.reason;
  std::string out = "<h2>Source</h2><table>\n";
  out += Row("health", Badge(status.capture_health));
  out += Row("state", Escaped(state));
  if (status.source.has_value()) {
    out += Row("database", Escaped(status.source->database));
    out += Row("slot", Escaped(status.source->slot));
  }
  out += Row("received", ToString(capture.received));
  out += Row("acknowledged", ToString(capture.acknowledged));
  if (capture.slot_retained_bytes >= 0) {
    out += Row("WAL the slot holds back", Mebibytes(capture.slot_retained_bytes));
  }
  out += Row("newest commit", IsoTime(capture.last_commit_time));
  return out + "</table>\n";
}

std::string LogTable(const PipelineStatus& status) {
  std::string out = "<h2>Log</h2><table>\n";
  out += Row("health", Badge(status.log_health));
  out += Row("durable", ToString(status.log.durable.position));
  out += Row("size", fmt::format("{} of {}", Mebibytes(status.log.size_bytes),
                                 Mebibytes(status.log.budget_bytes)));
  out += Row("commit to log",
             fmt::format("p50 {} ms, p99 {} ms", Millis(status.log_latency.p50_micros),
                         Millis(status.log_latency.p99_micros)));
  return out + "</table>\n";
}

std::string SinkTable(const PipelineStatus& status) {
  std::string out =
      "<h2>Sinks</h2><table>\n<tr><th>name</th><th>kind</th><th>health</th><th>state</th>"
      "<th class=n>rows</th><th class=n>lag, ms</th><th class=n>commit to durable, p50 ms</th>"
      "<th class=n>p99 ms</th></tr>\n";
  for (const SinkStatus& sink : status.sinks) {
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=n>{}</td><td class=n>{}</td>"
        "<td class=n>{}</td><td class=n>{}</td></tr>\n",
        Escaped(sink.name), Escaped(sink.description.kind), Badge(sink.health),
        pipeline::SinkStateName(sink.state), sink.rows_total, Millis(sink.lag_micros),
        Millis(sink.latency.p50_micros), Millis(sink.latency.p99_micros));
  }
  return out + "</table>\n";
}

}  // namespace

std::string StatusPage(const PipelineStatus& status) {
  std::string out(kHead);
  out += fmt::format("<h1>freshet {}</h1>\n<p>{}</p>\n", Escaped(status.version),
                     Badge(status.health));
  out += SourceTable(status) + LogTable(status) + SinkTable(status);
  out +=
      "<h2>More</h2><nav><a href=\"/status\">status</a><a href=\"/healthz\">health</a>"
      "<a href=\"/metrics\">metrics</a><code>curl --data 'SHOW ALL TABLES' …/query</code></nav>\n";
  out += fmt::format("<p>As of {}.</p></body></html>\n", IsoTime(status.now));
  return out;
}

}  // namespace freshet::http
