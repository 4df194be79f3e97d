#include "verify/verify.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/figures.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "config/yaml_reader.h"
#include "verify/report.h"

namespace freshet::cli {
namespace {

struct Arguments {
  std::string config;
  std::string deadline = "30s";
  verify::Options options;
};

Result<ExitCode> Run(Arguments& arguments, const Context& context) {
  FRESHET_TRY(const pipeline::Options pipeline, pipeline::ReadOptions(arguments.config));
  FRESHET_TRY(arguments.options.limits.deadline, config::ParseDuration(arguments.deadline));

  Progress bar(context, SystemClock());
  const auto show = [&](const verify::Progress& progress) {
    bar.Update(fmt::format("{} {}", progress.sink, progress.table), progress.rows_read,
               progress.rows_expected,
               fmt::format("{} rows read, table {} of {}", Grouped(progress.rows_read),
                           progress.tables_done + 1, progress.tables_total));
  };
  FRESHET_TRY(const verify::Report report,
              verify::Verify(pipeline, arguments.options, SystemClock(), StopOnSignals(), show));
  bar.Finish();

  if (context.output == Output::kJson) {
    context.out << verify::ToJson(report) << '\n';
  } else {
    context.out << verify::ToText(report)
                << (report.equal() ? context.style.Green("equal") : context.style.Red("different"))
                << '\n';
  }
  return report.equal() ? ExitCode::kOk : ExitCode::kNegative;
}

}  // namespace

Action AddVerify(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  AddConfigOption(app, arguments->config);
  app.add_option("--table", arguments->options.tables,
                 "Only tables that match this glob over schema.table; may be repeated")
      ->option_text("GLOB");
  app.add_option("--sink", arguments->options.sinks, "Only this sink; may be repeated")
      ->option_text("NAME");
  app.add_option("--deadline", arguments->deadline,
                 "How long keys that differ are read again, a table")
      ->option_text("DURATION [30s]");
  return [arguments](const Context& context) { return Run(*arguments, context); };
}

}  // namespace freshet::cli
