#pragma once

#include <string>

#include "pipeline/status.h"

namespace freshet::http {

/// The page at /: status for people, renewed by itself, and links to the rest. No script, nothing
/// loaded from elsewhere.
std::string StatusPage(const pipeline::PipelineStatus& status);

}  // namespace freshet::http
