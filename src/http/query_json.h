#pragma once

#include <string>

#include "base/result.h"
#include "sink/duckdb/query.h"

namespace freshet::http {

/// {"columns": [{"name", "type"}], "rows": [[...]], "truncated": bool}. Booleans, integers to 32
/// bits and finite floats are JSON's own; NULL is null; everything else is a string that loses
/// nothing.
std::string QueryJson(const sink::duckdb::QueryResult& result);

/// Reads QueryJson() back, values as text. Errors: kMalformed.
Result<sink::duckdb::QueryResult> ParseQueryJson(const std::string& json);

}  // namespace freshet::http
