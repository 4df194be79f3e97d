#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/figures.h"
#include "base/file_system.h"
#include "base/logging.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/version.h"
#include "config/yaml_reader.h"
#include "http/server.h"
#include "http/status_json.h"
#include "pipeline/pipeline.h"
#include "pipeline/remote_scan.h"
#include "sink/duckdb/query.h"

namespace freshet::cli {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{200};

struct RunFlags {
  std::string config;
  bool until_caught_up = false;
};

bool IsServed(pipeline::HttpAccess access, const http::Address& address) {
  return access == pipeline::HttpAccess::kAlways ||
         (access == pipeline::HttpAccess::kLocal && address.is_loopback());
}

/// Serves the pipeline over HTTP; null when the configuration names no address.
Result<std::unique_ptr<http::Server>> Serve(pipeline::Pipeline& pipeline) {
  const pipeline::Options& options = pipeline.options();
  const std::string& listen = options.http.listen;
  if (listen.empty()) return std::unique_ptr<http::Server>();
  FRESHET_TRY(const http::Address address, http::ParseAddress(listen));

  http::Handlers handlers;
  handlers.status = [&pipeline] { return pipeline.status(); };
  handlers.tables = [&pipeline] { return pipeline.tables(); };
  if (IsServed(options.http.control, address)) {
    handlers.add_table = [&pipeline](const change::TableName& table) {
      return pipeline.AddTable(table);
    };
    handlers.resnapshot = [&pipeline](const change::TableName& table, bool replaces) {
      return pipeline.Resnapshot(table, replaces);
    };
  }
  if (IsServed(options.http.query, address)) {
    const auto warehouse = pipeline::FindWarehouse(options, "");
    if (warehouse.has_value()) {
      handlers.query = [path = *warehouse](const std::string& sql,
                                           const sink::duckdb::QueryLimits& limits) {
        return sink::duckdb::Query(path, sql, limits, /*local_files=*/false, {});
      };
    }
    handlers.scan = [&options](std::string_view sink, std::span<const std::byte> request,
                               const std::function<bool(std::string_view)>& write) {
      pipeline::ServeScan(options, sink, request, write);
    };
  }
  FRESHET_TRY(auto server, http::Server::Start(listen, std::move(handlers)));
  logging::Info("serving HTTP", {{"listen", listen}, {"port", server->port()}});
  return server;
}

void ShowSnapshot(Progress& progress, const postgres::CaptureStatus& capture) {
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t expected_bytes = 0;
  size_t done = 0;
  for (const postgres::SnapshotTable& table : capture.snapshot) {
    const bool finished = table.state == postgres::SnapshotState::kFinished;
    const int64_t read = std::max(table.bytes_read, table.bytes_copied);
    rows += table.rows_copied;
    bytes += read;
    expected_bytes += finished ? read : std::max(table.bytes_estimated, read);
    done += finished ? 1 : 0;
  }
  progress.Update("snapshot", bytes, expected_bytes,
                  fmt::format("{} of {} tables, {} rows, {}", done, capture.snapshot.size(),
                              Grouped(rows), HumanBytes(bytes)));
}

/// How far the source's WAL is read, from where this run began to where it was when it connected.
void ShowDrain(Progress& progress, const pipeline::PipelineStatus& status, change::Lsn from) {
  const postgres::CaptureStatus& capture = status.capture;
  const auto part = [from](change::Lsn lsn) {
    return lsn > from ? static_cast<int64_t>(lsn.value - from.value) : 0;
  };
  int64_t slowest = part(capture.received);
  for (const pipeline::SinkStatus& sink : status.sinks) {
    slowest = std::min(slowest, part(sink.durable.position.commit_end));
  }
  progress.Update("catching up", slowest, part(capture.end_at_connect),
                  fmt::format("{} rows received", Grouped(capture.rows_total)));
}

/// Redraws progress until stopped: of the snapshot always, of the rest where the run has an end.
void ShowProgress(const Context& context, const pipeline::Pipeline& pipeline, bool has_end,
                  std::stop_token stop) {
  Progress progress(context, SystemClock());
  std::optional<change::Lsn> from;
  bool shown = false;
  while (SystemClock().WaitFor(kProgressInterval, stop)) {
    const pipeline::PipelineStatus status = pipeline.status();
    if (!from.has_value() && status.capture.state == postgres::CaptureState::kStreaming) {
      from = status.log.durable.position.commit_end;
    }
    const auto& tables = status.capture.snapshot;
    const bool snapshot = std::any_of(tables.begin(), tables.end(), [](const auto& table) {
      return table.state != postgres::SnapshotState::kFinished;
    });
    if (snapshot) {
      ShowSnapshot(progress, status.capture);
    } else if (has_end && from.has_value()) {
      ShowDrain(progress, status, *from);
    } else if (shown) {
      progress.Finish();
    }
    shown = snapshot;
  }
}

/// What SIGHUP does: reads the configuration again and lets the pipeline carry the tables it
/// chooses now. All else needs a restart, which is said with the names of the keys.
class Reloader {
 public:
  Reloader(std::string path, std::map<std::string, std::string> keys, pipeline::Pipeline& pipeline)
      : path_(std::move(path)), keys_(std::move(keys)), pipeline_(pipeline) {}

