#include "cli/cli.h"

#include <CLI/CLI.hpp>

namespace freshet::cli {

int Main(int argc, char** argv) {
  CLI::App app("Carries every committed change of a PostgreSQL database into lakes and warehouses");
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  return 0;
}

}  // namespace freshet::cli
