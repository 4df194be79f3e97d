#include "verify/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace freshet::verify {
namespace {

std::string Checksums(const TableReport& table) {
  constexpr size_t kShown = 8;
  const std::string source = ToString(table.source.sum);
  if (table.source == table.target) return source.substr(0, kShown);
  return source.substr(0, kShown) + "/" + ToString(table.target.sum).substr(0, kShown);
}

std::string Verdict(const TableReport& table) {
  if (!table.equal()) {
    return fmt::format("DIFFERENT: {}{} {}", table.more_may_differ ? "at least " : "",
                       table.differing_keys, table.has_key ? "keys" : "rows");
  }
  if (table.reread_keys == 0) return "equal";
  return fmt::format("equal ({} in motion, read again)", table.reread_keys);
}

void AppendDifference(const Difference& difference, std::string& out) {
  out += fmt::format("    {:<10}", DifferenceKindName(difference.kind));
  out += difference.key.empty() ? std::string(" a row without a key")
                                : fmt::format(" key ({})", fmt::join(difference.key, ", "));
  if (!difference.columns.empty()) {
    out += fmt::format("  columns: {}", fmt::join(difference.columns, ", "));
  }
  if (difference.moving) out += "  (still changing in the source)";
  out += "\n";
}

}  // namespace

std::string ToText(const Report& report) {
  size_t sink_width = 4;
  size_t table_width = 5;
  for (const SinkReport& sink : report.sinks) {
    sink_width = std::max(sink_width, sink.sink.size());
    for (const TableReport& table : sink.tables) {
      table_width = std::max(table_width, ToString(table.name).size());
    }
  }
  std::string out =
      fmt::format("{:<{}}  {:<{}}  {:>12}  {:>12}  {:<17}  {}\n", "sink", sink_width, "table",
                  table_width, "source rows", "target rows", "checksum", "verdict");
  for (const SinkReport& sink : report.sinks) {
    for (const TableReport& table : sink.tables) {
      out += fmt::format("{:<{}}  {:<{}}  {:>12}  {:>12}  {:<17}  {}\n", sink.sink, sink_width,
                         ToString(table.name), table_width, table.source.rows, table.target.rows,
                         Checksums(table), Verdict(table));
      for (const Difference& difference : table.differences) AppendDifference(difference, out);
      const auto shown = static_cast<int64_t>(table.differences.size());
      if (table.differing_keys > shown) {
        out += fmt::format("    ... and {} more\n", table.differing_keys - shown);
      }
    }
  }
  for (const std::string& sink : report.skipped) {
    out += fmt::format("{}: keeps nothing that could be compared\n", sink);
  }
  return out;
}

std::string ToJson(const Report& report) {
  using Json = nlohmann::ordered_json;
  Json sinks = Json::array();
  for (const SinkReport& sink : report.sinks) {
    Json tables = Json::array();
    for (const TableReport& table : sink.tables) {
      Json differences = Json::array();
      for (const Difference& difference : table.differences) {
        differences.push_back({{"kind", DifferenceKindName(difference.kind)},
                               {"key", difference.key},
                               {"columns", difference.columns},
                               {"moving", difference.moving}});
      }
      tables.push_back({{"schema", table.name.schema},
                        {"table", table.name.table},
                        {"equal", table.equal()},
                        {"source",
                         {{"rows", std::to_string(table.source.rows)},
                          {"checksum", ToString(table.source.sum)}}},
                        {"target",
                         {{"rows", std::to_string(table.target.rows)},
                          {"checksum", ToString(table.target.sum)}}},
                        {"has_key", table.has_key},
                        {"reread_keys", table.reread_keys},
                        {"differing_keys", table.differing_keys},
                        {"more_may_differ", table.more_may_differ},
                        {"differences", std::move(differences)},
                        {"seconds", std::chrono::duration<double>(table.took).count()}});
    }
    sinks.push_back({{"sink", sink.sink}, {"kind", sink.kind}, {"tables", std::move(tables)}});
  }
  const Json out = {
      {"equal", report.equal()}, {"sinks", std::move(sinks)}, {"skipped", report.skipped}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace freshet::verify
