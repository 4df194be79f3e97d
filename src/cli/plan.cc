#include "plan/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "base/file_system.h"
#include "cli/commands.h"
#include "cli/signals.h"

namespace freshet::cli {
namespace {

using nlohmann::ordered_json;

struct PlanFlags {
  std::string config;
  std::string ddl;
  std::string file;
};

Result<std::string> ReadSql(const PlanFlags& flags) {
  if (flags.file.empty()) return flags.ddl;
  if (flags.file == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  FRESHET_TRY(const auto file, LocalFileSystem().OpenForReading(flags.file));
  FRESHET_TRY(const int64_t size, file->SizeBytes());
  std::string sql(static_cast<size_t>(size), '\0');
  FRESHET_TRY(const size_t got, file->ReadAt(0, std::as_writable_bytes(std::span(sql))));
  sql.resize(got);
  return sql;
}

bool IsBad(const plan::Effect& effect) {
  return effect.harms || std::any_of(effect.sinks.begin(), effect.sinks.end(),
                                     [](const plan::SinkStep& step) { return step.stops; });
}

/// Empty where the statement concerns no table.
std::string TableOf(const plan::Effect& effect) {
  return effect.table == change::TableName{} ? "" : change::ToString(effect.table);
}

void PrintText(const Context& context, const std::vector<plan::Effect>& effects) {
  const Style& style = context.style;
  for (const plan::Effect& effect : effects) {
    const std::string table = TableOf(effect);
    context.out << style.Bold(table.empty() ? effect.what : table + ": " + effect.what) << '\n';
    for (const std::string& sentence : effect.source) {
      context.out << fmt::format("  {}: {}\n", effect.harms ? style.Red("source") : "source",
                                 sentence);
    }
    for (const plan::SinkStep& step : effect.sinks) {
      const std::string name = fmt::format("{} ({})", step.sink, step.kind);
      if (step.steps.empty()) context.out << fmt::format("  {}: nothing\n", name);
      for (const std::string& line : step.steps) {
        context.out << fmt::format("  {}: {}{}\n", step.stops ? style.Red(name) : name,
                                   step.stops ? "stops. " : "", line);
      }
    }
  }
}

void PrintJson(const Context& context, const std::vector<plan::Effect>& effects) {
  ordered_json list = ordered_json::array();
  for (const plan::Effect& effect : effects) {
    ordered_json sinks = ordered_json::array();
    for (const plan::SinkStep& step : effect.sinks) {
      sinks.push_back(
          {{"sink", step.sink}, {"kind", step.kind}, {"stops", step.stops}, {"steps", step.steps}});
    }
    list.push_back({{"sql", effect.sql},
                    {"table", TableOf(effect)},
                    {"carried", effect.carried},
                    {"what", effect.what},
                    {"harms", effect.harms},
                    {"source", effect.source},
                    {"sinks", std::move(sinks)}});
  }
  const bool safe = std::none_of(effects.begin(), effects.end(), IsBad);
  const ordered_json out{{"safe", safe}, {"effects", std::move(list)}};
  context.out << out.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

Result<ExitCode> Plan(const PlanFlags& flags, const Context& context) {
  FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(flags.config));
  FRESHET_TRY(const std::string sql, ReadSql(flags));
  FRESHET_TRY(const auto effects, plan::PlanDdl(options, sql, StopOnSignals()));
  if (context.output == Output::kJson) {
    PrintJson(context, effects);
  } else {
    PrintText(context, effects);
  }
  return std::any_of(effects.begin(), effects.end(), IsBad) ? ExitCode::kNegative : ExitCode::kOk;
}

}  // namespace

Action AddPlan(CLI::App& app) {
  const auto flags = std::make_shared<PlanFlags>();
  AddConfigOption(app, flags->config);
  auto* const source = app.add_option_group("statements");
  source->add_option("--ddl", flags->ddl, "The statements, divided by semicolons")
      ->option_text("SQL");
  source->add_option("--file", flags->file, "Read them from a file; - is the standard input")
      ->option_text("FILE");
  source->require_option(1);
  return [flags](const Context& context) { return Plan(*flags, context); };
}

}  // namespace freshet::cli
