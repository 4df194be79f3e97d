#pragma once

#include <functional>

namespace freshet::logging {

/// Stands around the writing of each line: calls `write` exactly once. For what draws on the
/// terminal that the lines go to, such as a progress bar: it takes its drawing away first.
/// Must not log itself. Any thread.
using Guard = std::function<void(const std::function<void()>& write)>;

/// Puts `guard` around every line from now on; an empty one: none. Returns when no line is being
/// written under the former one, so that what it refers to may go.
void SetGuard(Guard guard);

}  // namespace freshet::logging
