#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "postgres/column_builder.h"
#include "postgres/value_text.h"

namespace freshet::postgres {

/// Splits the text of a one-dimensional array, `{1,NULL,"a \"b\""}`, into its elements.
///
/// Replaces `elements` with one cell per element, and `scratch` with the unescaped texts these
/// point into. kException: an array of more dimensions, or with a lower bound other than 1. The
/// elements themselves are not looked at. Source: PostgreSQL manual, "Array Input and Output
/// Syntax".
ValueOutcome SplitArray(std::string_view text, char delimiter, std::string& scratch,
                        std::vector<Cell>& elements);

}  // namespace freshet::postgres
