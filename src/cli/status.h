#pragma once

#include <string>

#include "cli/terminal.h"

namespace freshet::cli {

/// The answer of /status for people.
std::string RenderStatus(const std::string& status_json, const Style& style);

}  // namespace freshet::cli
