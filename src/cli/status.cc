#include "cli/status.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/figures.h"
#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/table.h"

namespace freshet::cli {
namespace {

using nlohmann::json;

struct StatusFlags {
  std::string config;
  std::string url;
};

const json& Inner(const json& object, const char* name) {
  static const json kEmpty = json::object();
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : kEmpty;
}

std::string Health(const Style& style, const json& part) {
  const std::string health = Text(Inner(part, "health"), "health");
  if (health == "ok") return style.Green(health);
  return health == "degraded" ? style.Yellow(health) : style.Red(health);
}

/// What a sink does, in the colour of its health; a health that is not ok in words, too.
std::string State(const Style& style, const json& sink) {
  const std::string state = Text(sink, "state");
  const std::string health = Text(Inner(sink, "health"), "health");
  if (health == "ok") return style.Green(state);
  const std::string text = fmt::format("{} ({})", state, health);
  return health == "degraded" ? style.Yellow(text) : style.Red(text);
}

/// "2026-11-21T11:51:28.123456Z" -> "2026-11-21 11:51:28 UTC".
std::string Time(const std::string& iso) {
  return iso.size() < 19 ? "-" : fmt::format("{} {} UTC", iso.substr(0, 10), iso.substr(11, 8));
}

std::string Quantile(const json& latency, const char* name) {
  return Int(latency, "count") == 0 ? "-" : HumanDuration(Int(latency, name));
}

std::string Line(std::string_view name, std::string_view text) {
  return fmt::format("  {:<15}{}\n", name, text);
}

void ShowSource(const json& status, const Style& style, std::string& out) {
  const json& source = Inner(status, "source");
  const json& slot = Inner(status, "slot");
  out += fmt::format("\n{}  {}\n", style.Bold("source"), Health(style, source));
  const std::string why = Text(source, "state_reason");
  out += Line("state", fmt::format("{} since {}{}{}", Text(source, "state"),
                                   Time(Text(source, "since")), why.empty() ? "" : ": ", why));
  const std::string database = Text(Inner(source, "identity"), "database");
  if (!database.empty()) {
    const std::string retained =
        slot.contains("retained_bytes") && slot["retained_bytes"].is_string()
            ? ", holds back " + HumanBytes(Int(slot, "retained_bytes"))
            : "";
    out += Line("database", database);
    out +=
        Line("slot", fmt::format("{} ({}{})", Text(slot, "name"), Text(slot, "state"), retained));
  }
  out += Line("received", fmt::format("{}, acknowledged {}", Text(source, "received_lsn"),
                                      Text(source, "acknowledged_lsn")));
  out += Line("rows", fmt::format("{} in {} transactions", Grouped(Int(source, "rows_total")),
                                  Grouped(Int(source, "transactions_total"))));
  out += Line("newest commit", Time(Text(source, "last_commit_time")));
}

void ShowSnapshot(const json& status, const Style& style, std::string& out) {
  const auto found = status.find("snapshot");
  if (found == status.end() || !found->is_array() || found->empty()) return;
  using Align = Table::Align;
  Table table({{"table"},
               {"state"},
               {"rows", Align::kRight},
               {"read", Align::kRight},
               {"of", Align::kRight},
               {"rows/s", Align::kRight},
               {"left", Align::kRight}});
  size_t unfinished = 0;
  std::string waiting;
  for (const json& one : *found) {
    if (Text(one, "state") == "finished") continue;
    ++unfinished;
    const std::string left = Text(one, "seconds_left").empty()
                                 ? "-"
                                 : HumanDuration(Int(one, "seconds_left") * 1'000'000);
    table.Add({Text(one, "table"), Text(one, "state"), Grouped(Int(one, "rows_copied")),
               HumanBytes(Int(one, "bytes_read")), HumanBytes(Int(one, "bytes_estimated")),
               Grouped(Int(one, "rows_per_second")), left});
    if (const std::string why = Text(one, "why"); !why.empty()) {
      waiting += fmt::format("  {} is read again: {}\n", Text(one, "table"), why);
    }
    if (const std::string why = Text(one, "waits_for"); !why.empty()) {
      waiting += fmt::format("  {} waits: {}\n", Text(one, "table"), why);
    }
  }
  if (unfinished == 0) return;
  out += fmt::format("\n{}  {} of {} tables to do\n", style.Bold("snapshot"), unfinished,
                     found->size());
  out += table.Render(style, 2) + waiting;
}

void ShowLog(const json& status, const Style& style, std::string& out) {
  const json& log = Inner(status, "log");
  const json& latency = Inner(Inner(status, "latency"), "commit_to_log");
  out += fmt::format("\n{}  {}\n", style.Bold("log"), Health(style, log));
  out += Line("durable", Text(log, "durable_position"));
  out += Line("size", fmt::format("{} of {} in {} segment{}", HumanBytes(Int(log, "size_bytes")),
                                  HumanBytes(Int(log, "budget_bytes")), Int(log, "segments"),
                                  Int(log, "segments") == 1 ? "" : "s"));
  out += Line("commit to log",
              fmt::format("p50 {}, p95 {}, p99 {}", Quantile(latency, "p50_micros"),
                          Quantile(latency, "p95_micros"), Quantile(latency, "p99_micros")));
}

void ShowSinks(const json& status, const Style& style, std::string& out) {
  using Align = Table::Align;
  const auto sinks = status.find("sinks");
  if (sinks == status.end() || !sinks->is_array()) return;
  Table table({{"name"},
               {"kind"},
               {"mode"},
               {"state"},
               {"rows", Align::kRight},
               {"lag", Align::kRight},
               {"p50", Align::kRight},
               {"p95", Align::kRight},
               {"p99", Align::kRight}});
  for (const json& sink : *sinks) {
    const json& latency = Inner(Inner(sink, "latency"), "commit_to_durable");
    table.Add({Text(sink, "name"), Text(sink, "kind"), Text(sink, "mode"), State(style, sink),
               Grouped(Int(sink, "rows_total")),
               Int(sink, "lag_micros") == 0 ? "-" : HumanDuration(Int(sink, "lag_micros")),
               Quantile(latency, "p50_micros"), Quantile(latency, "p95_micros"),
               Quantile(latency, "p99_micros")});
  }
  out += fmt::format("\n{}  {}\n", style.Bold("sinks"),
                     style.Dim("(p50, p95, p99: commit to durable in the target)"));
  out += table.Render(style, 2);
}

/// Why a part is not ok, a line each.
void ShowReasons(const json& status, const Style& style, std::string& out) {
  std::string reasons;
  const auto add = [&](const std::string& part, const json& of) {
    const json& health = Inner(of, "health");
    if (Text(health, "health") == "ok" || Text(health, "reason").empty()) return;
    reasons += fmt::format("  {}: {} (since {})\n", part, Text(health, "reason"),
                           Time(Text(health, "since")));
  };
  add("source", Inner(status, "source"));
  add("log", Inner(status, "log"));
  const auto sinks = status.find("sinks");
  if (sinks != status.end() && sinks->is_array()) {
    for (const json& sink : *sinks) add("sink " + Text(sink, "name"), sink);
  }
  if (!reasons.empty()) out += fmt::format("\n{}\n{}", style.Bold("attention"), reasons);
}

Result<ExitCode> ShowStatus(const StatusFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string url, ServerOf(flags.url, flags.config));
  FRESHET_TRY(const Answer answer, Ask(url + "/status"));
  if (answer.status != 200) return Fail(ErrorOf(answer));
  const json status = json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (!status.is_object()) {
    return Fail(ErrorKind::kMalformed, "{} did not answer with a pipeline's status", url);
  }
  if (context.output == Output::kJson) {
    context.out << answer.body;
  } else {
    context.out << RenderStatus(answer.body, context.style);
  }
  return Text(Inner(status, "health"), "health") == "failing" ? ExitCode::kNegative : ExitCode::kOk;
}

}  // namespace

std::string RenderStatus(const std::string& status_json, const Style& style) {
  const json status = json::parse(status_json, nullptr, /*allow_exceptions=*/false);
  std::string out =
      fmt::format("{}  {}, running since {}\n", style.Bold("freshet " + Text(status, "version")),
                  Health(style, status), Time(Text(status, "started")));
  ShowSource(status, style, out);
  ShowSnapshot(status, style, out);
  ShowLog(status, style, out);
  ShowSinks(status, style, out);
  ShowReasons(status, style, out);
  return out;
}

Action AddStatus(CLI::App& app) {
  const auto flags = std::make_shared<StatusFlags>();
  AddConfigOption(app, flags->config);
  app.add_option("--url", flags->url, "Ask this address instead of the configuration's http.listen")
      ->option_text("URL");
  return [flags](const Context& context) { return ShowStatus(*flags, context); };
}

}  // namespace freshet::cli
