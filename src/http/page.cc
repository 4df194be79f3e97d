#include "http/page.h"

#include <fmt/format.h>

#include <string_view>

#include "base/figures.h"
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
th.k { width: 14rem } nav { margin-top: 1.6rem } nav a { margin-right: 1rem } .note { opacity: .7; font-size: .9em }
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
  return fmt::format("<tr><th class=k>{}</th><td>{}</td></tr>\n", name, html);
}

/// "2026-11-21 11:51:28 UTC".
std::string Time(UnixMicros time) {
  if (time == 0) return "-";
  const std::string iso = IsoTime(time);
  return fmt::format("{} {} UTC", iso.substr(0, 10), iso.substr(11, 8));
}

/// Three cells of a table: p50, p95, p99.
std::string Quantiles(const pipeline::LatencySummary& latency) {
  std::string out;
  for (const int64_t micros : {latency.p50_micros, latency.p95_micros, latency.p99_micros}) {
    out += fmt::format("<td class=n>{}</td>", latency.count == 0 ? "-" : HumanDuration(micros));
  }
  return out;
}

std::string SourceTable(const PipelineStatus& status) {
  const postgres::CaptureStatus& capture = status.capture;
  std::string state(postgres::CaptureStateName(capture.state));
  if (!capture.reason.empty()) state += ": " + capture.reason;
  std::string out = "<h2>Source</h2><table>\n";
  out += Row("health", Badge(status.capture_health));
  out += Row("state", fmt::format("{} since {}", Escaped(state), Time(capture.since)));
  if (status.source.has_value()) {
    std::string slot = status.source->slot;
    if (capture.slot_retained_bytes >= 0) {
      slot += fmt::format(", holds back {} of WAL", HumanBytes(capture.slot_retained_bytes));
    }
    out += Row("database", Escaped(status.source->database));
    out += Row("slot", Escaped(slot));
  }
  out += Row("received", fmt::format("{}, acknowledged {}", ToString(capture.received),
                                     ToString(capture.acknowledged)));
  out += Row("rows", fmt::format("{} in {} transactions", Grouped(capture.rows_total),
                                 Grouped(capture.transactions_total)));
  out += Row("newest commit", Time(capture.last_commit_time));
  if (capture.running.transactions > 0) {
    out += Row(
        "running transactions",
        fmt::format("{}, the largest {}, the oldest since {}", capture.running.transactions,
                    HumanBytes(capture.running.largest_bytes), Time(capture.running.oldest_since)));
  }
  return out + "</table>\n";
}

/// Tables that the page names; the others are counted.
constexpr size_t kMostTablesShown = 200;

/// Shown while rows of tables are read. Finished tables are counted only.
std::string SnapshotSection(const postgres::CaptureStatus& capture) {
  std::string rows;
  size_t unfinished = 0;
  for (const postgres::SnapshotTable& table : capture.snapshot) {
    if (table.state == postgres::SnapshotState::kFinished) continue;
    if (++unfinished > kMostTablesShown) continue;
    const std::string left =
        table.seconds_left < 0 ? "" : HumanDuration(table.seconds_left * 1'000'000);
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=n>{}</td><td class=n>{} of {}</td><td class=n>{}</td>"
        "<td class=n>{}</td><td>{}</td></tr>\n",
        Escaped(ToString(table.name)), postgres::SnapshotStateName(table.state),
        Grouped(table.rows_copied), HumanBytes(table.bytes_read), HumanBytes(table.bytes_estimated),
        Grouped(table.rows_per_second), left, Escaped(table.waits_for));
  }
  if (unfinished == 0) return {};
  return fmt::format(
      "<h2>Snapshot</h2><p>{} of {} tables to do</p><table>\n<tr><th>table</th><th>state</th>"
      "<th class=n>rows</th><th class=n>read</th><th class=n>rows/s</th><th class=n>left</th>"
      "<th>waits for</th></tr>\n{}</table>\n",
      unfinished, capture.snapshot.size(), rows);
}

std::string LogTable(const PipelineStatus& status) {
  std::string out = "<h2>Log</h2><table>\n";
  out += Row("health", Badge(status.log_health));
  out += Row("durable", ToString(status.log.durable.position));
  out += Row("size", fmt::format("{} of {} in {} segment{}", HumanBytes(status.log.size_bytes),
                                 HumanBytes(status.log.budget_bytes), status.log.segments,
                                 status.log.segments == 1 ? "" : "s"));
  return out + "</table>\n";
}

std::string SinkTable(const PipelineStatus& status) {
  std::string out =
      "<h2>Sinks</h2><table>\n<tr><th>name</th><th>kind</th><th>mode</th><th>health</th>"
      "<th>state</th><th class=n>rows</th><th class=n>lag</th><th class=n>p50</th>"
      "<th class=n>p95</th><th class=n>p99</th></tr>\n";
  for (const SinkStatus& sink : status.sinks) {
    out += fmt::format(
        "<tr><td title=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td class=n>{}</td><td class=n>{}</td>{}</tr>\n",
        Escaped(sink.description.target), Escaped(sink.name), Escaped(sink.description.kind),
        sink.mode == sink::WriteMode::kUpsert ? "upsert" : "append", Badge(sink.health),
        pipeline::SinkStateName(sink.state), Grouped(sink.rows_total),
        sink.lag_micros == 0 ? "-" : HumanDuration(sink.lag_micros), Quantiles(sink.latency));
  }
  out += fmt::format(
      "<tr><td>log</td><td colspan=6></td>{}</tr>\n</table>\n"
      "<p class=note>p50, p95, p99: from the commit in the source to durable in the target, or to "
      "its place in the log.</p>\n",
      Quantiles(status.log_latency));
  return out;
}

}  // namespace

std::string StatusPage(const PipelineStatus& status) {
  std::string out(kHead);
  out += fmt::format("<h1>freshet {}</h1>\n<p>{}</p>\n", Escaped(status.version),
                     Badge(status.health));
  out +=
      SinkTable(status) + SnapshotSection(status.capture) + SourceTable(status) + LogTable(status);
  out +=
      "<nav><a href=\"/status\">status</a><a href=\"/healthz\">health</a>"
      "<a href=\"/metrics\">metrics</a><a href=\"/query?sql=SHOW%20ALL%20TABLES\">tables</a>"
      "</nav>\n";
  out += fmt::format(
      "<p class=note>As of {}, running since {}; renewed every 5 s.</p></body></html>\n",
      Time(status.now), Time(status.started));
  return out;
}

}  // namespace freshet::http
