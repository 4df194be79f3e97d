#include "sink/duckdb/query.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "http/query_json.h"
#include "pipeline/options.h"

namespace freshet::cli {
namespace {

using sink::duckdb::QueryResult;

/// Rows printed for people; --limit asks for more.
constexpr int64_t kDefaultRows = 1'000;
constexpr int64_t kMostRows = 10'000'000;

struct QueryFlags {
  std::string config;
  std::string sql;
  int64_t limit = kDefaultRows;
};

bool IsNumber(std::string_view type) {
  static const std::set<std::string, std::less<>> kNumbers = {
      "TINYINT",  "SMALLINT",  "INTEGER",  "BIGINT",  "HUGEINT",  "FLOAT",
      "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "DOUBLE"};
  return kNumbers.contains(type) || type.starts_with("DECIMAL");
}

void PrintText(const Context& context, const QueryResult& result) {
  std::vector<Table::Column> columns;
  for (const QueryResult::Column& column : result.columns) {
    columns.push_back(
        {column.name, IsNumber(column.type) ? Table::Align::kRight : Table::Align::kLeft});
  }
  Table table(std::move(columns));
  for (const auto& row : result.rows) {
    std::vector<std::string> cells;
    for (const auto& value : row) cells.push_back(value.value_or(context.style.Dim("NULL")));
    table.Add(std::move(cells));
  }
  context.out << table.Render(context.style);
  context.out << context.style.Dim(fmt::format("({} row{})", result.rows.size(),
                                               result.rows.size() == 1 ? "" : "s"))
              << '\n';
}

/// Quoted where RFC 4180 asks for it; an empty text is quoted and so differs from NULL.
std::string CsvCell(const std::optional<std::string>& value) {
  if (!value.has_value()) return {};
  if (!value->empty() && value->find_first_of(",\"\r\n") == std::string::npos) return *value;
  std::string out = "\"";
  for (const char c : *value) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

void PrintCsv(const Context& context, const QueryResult& result) {
  std::string line;
  for (const QueryResult::Column& column : result.columns) {
    line += (line.empty() ? "" : ",") + CsvCell(column.name);
  }
  context.out << line << "\r\n";
  for (const auto& row : result.rows) {
    for (size_t i = 0; i < row.size(); ++i) context.out << (i == 0 ? "" : ",") << CsvCell(row[i]);
    context.out << "\r\n";
  }
}

/// Through the pipeline that runs, if one does: it holds the file. Else from the file itself.
Result<QueryResult> Fetch(const QueryFlags& flags) {
  FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(flags.config));
  if (!options.http.listen.empty()) {
    FRESHET_TRY(const std::string url, UrlOf(options.http.listen));
    const auto answer = Ask(fmt::format("{}/query?limit={}", url, flags.limit), &flags.sql);
    if (answer.has_value()) {
      if (answer->status != 200) return Fail(ErrorOf(*answer));
      return http::ParseQueryJson(answer->body);
    }
    if (answer.error().kind != ErrorKind::kUnavailable) return Fail(answer.error());
  }
  FRESHET_TRY(const std::string path, pipeline::FindWarehouse(options, ""));
  sink::duckdb::QueryLimits limits;
  limits.rows = flags.limit;
  limits.bytes = int64_t{1} << 30;
  limits.time = std::chrono::hours(24);
  return sink::duckdb::Query(path, flags.sql, limits, /*local_files=*/true, StopOnSignals());
}

Result<ExitCode> RunQuery(const QueryFlags& flags, const Context& context) {
  FRESHET_TRY(const QueryResult result, Fetch(flags));
  switch (context.output) {
    case Output::kText:
      PrintText(context, result);
      break;
    case Output::kJson:
      context.out << http::QueryJson(result);
      break;
    case Output::kCsv:
      PrintCsv(context, result);
      break;
  }
  if (result.truncated && context.output != Output::kJson) {
    context.err << fmt::format("freshet: only the first {} rows are shown; see --limit\n",
                               result.rows.size());
  }
  return ExitCode::kOk;
}

}  // namespace

Action AddQuery(CLI::App& app) {
  const auto flags = std::make_shared<QueryFlags>();
  AddConfigOption(app, flags->config);
  app.add_option("--limit", flags->limit, "Rows at most; a running pipeline gives 10000 at most")
      ->option_text("ROWS [1000]")
      ->check(CLI::Range(int64_t{1}, kMostRows));
  app.add_option("SQL", flags->sql, "One statement that reads")
      ->required()
      ->option_text("STATEMENT");
  return [flags](const Context& context) { return RunQuery(*flags, context); };
}

}  // namespace freshet::cli