  void Reload() {
    const auto keys = config::ReadYamlKeys(path_);
    const auto options = pipeline::ReadOptions(path_);
    if (!keys.has_value() || !options.has_value()) {
      const Error& error = keys.has_value() ? options.error() : keys.error();
      logging::Error("the configuration is wrong; the one before stays in force",
                     {{"error", error.message}});
      return;
    }
    WarnOfRestart(*keys);
    const postgres::Options& source = options->source;
    if (const Status chosen = pipeline_.ChooseTables(source.tables, source.exclude);
        !chosen.has_value()) {
      logging::Error("the tables chosen before stay in force", {{"error", chosen.error().message}});
      return;
    }
    logging::Info("read the configuration again", {{"path", path_}});
  }

 private:
  /// Compared with the start, as that is what runs.
  void WarnOfRestart(const std::map<std::string, std::string>& now) const {
    std::set<std::string> changed;
    for (const auto& [key, value] : now) {
      const auto before = keys_.find(key);
      if (before == keys_.end() || before->second != value) changed.insert(key);
    }
    for (const auto& [key, value] : keys_) {
      if (!now.contains(key)) changed.insert(key);
    }
    changed.erase("source.postgres.tables");
    changed.erase("source.postgres.exclude");
    if (changed.empty()) return;
    std::string names;
    for (const std::string& key : changed) names += (names.empty() ? "" : ", ") + key;
    logging::Warning("only tables and exclude change while running; restart for the other keys",
                     {{"keys", names}});
  }

  const std::string path_;
  const std::map<std::string, std::string> keys_;
  pipeline::Pipeline& pipeline_;
};

void PrintSummary(const Context& context, const pipeline::PipelineStatus& status) {
  if (context.output == Output::kJson) {
    context.out << http::StatusJson(status);
    return;
  }
  Table table({{"sink"}, {"rows", Table::Align::kRight}, {"durable position"}});
  for (const pipeline::SinkStatus& sink : status.sinks) {
    table.Add({sink.name, Grouped(sink.rows_total), ToString(sink.durable.position)});
  }
  context.out << table.Render(context.style);
}

Result<ExitCode> Run(const RunFlags& flags, const Context& context) {
  FRESHET_TRY(auto keys, config::ReadYamlKeys(flags.config));
  FRESHET_TRY(pipeline::Options options, pipeline::ReadOptions(flags.config));
  logging::Configure(options.logging.level, options.logging.format);
  const std::stop_token stop = StopOnSignals();
  pipeline::Pipeline pipeline(std::move(options), LocalFileSystem(), SystemClock(),
                              std::string(kVersion));
  FRESHET_TRY(const auto server, Serve(pipeline));
  Reloader reloader(flags.config, std::move(keys), pipeline);
  const OnHangup hangup([&reloader] { reloader.Reload(); });

  const bool has_end =
      flags.until_caught_up || pipeline.options().source.snapshot == postgres::SnapshotMode::kOnly;
  std::jthread progress([&](std::stop_token ended) {
    ShowProgress(context, pipeline, flags.until_caught_up, std::move(ended));
  });
  const Status result = pipeline.Run({.until_caught_up = flags.until_caught_up}, stop);
  progress.request_stop();
  progress.join();
  if (!result.has_value()) return Fail(result.error());
  if (has_end) PrintSummary(context, pipeline.status());
  return ExitCode::kOk;
}

}  // namespace

Action AddRun(CLI::App& app) {
  const auto flags = std::make_shared<RunFlags>();
  AddConfigOption(app, flags->config);
  app.add_flag("--until-caught-up", flags->until_caught_up,
               "Stop once every sink holds what the source had committed at the start");
  return [flags](const Context& context) { return Run(*flags, context); };
}

}  // namespace freshet::cli
