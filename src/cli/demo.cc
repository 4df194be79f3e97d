#include "cli/demo/demo.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/demo/process.h"
#include "cli/demo/standing.h"
#include "cli/demo/view.h"
#include "cli/signals.h"
#include "verify/report.h"

namespace freshet::cli {
namespace {

using nlohmann::ordered_json;

/// The story goes to standard output, or beside it when that is for a program.
demo::Screen MakeScreen(const Context& context) {
  if (context.output == Output::kJson) {
    return demo::Screen(context.err, context.redraws_progress, Style());
  }
  return demo::Screen(context.out, IsTerminal(STDOUT_FILENO), context.style);
}

void PrintOutcome(const demo::Outcome& outcome, const Context& context) {
  if (context.output == Output::kJson) {
    ordered_json sinks = ordered_json::array();
    for (const demo::SinkView& sink : outcome.sinks) {
      sinks.push_back({{"name", sink.name},
                       {"kind", sink.kind},
                       {"p50_ms", sink.p50_ms},
                       {"p95_ms", sink.p95_ms},
                       {"p99_ms", sink.p99_ms}});
    }
    const ordered_json out = {{"equal", outcome.report.equal()},
                              {"postgres_version", outcome.postgres_version},
                              {"rows_written", std::to_string(outcome.rows_written)},
                              {"transactions", std::to_string(outcome.transactions)},
                              {"recovery_seconds", outcome.recovery_seconds},
                              {"verify_seconds", outcome.verify_seconds},
                              {"total_seconds", outcome.total_seconds},
                              {"left_behind", outcome.left_behind},
                              {"sinks", std::move(sinks)},
                              {"verify", ordered_json::parse(verify::ToJson(outcome.report))}};
    context.out << out.dump(2) << '\n';
    return;
  }
  context.out << '\n' << verify::ToText(outcome.report) << '\n';
  if (outcome.report.equal()) {
    context.out << context.style.Green(
                       "EQUAL: every target holds exactly what PostgreSQL holds, row by row.")
                << '\n';
  } else {
    context.out << context.style.Red("DIFFERENT: see the keys above.") << '\n';
  }
  const bool clean = outcome.left_behind.empty();
  context.out << fmt::format("{:.0f} s in all. {}\n", outcome.total_seconds,
                             clean ? "Nothing is left behind." : outcome.left_behind)
              << fmt::format("`{} demo up` starts one that stays, to look around in.\n",
                             demo::CommandName());
}

Result<ExitCode> RunOnce(const demo::Options& options, const Context& context) {
  if (!options.s3_url.empty() && !options.s3_url.starts_with("s3://")) {
    return Fail(ErrorKind::kConfig, "--s3 '{}' must be s3://bucket or s3://bucket/prefix",
                options.s3_url);
  }
  const std::stop_token stop = StopOnSignals();
  Result<demo::Outcome> outcome = [&] {
    demo::Screen screen = MakeScreen(context);
    return demo::RunDemo(options, screen, SystemClock(), stop);
  }();
  if (!outcome.has_value()) return tl::make_unexpected(std::move(outcome).error());
  PrintOutcome(*outcome, context);
  return outcome->report.equal() ? ExitCode::kOk : ExitCode::kNegative;
}

/// Commands that look into a standing demo.
ordered_json LookAround(const demo::Standing& standing) {
  const demo::Layout& layout = standing.layout;
  const std::string config = layout.config_path();
  const std::string freshet = demo::CommandName();
  return {{"status", fmt::format("{} status -c {}", freshet, config)},
          {"query", fmt::format("{} query -c {} \"SELECT status, count(*), sum(total_amount) FROM "
                                "public.orders GROUP BY 1\"",
                                freshet, config)},
          {"verify", fmt::format("{} verify -c {}", freshet, config)},
          {"page", fmt::format("http://127.0.0.1:{}/", layout.http_port)},
          {"metrics", fmt::format("curl -s http://127.0.0.1:{}/metrics", layout.http_port)},
          {"files", fmt::format("find {} -name '*.parquet'", layout.lake_url)},
          {"psql", standing.psql},
          {"log", fmt::format("tail -f {}", layout.pipeline_output())},
          {"down", freshet + " demo down"}};
}

Result<ExitCode> RunUp(const Context& context) {
  const std::stop_token stop = StopOnSignals();
  FRESHET_TRY(const std::string folder, demo::StandingFolder());
  Result<demo::UpResult> result = [&] {
    demo::Screen screen = MakeScreen(context);
    return demo::Up(folder, screen, SystemClock(), stop);
  }();
  if (!result.has_value()) return tl::make_unexpected(std::move(result).error());
  const ordered_json commands = LookAround(result->standing);
  if (context.output == Output::kJson) {
    const ordered_json out = {
        {"was_up", result->was_up}, {"folder", folder}, {"commands", commands}};
    context.out << out.dump(2) << '\n';
    return ExitCode::kOk;
  }
  context.out << (result->was_up ? "\nThe demo is up already. " : "\nThe demo is up, and stays. ")
              << "To look at it:\n\n";
  for (const auto& [name, command] : commands.items()) {
    context.out << fmt::format("  {:<8} {}\n", name, command.get<std::string>());
  }
  context.out << '\n';
  return ExitCode::kOk;
}

Result<ExitCode> RunDown(const Context& context) {
  FRESHET_TRY(const std::string folder, demo::StandingFolder());
  Result<demo::DownResult> result = [&] {
    demo::Screen screen = MakeScreen(context);
    return demo::Down(folder, screen, SystemClock());
  }();
  if (!result.has_value()) return tl::make_unexpected(std::move(result).error());
  if (context.output == Output::kJson) {
    const ordered_json out = {{"was_up", result->was_up},
                              {"processes_stopped", result->processes_stopped}};
    context.out << out.dump(2) << '\n';
  } else if (result->was_up) {
    context.out << fmt::format("stopped {} processes and removed {}\n", result->processes_stopped,
                               folder);
  } else {
    context.out << "no demo is up\n";
  }
  return ExitCode::kOk;
}

}  // namespace

Action AddDemo(CLI::App& app) {
  auto options = std::make_shared<demo::Options>();
  app.add_option("--seconds", options->seconds, "How long traffic runs, 4 to 3600")
      ->option_text("N [30]")
      ->check(CLI::Range(4, 3600));
  app.add_option("--rate", options->rate, "Rows a second")
      ->option_text("N [300]")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options->seed, "The same seed makes the same traffic")
      ->option_text("N [1]");
  app.add_option("--s3", options->s3_url,
                 "Write the Parquet files below this s3://bucket/prefix, into a folder of the "
                 "demo's own that is removed at its end (an empty prefix may keep a marker of no "
                 "bytes); credentials as AWS's tools find them")
      ->option_text("URL");
  app.add_option("--s3-endpoint", options->s3_endpoint,
                 "An S3 server other than AWS, as http://host:port; else AWS_ENDPOINT_URL")
      ->option_text("URL")
      ->envname("AWS_ENDPOINT_URL");
  const CLI::App* up =
      app.add_subcommand("up", "Start a demo that stays, and say how to look at it")
          ->group("Commands");
  const CLI::App* down =
      app.add_subcommand("down", "Stop that demo and remove it")->group("Commands");
  app.require_subcommand(0, 1);
  return [options, up, down](const Context& context) {
    if (up->parsed()) return RunUp(context);
    if (down->parsed()) return RunDown(context);
    return RunOnce(*options, context);
  };
}

}  // namespace freshet::cli
