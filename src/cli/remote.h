#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
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

/// Where to ask: `url` without slashes at its end, or where it is empty, where the pipeline of the
/// configuration at `config` answers. Errors: kConfig, and those of reading a configuration.
Result<std::string> ServerOf(const std::string& url, const std::string& config);

/// Members of an answer's JSON. What is not there reads as empty or 0, so that a pipeline of
/// another version can still be shown. An int64 travels as text.
std::string Text(const nlohmann::json& object, const char* name);
int64_t Int(const nlohmann::json& object, const char* name);

}  // namespace freshet::cli
