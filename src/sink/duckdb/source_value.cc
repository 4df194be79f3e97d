#include "sink/duckdb/source_value.h"

#include <fmt/format.h>

#include <vector>

#include "sink/duckdb/column_type.h"
#include "sink/duckdb/database.h"

namespace freshet::sink::duckdb {
namespace {

using change::LogicalKind;
using change::LogicalType;

std::string Cast(std::string_view text, const LogicalType& type) {
  return fmt::format("TRY_CAST({} AS {})", QuoteText(text), DuckDbType(type));
}

/// "0044-03-15 12:00:00 BC" as DuckDB writes it: "0044-03-15 (BC) 12:00:00".
std::string WithEra(std::string_view text) {
  constexpr std::string_view kBeforeChrist = " BC";
  if (!text.ends_with(kBeforeChrist)) return std::string(text);
  text.remove_suffix(kBeforeChrist.size());
  const size_t day_end = std::min(text.find(' '), text.size());
  return fmt::format("{} (BC){}", text.substr(0, day_end), text.substr(day_end));
}

/// The elements of a one-dimensional array from 1 on; none for any other array.
/// Source: PostgreSQL manual, "Array Input and Output Syntax".
std::optional<std::vector<std::optional<std::string>>> Elements(std::string_view text,
                                                                char delimiter) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::vector<std::optional<std::string>> out;
  for (size_t i = 0; i < text.size();) {
    std::string element;
    bool quoted = false;
    for (bool inside = false; i < text.size() && (inside || text[i] != delimiter); ++i) {
      if (text[i] == '"') {
        inside = !inside;
        quoted = true;
      } else if (text[i] == '\\' && i + 1 < text.size()) {
        element += text[++i];
      } else if (!inside && text[i] == '{') {
        return std::nullopt;
      } else {
        element += text[i];
      }
    }
    ++i;  // the delimiter
    if (!quoted && element == "NULL") {
      out.emplace_back(std::nullopt);
    } else {
      out.emplace_back(std::move(element));
    }
  }
  return out;
}

std::optional<std::string> ListSql(std::string_view text, const LogicalType& type) {
  const auto elements = Elements(text, type.element_delimiter);
  if (!elements.has_value()) return std::nullopt;
  std::string items;
  for (const auto& element : *elements) {
    if (!items.empty()) items += ", ";
    if (!element.has_value()) {
      items += "NULL";
      continue;
    }
    const auto item = SqlOfText(*element, change::ElementType(type));
    if (!item.has_value()) return std::nullopt;
    items += *item;
  }
  return fmt::format("CAST([{}] AS {})", items, DuckDbType(type));
}

}  // namespace

std::optional<std::string> SqlOfText(std::string_view text, const LogicalType& type) {
  switch (type.kind) {
    case LogicalKind::kBool:
    case LogicalKind::kInt16:
    case LogicalKind::kInt32:
    case LogicalKind::kInt64:
    case LogicalKind::kUInt32:
    case LogicalKind::kFloat32:
    case LogicalKind::kFloat64:
    case LogicalKind::kUuid:
      return Cast(text, type);
    case LogicalKind::kNumericText:
    case LogicalKind::kText:
    case LogicalKind::kJson:
    case LogicalKind::kExactText:
      return fmt::format("CAST({} AS {})", QuoteText(text), DuckDbType(type));
    case LogicalKind::kDecimal:
      if (text.find_first_of("Ny") != std::string_view::npos) return std::nullopt;
      return Cast(text, type);
    case LogicalKind::kBytes:
      if (!text.starts_with("\\x")) return std::nullopt;
      return fmt::format("unhex({})", QuoteText(text.substr(2)));
    case LogicalKind::kTime:
      if (text.starts_with("24")) return std::nullopt;
      return Cast(text, type);
    case LogicalKind::kDate:
    case LogicalKind::kTimestamp:
    case LogicalKind::kTimestampTz:
      if (text.find("infinity") != std::string_view::npos) return std::nullopt;
      return Cast(WithEra(text), type);
    case LogicalKind::kList:
      return ListSql(text, type);
  }
  return std::nullopt;
}

}  // namespace freshet::sink::duckdb
