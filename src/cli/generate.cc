#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/figures.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "config/yaml_reader.h"
#include "generate/generator.h"
#include "pipeline/options.h"

namespace freshet::cli {
namespace {

constexpr int64_t kBulkTransactionRows = 1'000;

struct Arguments {
  std::string url;
  std::string config;
  std::string mix = "70:25:5";
  std::string duration;
  int64_t transaction_rows = 0;  ///< 0: what suits the schema
  bool burst = false;
  bool no_surprises = false;
  bool async_commit = false;
  generate::Options options;
};

Status ReadSource(Arguments& arguments) {
  if (arguments.url.empty() == arguments.config.empty()) {
    return Fail(ErrorKind::kConfig, "give the database either by --url or by --config");
  }
  if (arguments.config.empty()) {
    arguments.options.url = Secret(arguments.url);
    return {};
  }
  FRESHET_TRY(const pipeline::Options pipeline, pipeline::ReadOptions(arguments.config));
  arguments.options.url = pipeline.source.url;
  return {};
}

Result<generate::Mix> ParseMix(const std::string& text) {
  generate::Mix mix;
  char end = 0;
  if (std::sscanf(text.c_str(), "%lf:%lf:%lf%c", &mix.inserts, &mix.updates, &mix.deletes, &end) !=
          3 ||
      mix.inserts < 0 || mix.updates < 0 || mix.deletes < 0 ||
      mix.inserts + mix.updates + mix.deletes <= 0) {
    return Fail(ErrorKind::kConfig,
                "--mix '{}' is not INSERTS:UPDATES:DELETES, three numbers such as 70:25:5", text);
  }
  return mix;
}

Status Complete(Arguments& arguments) {
  generate::Options& options = arguments.options;
  FRESHET_RETURN_IF_ERROR(ReadSource(arguments));
  FRESHET_TRY(options.shape.mix, ParseMix(arguments.mix));
  if (!arguments.duration.empty()) {
    FRESHET_TRY(options.duration, config::ParseDuration(arguments.duration));
  }
  if (arguments.burst) options.rate = 0;
  if (arguments.transaction_rows > 0) {
    options.shape.rows = arguments.transaction_rows;
  } else if (options.schema == generate::Schema::kBench) {
    options.shape.rows = kBulkTransactionRows;
  }
  options.shape.surprises = !arguments.no_surprises;
  options.synchronous_commit = !arguments.async_commit;
  return {};
}

Result<ExitCode> Run(Arguments& arguments, const Context& context) {
  FRESHET_RETURN_IF_ERROR(Complete(arguments));
  const generate::Options& options = arguments.options;
  Progress bar(context, SystemClock());
  const auto show = [&](const generate::Progress& progress) {
    const double seconds = std::chrono::duration<double>(progress.elapsed).count();
    const double rate = seconds > 0 ? static_cast<double>(progress.rows) / seconds : 0;
    const std::string detail =
        fmt::format("{} rows  {:.0f} rows/s  {} transactions", Grouped(progress.rows), rate,
                    Grouped(progress.transactions));
    if (progress.filling) {
      bar.Update("initial rows", progress.rows, options.initial_rows, detail);
    } else {
      bar.Update("generate", progress.rows, options.rows, detail);
    }
  };
  FRESHET_TRY(const auto done, generate::Generate(options, SystemClock(), StopOnSignals(), show));
  bar.Finish();

  const double seconds = std::chrono::duration<double>(done.elapsed).count();
  if (context.output == Output::kJson) {
    const nlohmann::ordered_json out = {{"rows", std::to_string(done.rows)},
                                        {"transactions", std::to_string(done.transactions)},
                                        {"rolled_back", std::to_string(done.rolled_back)},
                                        {"conflicts", std::to_string(done.conflicts)},
                                        {"seconds", seconds}};
    context.out << out.dump(2) << '\n';
  } else {
    context.out << fmt::format(
        "{} rows in {} transactions in {:.1f} s; {} rolled back on purpose, {} conflicts\n",
        Grouped(done.rows), Grouped(done.transactions), seconds, done.rolled_back, done.conflicts);
  }
  return ExitCode::kOk;
}

}  // namespace

Action AddGenerate(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  generate::Options& options = arguments->options;
  app.add_option("--url", arguments->url, "The database: postgres:// URL or libpq keywords")
      ->option_text("URL");
  app.add_option("-c,--config", arguments->config, "The database of this configuration's source")
      ->option_text("FILE");
  app.add_option("--schema", options.schema, "Tables to make and fill")
      ->transform(CLI::CheckedTransformer(std::map<std::string, generate::Schema>{
                                              {"shop", generate::Schema::kShop},
                                              {"shipping", generate::Schema::kShipping},
                                              {"bench", generate::Schema::kBench}})
                      .description(""))
      ->option_text("shop|shipping|bench [shop]");
  app.add_option("--mode", arguments->burst, "paced: keep --rate; burst: as fast as possible")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"paced", false}, {"burst", true}})
              .description(""))
      ->option_text("paced|burst [paced]");
  app.add_option("--rate", options.rate, "Rows a second")
      ->option_text("N [10]")
      ->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows, "Stop after so many rows")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--duration", arguments->duration, "Stop after so long, as 30s or 5m")
      ->option_text("DURATION");
  app.add_option("--mix", arguments->mix, "Inserts, updates and deletes, in parts")
      ->option_text("I:U:D [70:25:5]");
  app.add_option("--transaction-rows", arguments->transaction_rows,
                 "Rows of a transaction, about; for bench 1000")
      ->option_text("N [3]")
      ->check(CLI::PositiveNumber);
  app.add_option("--initial-rows", options.initial_rows, "Fill empty tables with so many first")
      ->option_text("N [0]")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.seed, "The same seed makes the same statements")
      ->option_text("N [1]");
  app.add_flag("--no-surprises", arguments->no_surprises,
               "Without rollbacks, key changes, big and odd values");
  app.add_flag("--truncate", options.shape.truncates, "Empty a table now and then");
  app.add_flag("--async-commit", arguments->async_commit,
               "Do not wait for the server's disk at each commit");
  return [arguments](const Context& context) { return Run(*arguments, context); };
}

}  // namespace freshet::cli
