#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace freshet::postgres {

/// What libpq or the server said about one failure.
struct ServerFailure {
  std::string sqlstate;  ///< five characters; empty when the failure is the client's or the wire's
  std::string message;   ///< primary message, without severity
  std::string detail;
  std::string hint;
};

/// Turns a failure of PostgreSQL or libpq into our error: a kind, and a message that names cause
/// and repair. The only place that does.
///
/// Errors by class: 08, 57P0x, 40 and lost connections kUnavailable; 55006, 53300 kBusy; 28, 42501
/// kDenied; missing objects kNotFound; 53400, 25006, wrong TLS files kConfig; 58P01 kGap;
/// 0A000, encodings and values too large for text kUnsupported; the rest kFatal.
/// Source: PostgreSQL manual, "PostgreSQL Error Codes".
Error FromServer(const ServerFailure& failure);

/// Splits what libpq says when a connection cannot be made, "...FATAL:  28P01: password ...", into
/// its parts. Needs PQERRORS_VERBOSE.
ServerFailure ParseConnectFailure(std::string_view text);

}  // namespace freshet::postgres
