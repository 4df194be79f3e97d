#pragma once

namespace freshet::cli {

/// Runs the program: parses the command line and calls the command. Returns the exit code.
int Main(int argc, char** argv);

}  // namespace freshet::cli
