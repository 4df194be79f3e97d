#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace freshet::sink::duckdb {

/// A column's former name, and the one it has now; empty when there is no such column any more.
using Rename = std::pair<std::string, std::string>;

/// SQL for the JSON object `json` (an expression; not null) with its keys renamed, all at once, so
/// that names may change hands. Null when nothing is left. What `_cdc_exceptions` needs.
std::string RenamedKeys(std::string_view json, const std::vector<Rename>& renames);

/// The same for the strings of a JSON array, as in `_cdc_unchanged`.
std::string RenamedItems(std::string_view json, const std::vector<Rename>& renames);

}  // namespace freshet::sink::duckdb
