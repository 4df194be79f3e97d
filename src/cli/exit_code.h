#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace freshet::cli {

/// What the program ends with. Documented in docs/cli.md, which is made from ExitCodes(); scripts
/// rely on the numbers.
enum class ExitCode : uint8_t {
  kOk = 0,
  kFatal = 1,
  kUsage = 2,
  kNegative = 3,  ///< the command worked and its answer is no: not equal, not healthy
  kUnavailable = 4,
  kBusy = 5,
  kDenied = 6,
  kNotFound = 7,
  kUnsupported = 8,
  kMalformed = 9,
  kCorrupt = 10,
  kGap = 11,
  kNoSpace = 12,
  kIo = 13,
  kCancelled = 130,
};

/// One row of the documentation.
struct ExitCodeDoc {
  ExitCode code;
  std::string_view meaning;
  std::string_view what_to_do;
};

std::span<const ExitCodeDoc> ExitCodes();

/// The exit code of an error. The one mapping there is.
ExitCode ExitCodeOf(ErrorKind kind);

}  // namespace freshet::cli
