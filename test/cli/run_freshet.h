#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.h"

namespace freshet::cli {

/// What a command line printed, and its exit code.
struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

/// Runs a command line within the test. `arguments` as behind the program's name.
inline Outcome RunFreshet(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunCommandLine(arguments, Context{.out = out, .err = err});
  return {code, out.str(), err.str()};
}

}  // namespace freshet::cli
