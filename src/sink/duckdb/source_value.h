#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "change/logical_type.h"

namespace freshet::sink::duckdb {

/// SQL for one value that the source wrote as `text`, of the DuckDB type of `type`.
///
/// None when that type cannot hold it (NaN in a numeric, an infinite date, an array of two
/// dimensions): the same values that are exceptions in a batch. The SQL may yield null for one that
/// DuckDB's type alone cannot hold.
std::optional<std::string> SqlOfText(std::string_view text, const change::LogicalType& type);

}  // namespace freshet::sink::duckdb
