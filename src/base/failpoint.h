#pragma once

namespace freshet::internal {

/// Counts a pass through `name`; kills the process with SIGKILL when the environment asks for it.
void PassFailpoint(const char* name);

/// Whether FRESHET_FAILPOINT is set at all. Read once, at the first call.
bool FailpointsArmed();

}  // namespace freshet::internal

/// A named place where a test can have the process die as by power loss.
///
/// FRESHET_FAILPOINT=name kills at the first pass, FRESHET_FAILPOINT=name:3 at the third. Costs one
/// predicted branch when unset. The names are listed in docs/architecture.md.
#define FRESHET_FAILPOINT(name)                                                           \
  do {                                                                                    \
    if (::freshet::internal::FailpointsArmed()) ::freshet::internal::PassFailpoint(name); \
  } while (false)
