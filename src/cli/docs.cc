#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/cli.h"
#include "cli/commands.h"
#include "config/documenter.h"
#include "pipeline/options.h"

namespace freshet::cli {
namespace {

constexpr std::string_view kConfigurationHead =
    R"(<!-- Made by `freshet docs configuration`; change src/*/options.cc, not this page. -->
# Configuration

One YAML file describes one pipeline; `freshet run -c FILE` runs it, `freshet check -c FILE` says what is wrong with it and
with the world around it, all at once and by line. Files to begin with: [examples/](../examples/).

- **Durations** carry their unit: `250ms`, `1s`, `5m`, `12h`, `7d`. **Sizes** too: `4096`, `64KiB`, `10GiB` (powers of 1024),
  `1MB`, `1GB` (powers of 1000).
- A **list** of one may be written without brackets.
- `${env:NAME}` and `${file:/path}` inside any value are replaced by the environment variable, or by the file's content without
  its last line break. Use them for every **secret**: secrets are never printed, logged or shown over HTTP.
- Relative paths begin at the folder in which freshet was started.
- An unknown key is an error.

## The file

)";

constexpr std::string_view kCommandsHead =
    R"(<!-- Made by `freshet docs cli`; change src/cli, not this page. -->
# Commands

Results go to standard output, errors and progress to standard error. `--output json` prints one JSON document, an error as
[problem details](https://www.rfc-editor.org/rfc/rfc9457). Colours only on a terminal, never when `NO_COLOR` is set.
`SIGINT` (Ctrl-C) and `SIGTERM` stop `run` gracefully: sinks flush, the source is told, exit 0. A second one ends it at once.

## Exit codes

| code | meaning | what to do |
|---|---|---|
)";

std::string Configuration() {
  pipeline::Options options;
  return std::string(kConfigurationHead) +
         config::DocumentKeys([&](config::Binder& binder) { pipeline::Bind(binder, options); });
}

/// `|` ends a cell of a Markdown table.
std::string EscapeBars(std::string text) {
  for (size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) {
    text.insert(at, "\\");
  }
  return text;
}

/// Rows of a table of options; empty when there are none but --help.
std::string DescribeOptions(const CLI::App& app) {
  std::string rows;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames() == std::vector<std::string>{"help"}) continue;
    const std::string& text = option->get_option_text();
    std::string usage = option->get_name(true, true);
    const std::string type = text.empty() ? option->get_type_name() : text;
    if (!type.empty()) usage += " " + type;
    rows += fmt::format("| `{}` | {} |\n", EscapeBars(usage), option->get_description());
  }
  return rows;
}

void DescribeCommand(const std::string& name, const CLI::App& app, std::string& out) {
  const auto inner = app.get_subcommands([](const CLI::App*) { return true; });
  out += fmt::format("\n## freshet {}\n\n{}.\n", name, app.get_description());
  const std::string rows = DescribeOptions(app);
  if (!rows.empty()) out += "\n| option | |\n|---|---|\n" + rows;
  for (const CLI::App* command : inner) {
    DescribeCommand(fmt::format("{} {}", name, command->get_name()), *command, out);
  }
}

std::string CommandLine() {
  std::string out(kCommandsHead);
  for (const ExitCodeDoc& doc : ExitCodes()) {
    out +=
        fmt::format("| {} | {} | {} |\n", static_cast<int>(doc.code), doc.meaning, doc.what_to_do);
  }
  ForEachCommand([&](const Command& command, const CLI::App& app) {
    DescribeCommand(std::string(command.name), app, out);
    out += fmt::format("\n```console\n{}\n```\n", command.example);
  });
  return out;
}

}  // namespace

Action AddDocs(CLI::App& app) {
  const auto page = std::make_shared<std::string>();
  app.add_option("PAGE", *page, "Which page")
      ->required()
      ->check(CLI::IsMember({"cli", "configuration"}));
  return [page](const Context& context) -> Result<ExitCode> {
    context.out << (*page == "cli" ? CommandLine() : Configuration());
    return ExitCode::kOk;
  };
}

}  // namespace freshet::cli
