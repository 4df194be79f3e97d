#include "cli/commands.h"

namespace freshet::cli {

std::span<const Command> Commands() {
  static constexpr Command kCommands[] = {
      {"demo", "Show freshet at work on a private PostgreSQL, kill it, and compare",
       "freshet demo\nfreshet demo up\nfreshet demo down", &AddDemo},
      {"generate", "Write made-up traffic into a database",
       "freshet generate --url postgres://localhost/shop --schema shop --rate 50 --duration 5m",
       &AddGenerate},
      {"verify", "Compare the source with each target, down to the differing keys",
       "freshet verify -c freshet.yaml\nfreshet verify -c freshet.yaml --table 'public.orders*'",
       &AddVerify},
      {"version", "Print the versions of freshet and of what it is built with",
       "freshet version\nfreshet version --output json", &AddVersion},
      {"docs", "Print a page of the documentation that is made from the code",
       "freshet docs cli > docs/cli.md", &AddDocs, false, true},
  };
  return kCommands;
}

}  // namespace freshet::cli
