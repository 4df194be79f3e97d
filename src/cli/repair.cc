#include "pipeline/repair.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file_system.h"
#include "cli/commands.h"
#include "cli/signals.h"
#include "log/inspect.h"
#include "postgres/preflight.h"

namespace freshet::cli {
namespace {

using nlohmann::ordered_json;

struct RepairFlags {
  std::string config;
  bool confirm = false;
  bool force = false;
};

/// What stands between a pipeline and its next run.
struct Finding {
  std::optional<postgres::Check> gap;   ///< the log cannot be continued; this command cures it
  std::optional<Error> something_else;  ///< wrong, and cured otherwise
};

/// The names of the checks that say whether the stream goes on where the log ends.
bool IsOfTheStream(const postgres::Check& check) {
  return check.name == "continuity" || check.name == "slot";
}

Result<Finding> Look(const pipeline::Options& options, std::stop_token stop) {
  FRESHET_TRY(const log::InspectReport log,
              log::Inspect(LocalFileSystem(), options.log.path, {.check_everything = false}));
  postgres::ResumePoint resume;
  resume.source = log.source;
  resume.appended = log.end.position;
  FRESHET_TRY(const auto checks, postgres::RunPreflight(options.source, resume, stop));
  Finding out;
  for (const postgres::Check& check : checks) {
    if (check.result != postgres::CheckResult::kFail) continue;
    if (IsOfTheStream(check) && check.kind == ErrorKind::kGap) {
      if (!out.gap.has_value()) out.gap = check;
    } else if (!out.something_else.has_value()) {
      out.something_else =
          Error{check.kind,
                fmt::format("{}{}{}", check.what, check.repair.empty() ? "" : "; ", check.repair)};
    }
  }
  return out;
}

void Print(const Context& context, const ordered_json& json, const std::string& text) {
  if (context.output == Output::kJson) {
    context.out << json.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
  } else {
    context.out << text;
  }
}

Result<ExitCode> Repair(const RepairFlags& flags, const Context& context) {
  FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(flags.config));
  const std::stop_token stop = StopOnSignals();
  FRESHET_TRY(const Finding found, Look(options, stop));
  if (found.something_else.has_value()) return Fail(*found.something_else);
  if (!found.gap.has_value() && !flags.force) {
    Print(context, {{"state", "ok"}}, "the stream goes on where the log ends: nothing to repair\n");
    return ExitCode::kOk;
  }
  const std::string what =
      found.gap.has_value() ? found.gap->what : "nothing is found wrong (--force)";
  if (!flags.confirm) {
    Print(
        context, {{"state", "gap"}, {"found", what}, {"repaired", false}},
        fmt::format("{}: {}\n\nTo repair, with --confirm: slot '{}' is dropped and made anew, and "
                    "the next run empties every\ntable in the targets and reads it again. The "
                    "log keeps what it holds.\n",
                    context.style.Bold("gap"), what, options.source.slot));
    return ExitCode::kNegative;
  }
  FRESHET_TRY(const pipeline::GapReport report,
              pipeline::BridgeGap(options, LocalFileSystem(), SystemClock(), stop));
  Print(
      context,
      {{"state", "gap"},
       {"found", what},
       {"repaired", true},
       {"changes_missing_after", ToString(report.log_ended)},
       {"changes_missing_before", ToString(report.goes_on)},
       {"tables", std::to_string(report.tables)}},
      fmt::format("{}: {}\nslot '{}' is made anew; changes after {} and before {} are in no log\n"
                  "start the pipeline: it reads {} table{} anew\n",
                  context.style.Bold("gap"), what, options.source.slot, ToString(report.log_ended),
                  ToString(report.goes_on), report.tables, report.tables == 1 ? "" : "s"));
  return ExitCode::kOk;
}

}  // namespace

Action AddRepair(CLI::App& app) {
  const auto flags = std::make_shared<RepairFlags>();
  AddConfigOption(app, flags->config);
  app.add_flag("--confirm", flags->confirm, "Do it, rather than say what would be done");
  app.add_flag("--force", flags->force,
               "Though nothing is found wrong: changes are known to be lost (the publication was "
               "made anew, say)");
  return [flags](const Context& context) { return Repair(*flags, context); };
}

}  // namespace freshet::cli
