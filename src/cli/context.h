#pragma once

#include <cstdint>
#include <ostream>

#include "cli/terminal.h"

namespace freshet::cli {

/// How a command prints its result.
enum class Output : uint8_t {
  kText,  ///< for people
  kJson,  ///< for programs: one JSON document on standard output, errors included
  kCsv,   ///< rows of `query` only
};

/// What a command prints to.
struct Context {
  std::ostream& out;  ///< the result, and nothing else
  std::ostream& err;  ///< errors and progress
  Output output = Output::kText;
  Style style{};                  ///< of `out`
  bool redraws_progress = false;  ///< `err` is a terminal
};

}  // namespace freshet::cli
