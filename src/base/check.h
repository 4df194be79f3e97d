#pragma once

namespace freshet::internal {

/// Writes what failed and where to standard error, then aborts.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace freshet::internal

/// Aborts, in release builds too, when one of freshet's own invariants is broken.
/// Never for input: what comes from outside fails with an Error.
#define CHECK(condition)        \
  (static_cast<bool>(condition) \
       ? static_cast<void>(0)   \
       : ::freshet::internal::CheckFailed(#condition, __FILE__, __LINE__))
