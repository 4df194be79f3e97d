#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "change/logical_type.h"

namespace arrow {
class Array;
}

namespace freshet::verify {

/// Appends the value at `row` of `array` as PostgreSQL would write it (DateStyle ISO, time zone
/// UTC, bytea_output hex), apart from the spelling of floats (see AppendCanonical).
///
/// Written against the manual and independent of the decoder in postgres/ on purpose: were verify
/// to read the target through the decoder's own inverse, a mistake there would cancel itself out.
/// `array` must have ArrowType(type) and the value must not be null.
/// Source: PostgreSQL manual, chapters "Date/Time Types" (output), "Binary Data Types" (hex
/// format), "Arrays" (input and output syntax).
void AppendRendered(const change::LogicalType& type, const arrow::Array& array, int64_t row,
                    std::string& out);

}  // namespace freshet::verify
