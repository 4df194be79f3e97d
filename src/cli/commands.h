#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/context.h"
#include "cli/exit_code.h"

namespace CLI {
class App;
}

namespace freshet::cli {

/// What a command does once the command line is read.
using Action = std::function<Result<ExitCode>(const Context&)>;

/// One command. To add one: its file `<name>.cc` with an Add function, and a row in commands.cc.
struct Command {
  std::string_view name;
  std::string_view summary;  ///< one line
  std::string_view example;  ///< shown at the end of --help and in docs/cli.md, a command a line

  /// Declares options and positionals on the command's own `app` and returns what runs it. Strings
  /// that options write into live in the returned action (a shared struct). `--output` is declared
  /// for every command already.
  Action (*add)(CLI::App& app);

  bool csv = false;     ///< takes --output csv too
  bool hidden = false;  ///< not in --help or docs/cli.md
};

/// Every command there is, in the order of --help.
std::span<const Command> Commands();

Action AddCheck(CLI::App& app);
Action AddDemo(CLI::App& app);
Action AddDocs(CLI::App& app);
Action AddGenerate(CLI::App& app);
Action AddLog(CLI::App& app);
Action AddPlan(CLI::App& app);
Action AddQuery(CLI::App& app);
Action AddRepair(CLI::App& app);
Action AddRun(CLI::App& app);
Action AddStatus(CLI::App& app);
Action AddTable(CLI::App& app);
Action AddVerify(CLI::App& app);
Action AddVersion(CLI::App& app);

/// Declares `-c, --config FILE` with the default `freshet.yaml`; the path is written to `path`.
void AddConfigOption(CLI::App& app, std::string& path);

}  // namespace freshet::cli
