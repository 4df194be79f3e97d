#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/logical_type.h"
#include "verify/row.h"

namespace freshet::verify {

/// Reads one line of COPY ... TO STDOUT (text format) into `row`, values made canonical.
///
/// `line` may end in a line feed. `types`: of the columns, in the order of the line. `translate`:
/// makes text of the bytes of a value that may be other than they look. Written apart from the
/// snapshot's reader, for the reason given in render.h.
/// Errors: kMalformed when the line has not one value a type; those of `translate`.
/// Source: PostgreSQL manual, COPY, "Text Format".
using Translate = std::function<Result<std::string_view>(size_t column, std::string_view bytes)>;
Status ReadCopyLine(std::string_view line, const std::vector<change::LogicalType>& types, Row& row,
                    const Translate& translate = nullptr);

}  // namespace freshet::verify
