#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <ranges>

#include "base/figures.h"
#include "base/file_system.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "http/status_json.h"
#include "log/dump.h"
#include "log/inspect.h"
#include "pipeline/options.h"

namespace freshet::cli {
namespace {

using nlohmann::ordered_json;

struct LogFlags {
  std::string config;
  std::string path;
  bool quick = false;
  int64_t from = -1;
  int64_t limit = 100;
  std::string from_lsn;
  std::string table;
  bool rows = false;
};

Result<std::string> FolderOf(const LogFlags& flags) {
  if (!flags.path.empty()) return flags.path;
  FRESHET_TRY(const pipeline::Options options, pipeline::ReadOptions(flags.config));
  return options.log.path;
}

std::string CommitTime(UnixMicros time) {
  return time == 0 ? "-" : http::IsoTime(time).substr(0, 19) + "Z";
}

std::string Condition(const Style& style, log::SegmentCondition condition) {
  const std::string name(log::SegmentConditionName(condition));
  switch (condition) {
    case log::SegmentCondition::kSealed:
      return name;
    case log::SegmentCondition::kActive:
      return style.Green(name);
    case log::SegmentCondition::kTorn:
      return style.Yellow(name);
    case log::SegmentCondition::kDamaged:
      return style.Red(name);
  }
  return name;
}

/// "2 tables (oid 16400, 16405)" of a range of oids; empty when there is none.
template <typename Range>
std::string Tables(const Range& oids) {
  constexpr size_t kMostShown = 10;
  std::string list;
  size_t count = 0;
  for (const change::TableId table : oids) {
    if (++count <= kMostShown) list += fmt::format("{}{}", list.empty() ? "" : ", ", table.value);
  }
  if (count == 0) return {};
  return fmt::format("{} table{} (oid {}{})", count, count == 1 ? "" : "s", list,
                     count > kMostShown ? ", ..." : "");
}

void PrintText(const Context& context, const log::InspectReport& report) {
  using Align = Table::Align;
  const auto line = [&](std::string_view name, const std::string& text) {
    context.out << fmt::format("{:<14}{}\n", name, text);
  };
  line("log", report.id.value);
  if (report.source.has_value()) {
    line("source", fmt::format("database {}, slot {}, system {}", report.source->database,
                               report.source->slot, report.source->system_id));
  }
  line("start",
       fmt::format("offset {}, {}", report.start.offset.value, ToString(report.start.position)));
  line("end", fmt::format("offset {}, {}", report.end.offset.value, ToString(report.end.position)));
  line("content", fmt::format("{} rows in {} transactions, {} batches, {}", Grouped(report.rows),
                              Grouped(report.transactions), Grouped(report.batches),
                              HumanBytes(report.size_bytes)));
  const change::SnapshotLedger& known = report.snapshots;
  if (const auto tables = Tables(std::views::keys(known.unfinished())); !tables.empty()) {
    line("unfinished", "rows of " + tables + " are not all there");
  }
  if (const auto tables = Tables(known.left_out()); !tables.empty()) {
    line("left out", "changes of " + tables + " are not there from some place on");
  }
  context.out << '\n';
  Table table({{"segment"},
               {"state"},
               {"from offset", Align::kRight},
               {"batches", Align::kRight},
               {"rows", Align::kRight},
               {"size", Align::kRight},
               {"oldest commit"},
               {"newest commit"}});
  for (const log::SegmentReport& segment : report.segments) {
    table.Add({segment.file, Condition(context.style, segment.condition),
               Grouped(segment.start.offset.value), Grouped(segment.batches), Grouped(segment.rows),
               HumanBytes(segment.size_bytes), CommitTime(segment.oldest_commit),
               CommitTime(segment.newest_commit)});
  }
  context.out << table.Render(context.style);
  for (const log::SegmentReport& segment : report.segments) {
    if (!segment.damage.empty()) {
      context.out << fmt::format("\n{}: {}\n", context.style.Bold(segment.file), segment.damage);
    }
  }
}

ordered_json Int(int64_t value) { return std::to_string(value); }

ordered_json End(const log::LogEnd& end) {
  return {{"offset", Int(end.offset.value)}, {"position", ToString(end.position)}};
}

void PrintJson(const Context& context, const log::InspectReport& report) {
  ordered_json segments = ordered_json::array();
  for (const log::SegmentReport& segment : report.segments) {
    segments.push_back({{"file", segment.file},
                        {"state", log::SegmentConditionName(segment.condition)},
                        {"damage", segment.damage},
                        {"start", End(segment.start)},
                        {"end", End(segment.end)},
                        {"size_bytes", Int(segment.size_bytes)},
                        {"whole_bytes", Int(segment.whole_bytes)},
                        {"batches", Int(segment.batches)},
                        {"transactions", Int(segment.transactions)},
                        {"rows", Int(segment.rows)},
                        {"ends_open", segment.ends_open},
                        {"created_at", http::IsoTime(segment.created_at)},
                        {"oldest_commit", http::IsoTime(segment.oldest_commit)},
                        {"newest_commit", http::IsoTime(segment.newest_commit)}});
  }
  ordered_json unfinished = ordered_json::array();
  for (const auto& [table, snapshot] : report.snapshots.unfinished()) {
    unfinished.push_back({{"table_oid", table.value}, {"begun", snapshot.begun}});
  }
  ordered_json left_out = ordered_json::array();
  for (const change::TableId table : report.snapshots.left_out()) left_out.push_back(table.value);
  const ordered_json out{{"id", report.id.value},
                         {"damaged", report.damaged},
                         {"start", End(report.start)},
                         {"end", End(report.end)},
                         {"size_bytes", Int(report.size_bytes)},
                         {"batches", Int(report.batches)},
                         {"transactions", Int(report.transactions)},
                         {"rows", Int(report.rows)},
                         {"unfinished_snapshots", std::move(unfinished)},
                         {"left_out_table_oids", std::move(left_out)},
                         {"segments", std::move(segments)}};
  context.out << out.dump(2, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

Result<ExitCode> Inspect(const LogFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string folder, FolderOf(flags));
  Progress progress(context, SystemClock());
  log::InspectOptions options;
  options.check_everything = !flags.quick;
  options.progress = [&](int64_t done) { progress.Update("inspect", done, 0, HumanBytes(done)); };
  FRESHET_TRY(const log::InspectReport report, log::Inspect(LocalFileSystem(), folder, options));
  progress.Finish();
  if (context.output == Output::kJson) {
    PrintJson(context, report);
  } else {
    PrintText(context, report);
  }
  return report.damaged ? ExitCode::kCorrupt : ExitCode::kOk;
}

Result<log::DumpFilter> FilterOf(const LogFlags& flags) {
  log::DumpFilter filter;
  if (flags.from >= 0) filter.from = log::LogOffset{flags.from};
  if (!flags.from_lsn.empty()) {
    const auto lsn = change::ParseLsn(flags.from_lsn);
    if (!lsn.has_value()) return Fail(ErrorKind::kConfig, "--from-lsn: {}", lsn.error().message);
    filter.from_lsn = *lsn;
  }
  if (!flags.table.empty()) filter.table = flags.table;
  if (flags.limit > 0) filter.most_batches = flags.limit;
  filter.rows = flags.rows;
  return filter;
}

Result<ExitCode> Dump(const LogFlags& flags, const Context& context) {
  FRESHET_TRY(const std::string folder, FolderOf(flags));
  FRESHET_TRY(const log::DumpFilter filter, FilterOf(flags));
  const auto print = [&](std::string_view line) -> Status {
    if (context.out << line << '\n') return {};
    return Fail(ErrorKind::kIo, "cannot write to standard output");
  };
  FRESHET_RETURN_IF_ERROR(log::Dump(LocalFileSystem(), folder, filter, print));
  return ExitCode::kOk;
}

}  // namespace

Action AddLog(CLI::App& app) {
  const auto flags = std::make_shared<LogFlags>();
  AddConfigOption(app, flags->config);
  app.add_option("--path", flags->path, "The log's folder, instead of the configuration's")
      ->option_text("FOLDER");
  app.require_subcommand(1);
  CLI::App* inspect = app.add_subcommand("inspect", "Check every segment and say what it holds");
  inspect->add_flag("--quick", flags->quick, "Look at the heads of records only");
  CLI::App* dump = app.add_subcommand("dump", "Print records, one JSON object a line");
  dump->add_option("--from", flags->from, "Begin at this offset")->option_text("OFFSET");
  dump->add_option("--from-lsn", flags->from_lsn, "Begin with transactions that end here or later")
      ->option_text("LSN");
  dump->add_option("--table", flags->table, "Only this table, as public.orders")
      ->option_text("TABLE");
  dump->add_option("--limit", flags->limit, "Batches at most; 0: all")->option_text("COUNT [100]");
  dump->add_flag("--rows", flags->rows, "Show the rows' values, which are users' data");
  for (CLI::App* command : {inspect, dump}) command->group("Commands");
  return [flags, inspect](const Context& context) {
    return inspect->parsed() ? Inspect(*flags, context) : Dump(*flags, context);
  };
}

}  // namespace freshet::cli
