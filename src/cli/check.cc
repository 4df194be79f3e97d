#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/figures.h"
#include "base/file_system.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "config/documenter.h"
#include "log/inspect.h"
#include "pipeline/options.h"
#include "postgres/preflight.h"

namespace freshet::cli {
namespace {

using postgres::Check;
using postgres::CheckResult;

Check Failed(std::string name, const Error& error, std::string repair = {}) {
  return {.name = std::move(name),
          .result = CheckResult::kFail,
          .what = error.message,
          .repair = std::move(repair),
          .kind = error.kind};
}

/// What the log's checks found.
struct LogFindings {
  std::vector<Check> checks;
  std::optional<postgres::ResumePoint> resume;  ///< none when it could not be read
};

/// The folder can be made and written, and no other process works in it.
Check CheckLogFolder(const std::string& folder, FileSystem& fs) {
  constexpr std::string_view kRepair = "give log.path a folder that freshet may write";
  Status tried = fs.MakeFolder(folder);
  if (tried.has_value()) tried = TryWriting(fs, folder);
  if (!tried.has_value()) {
    const bool full = tried.error().kind == ErrorKind::kNoSpace;
    return Failed("log folder", tried.error(), full ? "" : std::string(kRepair));
  }
  if (const auto lock = fs.Lock(folder + "/lock"); !lock.has_value()) {
    return Failed("log folder", lock.error());
  }
  return {.name = "log folder", .what = fmt::format("'{}' can be written", folder), .repair = {}};
}

/// Its disk holds the budget, of which the log may have used a part.
Check CheckLogDisk(const log::Options& options, int64_t size_bytes, FileSystem& fs) {
  const auto free = fs.FreeBytes(options.path);
  if (!free.has_value()) return Failed("log disk", free.error());
  Check disk{.name = "log disk",
             .what = fmt::format("{} free, log.budget is {}", HumanBytes(*free),
                                 config::FormatByteSize(options.budget)),
             .repair = {}};
  if (*free + size_bytes < options.budget.bytes) {
    disk.result = CheckResult::kWarn;
    disk.repair = "make room, or lower log.budget so that the log pauses before the disk is full";
  }
  return disk;
}

/// What the log holds, and whether it is whole as far as the heads of its records tell.
Check CheckLogContent(const Result<log::InspectReport>& report) {
  if (!report.has_value()) {
    if (report.error().kind != ErrorKind::kNotFound) return Failed("log", report.error());
    return {.name = "log", .what = "there is none yet", .repair = {}};
  }
  for (const log::SegmentReport& segment : report->segments) {
    if (segment.condition != log::SegmentCondition::kDamaged) continue;
    return Failed("log", {ErrorKind::kCorrupt, segment.damage});
  }
  return {.name = "log",
          .what = fmt::format("{} segments of {}, up to {}", report->segments.size(),
                              HumanBytes(report->size_bytes), ToString(report->end.position)),
          .repair = {}};
}

LogFindings CheckLog(const log::Options& options, FileSystem& fs) {
  LogFindings out;
  out.checks.push_back(CheckLogFolder(options.path, fs));
  if (out.checks.back().result == CheckResult::kFail) return out;
  const auto report = log::Inspect(fs, options.path, {.check_everything = false});
  out.checks.push_back(CheckLogContent(report));
  if (out.checks.back().result != CheckResult::kFail) {
    out.resume.emplace();
    if (report.has_value()) {
      out.resume->source = report->source;
      out.resume->appended = report->end.position;
    }
  }
  out.checks.push_back(CheckLogDisk(options, report.has_value() ? report->size_bytes : 0, fs));
  return out;
}

std::vector<Check> CheckSinks(const std::vector<pipeline::SinkSpec>& sinks) {
  std::vector<Check> checks;
  for (const pipeline::SinkSpec& sink : sinks) {
    const std::string name = "sink " + sink.options.name;
    if (const Status tried = sink.factory->CheckTarget(); !tried.has_value()) {
      checks.push_back(Failed(name, tried.error()));
    } else {
      checks.push_back({.name = name,
                        .what = fmt::format("the {} target can be reached", sink.kind),
                        .repair = {}});
    }
  }
  return checks;
}

std::string Colored(const Style& style, CheckResult result) {
  const std::string name(postgres::CheckResultName(result));
  switch (result) {
    case CheckResult::kOk:
      return style.Green(name);
    case CheckResult::kWarn:
      return style.Yellow(name);
    case CheckResult::kFail:
      return style.Red(name);
  }
  return name;
}

/// Columns of the table before what was found: result, name and the space between.
constexpr size_t kColumnsBeforeFound = 30;

/// What fits in the table; the whole stands below it, for checks that are not ok.
std::string Short(const std::string& text) {
  constexpr size_t kLeast = 40;
  constexpr size_t kWidthOfPipe = 120;
  const size_t width = IsTerminal(STDOUT_FILENO) ? TerminalWidth(STDOUT_FILENO) : kWidthOfPipe;
  const size_t most = std::max(kLeast + kColumnsBeforeFound, width) - kColumnsBeforeFound;
  constexpr std::string_view kCut = " ...";
  if (DisplayWidth(text) <= most) return text;
  return text.substr(0, text.rfind(' ', most - kCut.size())) + std::string(kCut);
}

void PrintText(const Context& context, const std::vector<Check>& checks) {
  size_t warnings = 0;
  size_t failures = 0;
  Table table({{""}, {"check"}, {"found"}});
  for (const Check& check : checks) {
    table.Add({Colored(context.style, check.result), check.name, Short(check.what)});
    warnings += check.result == CheckResult::kWarn ? 1 : 0;
    failures += check.result == CheckResult::kFail ? 1 : 0;
  }
  context.out << table.Render(context.style);
  if (warnings + failures > 0) context.out << "\nTo repair:\n";
  for (const Check& check : checks) {
    if (check.result == CheckResult::kOk) continue;
    context.out << fmt::format("  {}\n    {}\n", context.style.Bold(check.name), check.what);
    if (!check.repair.empty()) context.out << fmt::format("    {}\n", check.repair);
  }
  context.out << fmt::format("\n{} checks, {} warning{}, {} failed\n", checks.size(), warnings,
                             warnings == 1 ? "" : "s", failures);
}

void PrintJson(const Context& context, const std::vector<Check>& checks, bool passed) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Check& check : checks) {
    nlohmann::ordered_json one{{"name", check.name},
                               {"result", postgres::CheckResultName(check.result)},
                               {"found", check.what},
                               {"repair", check.repair}};
    if (check.result == CheckResult::kFail) one["kind"] = ErrorKindName(check.kind);
    list.push_back(std::move(one));
  }
  const nlohmann::ordered_json out{{"passed", passed}, {"checks", std::move(list)}};
  context.out << out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

Result<ExitCode> RunChecks(const std::string& config, const Context& context) {
  FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(config));
  std::vector<Check> checks{{.name = "configuration", .what = config + " is valid", .repair = {}}};
  const LogFindings log = CheckLog(options.log, LocalFileSystem());
  FRESHET_TRY(const std::vector<Check> source, postgres::RunPreflight(options.source, log.resume));
  for (const std::vector<Check>& part : {source, log.checks, CheckSinks(options.sinks)}) {
    checks.insert(checks.end(), part.begin(), part.end());
  }
  const auto failure = postgres::FirstFailure(checks);
  if (context.output == Output::kJson) {
    PrintJson(context, checks, !failure.has_value());
  } else {
    PrintText(context, checks);
  }
  return failure.has_value() ? ExitCodeOf(failure->kind) : ExitCode::kOk;
}

}  // namespace

Action AddCheck(CLI::App& app) {
  const auto config = std::make_shared<std::string>();
  AddConfigOption(app, *config);
  return [config](const Context& context) { return RunChecks(*config, context); };
}

}  // namespace freshet::cli
