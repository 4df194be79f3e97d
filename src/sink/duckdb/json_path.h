#pragma once

#include <string>
#include <string_view>

namespace freshet::sink::duckdb {

/// A JSON pointer to a member of the top object (RFC 6901), as DuckDB's JSON functions take it.
inline std::string JsonPointer(std::string_view member) {
  std::string out = "/";
  for (const char c : member) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace freshet::sink::duckdb
