#pragma once

#include <functional>
#include <string>

#include "config/binder.h"

namespace freshet::config {

/// Describes whatever `bind` visits as Markdown: a table of keys for every mapping, outermost
/// first, with type, default and meaning. What stands before the first table and headings above
/// level 2 are the caller's.
std::string DocumentKeys(const std::function<void(Binder&)>& bind);

/// "250ms", "1s", "7d": the form a configuration reads, in the largest unit that divides.
std::string FormatDuration(Duration duration);

/// "64MiB", "4096": the same for sizes.
std::string FormatByteSize(ByteSize size);

}  // namespace freshet::config
