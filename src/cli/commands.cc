#include "cli/commands.h"

namespace freshet::cli {

std::span<const Command> Commands() {
  static constexpr Command kCommands[] = {
      {"version", "Print the versions of freshet and of what it is built with",
       "freshet version\nfreshet version --output json", &AddVersion},
      {"docs", "Print a page of the documentation that is made from the code",
       "freshet docs cli > docs/cli.md", &AddDocs, false, true},
  };
  return kCommands;
}

}  // namespace freshet::cli
