#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace CLI {
class App;
}

namespace freshet::cli {

struct Command;

/// Runs the program: parses the command line and calls the command. Returns the exit code.
int Main(int argc, char** argv);

/// The same with streams of the caller's: `arguments` without the program's name.
int RunCommandLine(const std::vector<std::string>& arguments, Context context);

/// Calls `visit` with every command that is shown and its parser, for the documentation.
void ForEachCommand(const std::function<void(const Command&, const CLI::App&)>& visit);

}  // namespace freshet::cli
