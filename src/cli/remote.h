#pragma once

#include <string>

#include "base/result.h"

namespace freshet::cli {

/// The answer of a running pipeline's HTTP server.
struct Answer {
  int status = 0;
  std::string body;
};

/// Asks `url`, as "http://127.0.0.1:8080/status". With `body`, by POST and as text/plain.
/// Errors: kUnavailable (nobody answers), kConfig (not an http URL).
Result<Answer> Ask(const std::string& url, const std::string* body = nullptr);

/// Asks by POST for a change; `json` is the body. Errors: as above.
Result<Answer> AskForChange(const std::string& url, const std::string& json);

/// The error that a problem+json answer carries.
Error ErrorOf(const Answer& answer);

/// Where a pipeline with this `http.listen` answers on this machine. Errors: kConfig (none).
Result<std::string> UrlOf(const std::string& listen);

}  // namespace freshet::cli
