#pragma once

#include <string>

#include "verify/verify.h"

namespace freshet::verify {

/// The report as a table for people: a line each table and target, differing keys below.
std::string ToText(const Report& report);

/// The report as JSON, two spaces a level. Numbers that may pass 2^53 are strings.
std::string ToJson(const Report& report);

}  // namespace freshet::verify
