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

struct TableFlags {
  std::string config;
  std::string url;
  std::string name;
  bool replace = false;
};

Result<ExitCode> List(const TableFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string server, ServerOf(flags.url, flags.config));
  FRESHET_TRY(const Answer answer, Ask(server + "/tables"));
  if (answer.status != 200) return Fail(ErrorOf(answer));
  const json tables = json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (!tables.is_object() || !tables.contains("tables") || !tables["tables"].is_array()) {
    return Fail(ErrorKind::kMalformed, "{} did not answer with a pipeline's tables", server);
  }
  if (context.output == Output::kJson) {
    context.out << answer.body;
    return ExitCode::kOk;
  }
  Table table({{"table"},
               {"state"},
               {"rows read", Table::Align::kRight},
               {"of its file", Table::Align::kRight},
               {"waits for"}});
  for (const json& one : tables["tables"]) {
    const int64_t size = Int(one, "bytes_estimated");
    const bool reading = one.contains("rows_copied");
    table.Add({fmt::format("{}.{}", Text(one, "schema"), Text(one, "table")), Text(one, "state"),
               reading ? Grouped(Int(one, "rows_copied")) : "",
               reading && size > 0 ? fmt::format("{} %", Int(one, "bytes_read") * 100 / size) : "",
               Text(one, "waits_for")});
  }
  context.out << table.Render(context.style);
  return ExitCode::kOk;
}

/// The body of a request: schema and table of the name, which is divided at its first dot, as the
/// configuration's patterns are.
Result<json> RequestOf(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == name.size()) {
    return Fail(ErrorKind::kConfig, "'{}' names no table; write schema.table, as in public.orders",
                name);
  }
  return json{{"schema", name.substr(0, dot)}, {"table", name.substr(dot + 1)}};
}

std::string Rendered(const json& body) {
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<ExitCode> Add(const TableFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string server, ServerOf(flags.url, flags.config));
  FRESHET_TRY(const json body, RequestOf(flags.name));
  FRESHET_TRY(const Answer answer, AskForChange(server + "/tables/add", Rendered(body)));
  if (answer.status != 202) return Fail(ErrorOf(answer));
  if (context.output == Output::kJson) {
    context.out << answer.body;
    return ExitCode::kOk;
  }
  context.out << fmt::format("{} joins; its rows are read now. See how far: freshet table list\n",
                             flags.name);
  const json said = json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (said.is_object() && said.contains("in_configuration") && said["in_configuration"] == false) {
    context.out << fmt::format(
        "The configuration does not choose it: add it to source.postgres.tables, or it is left "
        "out from the next start on.\n");
  }
  return ExitCode::kOk;
}

Result<ExitCode> Resnapshot(const TableFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string server, ServerOf(flags.url, flags.config));
  FRESHET_TRY(json body, RequestOf(flags.name));
  body["replace"] = flags.replace;
  FRESHET_TRY(const Answer answer, AskForChange(server + "/tables/resnapshot", Rendered(body)));
  if (answer.status != 202) return Fail(ErrorOf(answer));
  if (context.output == Output::kJson) {
    context.out << answer.body;
  } else {
    context.out << fmt::format(
        "the rows of {} are read once more{}. See how far: freshet table "
        "list\n",
        flags.name, flags.replace ? "; targets empty the table first" : "");
  }
  return ExitCode::kOk;
}

}  // namespace

Action AddTable(CLI::App& app) {
  const auto flags = std::make_shared<TableFlags>();
  AddConfigOption(app, flags->config);
  app.add_option("--url", flags->url, "Ask this address instead of the configuration's http.listen")
      ->option_text("URL");
  app.require_subcommand(1);
  CLI::App* list = app.add_subcommand("list", "Show the tables carried and how far each is");
  CLI::App* add = app.add_subcommand(
      "add", "Let a table join; the others go on. The configuration should name it too");
  CLI::App* again = app.add_subcommand(
      "resnapshot", "Have a table's rows read once more, and write them over those of the targets");
  again->add_flag("--replace", flags->replace,
                  "Empty the table in the targets first, so that rows go that the source has not");
  for (CLI::App* command : {add, again}) {
    command->add_option("name", flags->name, "The table, as public.orders")
        ->option_text("NAME")
        ->required();
  }
  for (CLI::App* command : {list, add, again}) command->group("Commands");
  return [flags, list, add](const Context& context) {
    if (list->parsed()) return List(*flags, context);
    return add->parsed() ? Add(*flags, context) : Resnapshot(*flags, context);
  };
}

}  // namespace freshet::cli
