#pragma once

#include <string>

#include "base/result.h"

namespace freshet::http {

/// The HTTP status of an error: whose fault it is, and whether trying again may help.
int HttpStatusOf(ErrorKind kind);

/// An error as problem details: type, title, status, detail, and freshet's `kind`. The command line
/// prints the same under `--output json`.
/// Source: RFC 9457.
std::string ProblemJson(const Error& error);

inline constexpr const char* kProblemContentType = "application/problem+json";

}  // namespace freshet::http
