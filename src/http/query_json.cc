#include "http/query_json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

namespace freshet::http {
namespace {

using nlohmann::ordered_json;
using sink::duckdb::QueryResult;

ordered_json ToJson(const std::optional<std::string>& value, const std::string& type) {
  static const std::set<std::string, std::less<>> kSmallIntegers = {
      "TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER"};
  if (!value.has_value()) return nullptr;
  if (type == "BOOLEAN") return *value == "true";
  const char* const begin = value->data();
  const char* const end = begin + value->size();
  if (kSmallIntegers.contains(type)) {
    int64_t number = 0;
    if (std::from_chars(begin, end, number).ptr == end) return number;
  }
  if (type == "FLOAT" || type == "DOUBLE") {
    double number = 0;
    if (std::from_chars(begin, end, number).ptr == end && std::isfinite(number)) return number;
  }
  return *value;
}

std::optional<std::string> ToText(const ordered_json& value) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

}  // namespace

std::string QueryJson(const QueryResult& result) {
  ordered_json columns = ordered_json::array();
  for (const QueryResult::Column& column : result.columns) {
    columns.push_back({{"name", column.name}, {"type", column.type}});
  }
  ordered_json rows = ordered_json::array();
  for (const auto& row : result.rows) {
    ordered_json cells = ordered_json::array();
    for (size_t i = 0; i < row.size(); ++i) cells.push_back(ToJson(row[i], result.columns[i].type));
    rows.push_back(std::move(cells));
  }
  const ordered_json out{
      {"columns", std::move(columns)}, {"rows", std::move(rows)}, {"truncated", result.truncated}};
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<QueryResult> ParseQueryJson(const std::string& json) {
  try {
    const ordered_json in = ordered_json::parse(json);
    QueryResult out;
    for (const ordered_json& column : in.at("columns")) {
      out.columns.push_back({column.at("name"), column.at("type")});
    }
    for (const ordered_json& row : in.at("rows")) {
      auto& cells = out.rows.emplace_back();
      for (const ordered_json& value : row) cells.push_back(ToText(value));
      if (cells.size() != out.columns.size()) {
        return Fail(ErrorKind::kMalformed, "a row of the answer has {} values, expected {}",
                    cells.size(), out.columns.size());
      }
    }
    out.truncated = in.at("truncated");
    return out;
  } catch (const nlohmann::json::exception& e) {
    return Fail(ErrorKind::kMalformed, "the answer is no result of a query: {}", e.what());
  }
}

}  // namespace freshet::http
