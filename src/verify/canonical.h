#pragma once

#include <string>
#include <string_view>

#include "change/logical_type.h"

namespace freshet::verify {

/// Appends the one spelling that stands for `text`, a value of `type` in PostgreSQL's text form.
///
/// All but floats are their own canonical form. PostgreSQL chooses between 100000 and 1e+05 by
/// rules that changed over its versions, so a float (and each one in a list) is parsed and printed
/// anew as the shortest text that reads back as the same bits. Text that is no float stays as it
/// is.
void AppendCanonical(const change::LogicalType& type, std::string_view text, std::string& out);

}  // namespace freshet::verify
