#include "sink/duckdb/json_names.h"

#include <fmt/format.h>

#include "sink/duckdb/database.h"
#include "sink/duckdb/json_path.h"

namespace freshet::sink::duckdb {

std::string RenamedKeys(std::string_view json, const std::vector<Rename>& renames) {
  std::string gone;
  std::string added;
  for (const auto& [former, now] : renames) {
    gone += fmt::format("{}{}, NULL", gone.empty() ? "" : ", ", QuoteText(former));
    if (now.empty()) continue;
    const std::string text =
        fmt::format("json_extract_string({}, {})", json, QuoteText(JsonPointer(former)));
    added += fmt::format(", CASE WHEN {0} IS NULL THEN '{{}}'::JSON ELSE json_object({1}, {0}) END",
                         text, QuoteText(now));
  }
  return fmt::format("nullif(json_merge_patch({}::JSON, json_object({}){})::VARCHAR, '{{}}')", json,
                     gone, added);
}

std::string RenamedItems(std::string_view json, const std::vector<Rename>& renames) {
  std::string cases;
  for (const auto& [former, now] : renames) {
    cases +=
        fmt::format(" WHEN {} THEN {}", QuoteText(former), now.empty() ? "NULL" : QuoteText(now));
  }
  return fmt::format(
      "nullif(to_json(list_filter(list_transform(from_json({}, '[\"VARCHAR\"]'), lambda x: CASE "
      "x{} "
      "ELSE x END), lambda x: x IS NOT NULL))::VARCHAR, '[]')",
      json, cases);
}

}  // namespace freshet::sink::duckdb
