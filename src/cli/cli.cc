#include "cli/cli.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "cli/commands.h"
#include "http/problem.h"

namespace freshet::cli {
namespace {

constexpr std::string_view kDescription =
    "freshet carries every committed change of a PostgreSQL database into warehouses and lakes,\n"
    "exactly once.";

constexpr std::string_view kFooter =
    "`freshet COMMAND --help` has the options of a command and an example. docs/cli.md has the "
    "exit "
    "codes.";

/// Output by the name that `--output` takes.
const std::map<std::string, Output> kOutputs = {{"text", Output::kText}, {"json", Output::kJson}};
const std::map<std::string, Output> kOutputsWithCsv = {
    {"text", Output::kText}, {"json", Output::kJson}, {"csv", Output::kCsv}};

/// Lines of `text`, each behind two spaces.
std::string Indented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out += fmt::format("  {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// Options given behind `log inspect` may be those of `log`.
void FallThrough(CLI::App& app) {
  for (CLI::App* inner : app.get_subcommands({})) {
    inner->fallthrough();
    FallThrough(*inner);
  }
}

/// The parser of the whole program, and what each command does.
struct Program {
  CLI::App app{std::string(kDescription), "freshet"};
  Output output = Output::kText;
  std::map<const CLI::App*, Action> actions;
};

void AddCommand(Program& program, const Command& command) {
  CLI::App& app =
      *program.app.add_subcommand(std::string(command.name), std::string(command.summary));
  const Action action = command.add(app);
  const auto& outputs = command.csv ? kOutputsWithCsv : kOutputs;
  app.add_option("--output", program.output, "How to print the result")
      ->transform(CLI::CheckedTransformer(outputs).description(""))
      ->option_text(command.csv ? "text|json|csv" : "text|json");
  FallThrough(app);
  app.footer("Example:\n" + Indented(command.example));
  app.group(command.hidden ? "" : "Commands");
  program.actions[&app] = action;
}

std::unique_ptr<Program> MakeProgram() {
  auto program = std::make_unique<Program>();
  program->app.get_formatter()->column_width(28);
  program->app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  program->app.footer(std::string(kFooter));
  program->app.require_subcommand(1);
  for (const Command& command : Commands()) AddCommand(*program, command);
  return program;
}

void PrintError(const Context& context, const Error& error) {
  if (context.output == Output::kJson) context.out << http::ProblemJson(error) << std::flush;
  // Several errors, as of a configuration, stand one a line below each other.
  const bool lines = error.message.find('\n') != std::string::npos;
  context.err << "freshet: " << (lines ? "\n" : "") << error.message << std::endl;
}

int Fails(const Context& context, const Error& error) {
  PrintError(context, error);
  return static_cast<int>(ExitCodeOf(error.kind));
}

/// What is wrong with a command's name, which the parser would call a missing command.
std::string RejectName(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return "no command given; see freshet --help";
  if (arguments.front().starts_with("-")) return {};
  std::string names;
  for (const Command& command : Commands()) {
    if (command.name == arguments.front()) return {};
    if (!command.hidden) names += fmt::format("{}{}", names.empty() ? "" : ", ", command.name);
  }
  return fmt::format("there is no command '{}'; there are: {}", arguments.front(), names);
}

}  // namespace

int RunCommandLine(const std::vector<std::string>& arguments, Context context) {
  if (arguments == std::vector<std::string>{"--version"}) {
    return RunCommandLine({"version"}, context);
  }
  if (const std::string why = RejectName(arguments); !why.empty()) {
    return Fails(context, {ErrorKind::kConfig, why});
  }
  const auto program = MakeProgram();
  try {
    program->app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& wanted) {  // --help
    program->app.exit(wanted, context.out, context.err);
    return 0;
  } catch (const CLI::ParseError& wrong) {
    const auto chosen = program->app.get_subcommands();
    const std::string command = chosen.empty() ? "" : " " + chosen.front()->get_name();
    return Fails(context, {ErrorKind::kConfig,
                           fmt::format("{}; see freshet{} --help", wrong.what(), command)});
  }
  context.output = program->output;
  const Action& action = program->actions.at(program->app.get_subcommands().front());
  const Result<ExitCode> result = action(context);
  context.out.flush();
  if (!result.has_value()) return Fails(context, result.error());
  if (!context.out) {
    return Fails(context, {ErrorKind::kIo, "cannot write the result to standard output"});
  }
  return static_cast<int>(*result);
}

void ForEachCommand(const std::function<void(const Command&, const CLI::App&)>& visit) {
  const auto program = MakeProgram();
  for (const Command& command : Commands()) {
    if (!command.hidden) visit(command, *program->app.get_subcommand(std::string(command.name)));
  }
}

int Main(int argc, char** argv) {
  const Context context{.out = std::cout,
                        .err = std::cerr,
                        .style = Style::For(STDOUT_FILENO),
                        .redraws_progress = IsTerminal(STDERR_FILENO)};
  try {
    return RunCommandLine({argv + 1, argv + argc}, context);
  } catch (const std::exception& e) {  // a library's; ours are Results
    return Fails(context, {ErrorKind::kFatal, fmt::format("unexpected error: {}", e.what())});
  }
}

}  // namespace freshet::cli
