#pragma once

#include <stop_token>

namespace freshet::cli {

/// From the first call on, SIGINT and SIGTERM request a stop; a second one ends the process at once
/// with exit code 130. Nothing acknowledged is lost by that: it is what a crash is.
///
/// A command that calls it not is ended by the first signal, as is usual. Handlers belong to the
/// process, hence the one function.
std::stop_token StopOnSignals();

}  // namespace freshet::cli
