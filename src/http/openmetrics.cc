#include "http/openmetrics.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace freshet::http {
namespace {

using pipeline::LatencySummary;
using pipeline::PipelineStatus;
using pipeline::SinkStatus;

using Labels = std::vector<std::pair<std::string_view, std::string>>;

/// Escapes of label values and help texts.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Braced(const Labels& labels) {
  if (labels.empty()) return {};
  std::string out;
  for (const auto& [name, value] : labels) {
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "{" : ",", name, Escaped(value));
  }
  return out + "}";
}

double Seconds(int64_t micros) { return static_cast<double>(micros) / 1e6; }

/// A bucket's upper bound in OpenMetrics' canonical form: "0.001", "1.0".
std::string Bound(int64_t micros) {
  std::string text = fmt::format("{}", Seconds(micros));
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

/// Writes families of samples. All samples of one follow its head.
class Writer {
 public:
  void Gauge(std::string_view name, std::string_view help) { Head(name, "gauge", help); }
  /// `name` without its `_total`.
  void Counter(std::string_view name, std::string_view help) {
    Head(name, "counter", help);
    suffix_ = "_total";
  }

  /// A family of one sample.
  void Gauge(std::string_view name, std::string_view help, auto value) {
    Gauge(name, help);
    Sample(value);
  }
  void Counter(std::string_view name, std::string_view help, auto value) {
    Counter(name, help);
    Sample(value);
  }

  void Sample(auto value, const Labels& labels = {}) {
    out_ += fmt::format("{}{}{} {}\n", name_, suffix_, Braced(labels), value);
  }

  void Histogram(std::string_view name, std::string_view help) { Head(name, "histogram", help); }
  void HistogramSample(const LatencySummary& summary, const Labels& labels = {}) {
    Labels with_bound = labels;
    with_bound.emplace_back("le", "");
    for (size_t i = 0; i < summary.cumulative.size(); ++i) {
      with_bound.back().second = Bound(pipeline::kMetricBoundsMicros[i]);
      out_ += fmt::format("{}_bucket{} {}\n", name_, Braced(with_bound), summary.cumulative[i]);
    }
    with_bound.back().second = "+Inf";
    out_ += fmt::format("{}_bucket{} {}\n", name_, Braced(with_bound), summary.count);
    out_ += fmt::format("{}_count{} {}\n", name_, Braced(labels), summary.count);
    out_ += fmt::format("{}_sum{} {}\n", name_, Braced(labels), Seconds(summary.sum_micros));
  }

  void Info(std::string_view name, std::string_view help, const Labels& labels) {
    Head(name, "info", help);
    out_ += fmt::format("{}_info{} 1\n", name_, Braced(labels));
  }

  std::string Finish() && { return std::move(out_) + "# EOF\n"; }

 private:
  void Head(std::string_view name, std::string_view type, std::string_view help) {
    name_ = fmt::format("freshet_{}", name);
    suffix_ = "";
    out_ += fmt::format("# TYPE {} {}\n# HELP {} {}\n", name_, type, name_, Escaped(help));
  }

  std::string out_;
  std::string name_;
  std::string_view suffix_;
};

int Rank(pipeline::Health health) { return static_cast<int>(health); }

void WriteHealth(Writer& out, const PipelineStatus& status) {
  out.Gauge("health", "0 ok, 1 degraded, 2 failing, by part.");
  out.Sample(Rank(status.capture_health.health), {{"part", "source"}});
  out.Sample(Rank(status.log_health.health), {{"part", "log"}});
  for (const SinkStatus& sink : status.sinks) {
    out.Sample(Rank(sink.health.health), {{"part", "sink " + sink.name}});
  }
}

void WriteSource(Writer& out, const PipelineStatus& status) {
  const postgres::CaptureStatus& source = status.capture;
  const auto behind = [](change::Lsn ahead, change::Lsn lsn) {
    return ahead > lsn ? ahead.value - lsn.value : 0;
  };
  out.Counter("source_rows", "Row images received.", source.rows_total);
  out.Counter("source_bytes", "Bytes received, of stream and snapshot.", source.bytes_total);
  out.Counter("source_transactions", "Transactions received.", source.transactions_total);
  out.Counter("source_reconnects", "Connections made anew.", source.reconnects_total);
  out.Counter("source_tables_read_again",
              "Tables read again since rows came, went or changed without a word in the stream.",
              source.read_again_total);
  out.Counter("source_errors", "Errors of the source, by kind.");
  for (const auto& [kind, count] : status.source_errors_by_kind)
    out.Sample(count, {{"kind", kind}});
  out.Gauge("source_lag_bytes", "WAL the server has written and not sent.",
            behind(source.server_end, source.received));
  out.Gauge("source_unacknowledged_bytes", "WAL received and not acknowledged.",
            behind(source.received, source.acknowledged));
  out.Gauge("source_last_commit_timestamp_seconds",
            "Commit time of the newest transaction received.", Seconds(source.last_commit_time));
  out.Gauge("source_lag_seconds",
            "Age of the newest transaction received while more is to come; else 0.");
  const bool all_received = source.received >= source.server_end || source.last_commit_time == 0;
  out.Sample(all_received ? 0.0 : Seconds(status.now - source.last_commit_time));
  out.Gauge("source_running_transactions", "Large transactions received while they still run.",
            source.running.transactions);
  out.Gauge("source_running_largest_bytes", "Size of the largest of them.",
            source.running.largest_bytes);
  out.Gauge("source_running_oldest_seconds", "Age of the oldest of them; 0: there is none.");
  out.Sample(source.running.oldest_since == 0 ? 0.0
                                              : Seconds(status.now - source.running.oldest_since));
  out.Gauge("source_spool_bytes", "What the spool holds of them.", source.running.bytes);
  if (source.slot_retained_bytes >= 0) {
    out.Gauge("slot_retained_bytes", "WAL the slot holds back at the server.",
              source.slot_retained_bytes);
  }
  if (source.slot_safe_wal_bytes >= 0) {
    out.Gauge("slot_safe_wal_bytes",
              "WAL that the server may write before the slot is lost (max_slot_wal_keep_size).",
              source.slot_safe_wal_bytes);
  }
  if (source.slot_catalog_age >= 0) {
    out.Gauge("slot_catalog_age",
              "Transactions since the oldest whose dead catalog rows the slot keeps.",
              source.slot_catalog_age);
  }
}

/// Sums only: a label a table would be without bound.
void WriteSnapshot(Writer& out, const PipelineStatus& status) {
  using postgres::SnapshotState;
  std::map<SnapshotState, int64_t> tables;
  int64_t waiting = 0;
  int64_t rows = 0;
  int64_t read_bytes = 0;
  int64_t all_bytes = 0;
  for (const postgres::SnapshotTable& table : status.capture.snapshot) {
    ++tables[table.state];
    waiting += table.waits_for.empty() ? 0 : 1;
    rows += table.rows_copied;
    read_bytes += table.bytes_read;
    all_bytes += table.bytes_estimated;
  }
  out.Gauge("snapshot_tables", "Tables of the snapshot that runs or ran last, by state.");
  for (const auto state : {SnapshotState::kWanted, SnapshotState::kReading,
                           SnapshotState::kSweeping, SnapshotState::kFinished}) {
    out.Sample(tables[state], {{"state", std::string(postgres::SnapshotStateName(state))}});
  }
  out.Gauge("snapshot_waiting_tables", "Those of them that wait; /status says for what.", waiting);
  out.Gauge("snapshot_rows", "Their rows that were taken.", rows);
  out.Gauge("snapshot_read_bytes", "Bytes of their files that were read through.", read_bytes);
  out.Gauge("snapshot_size_bytes", "Bytes of their files.", all_bytes);
}

void WriteLog(Writer& out, const PipelineStatus& status) {
  const log::LogStats& log = status.log;
  out.Gauge("log_size_bytes", "Size of the log on disk.", log.size_bytes);
  out.Gauge("log_budget_bytes", "Most it may take.", log.budget_bytes);
  out.Gauge("log_over_budget", "1 while the log holds its budget and the source is not read.",
            log.over_budget ? 1 : 0);
  out.Gauge("log_segments", "Segment files.", log.segments);
  out.Gauge("log_memory_tail_bytes", "Newest batches, kept in memory for sinks that keep up.",
            log.tail_bytes);
  out.Counter("log_appended_bytes", "Bytes appended.", log.appended_bytes_total);
  out.Counter("log_syncs", "fsyncs of the log.", log.syncs_total);
  out.Counter("log_sync_seconds", "Time spent in them.", Seconds(log.sync_micros_total));
  out.Histogram("log_latency_seconds", "From commit in the source to its place in the log.");
  out.HistogramSample(status.log_latency);
}

void WriteSinks(Writer& out, const PipelineStatus& status) {
  const auto each = [&](const auto& value_of) {
    for (const SinkStatus& sink : status.sinks) out.Sample(value_of(sink), {{"sink", sink.name}});
  };
  out.Counter("sink_applied_rows", "Row images made durable in the target.");
  each([](const SinkStatus& s) { return s.rows_total; });
  out.Counter("sink_applied_transactions", "Transactions made durable in the target.");
  each([](const SinkStatus& s) { return s.transactions_total; });
  out.Counter("sink_flushes", "Flushes.");
  each([](const SinkStatus& s) { return s.flushes_total; });
  out.Counter("sink_retries", "Times the sink began anew after an error.");
  each([](const SinkStatus& s) { return s.retries_total; });
  out.Gauge("sink_lag_bytes", "WAL between what the log has and what is durable in the target.");
  each([](const SinkStatus& s) { return s.lag_bytes; });
  out.Gauge("sink_lag_seconds", "Age of the oldest transaction that is not durable; 0: caught up.");
  each([](const SinkStatus& s) { return Seconds(s.lag_micros); });
  out.Gauge("sink_pending_rows", "Row images written and not yet durable.");
  each([](const SinkStatus& s) { return s.pending_rows; });
  out.Gauge("sink_running", "1 while the sink reads the log or waits for more.");
  each([](const SinkStatus& s) { return s.state == pipeline::SinkState::kRunning ? 1 : 0; });
  out.Counter("sink_errors", "Errors, by kind.");
  for (const SinkStatus& sink : status.sinks) {
    for (const auto& [kind, count] : sink.errors_by_kind) {
      out.Sample(count, {{"sink", sink.name}, {"kind", kind}});
    }
  }
  out.Histogram("sink_latency_seconds", "From commit in the source to visible in the target.");
  for (const SinkStatus& s : status.sinks) out.HistogramSample(s.latency, {{"sink", s.name}});
  out.Histogram("sink_flush_seconds", "Duration of flushes.");
  for (const SinkStatus& s : status.sinks) out.HistogramSample(s.flush_time, {{"sink", s.name}});
}

/// What sinks count for themselves: a family a kind and counter, a sample a sink.
void WriteOwnCounters(Writer& out, const PipelineStatus& status) {
  std::set<std::string> written;
  for (const SinkStatus& first : status.sinks) {
    for (const sink::Counter& counter : first.description.counters) {
      const std::string& kind = first.description.kind;
      const std::string name = fmt::format("sink_{}_{}", kind, counter.name);
      if (!written.insert(name).second) continue;
      constexpr std::string_view kTotal = "_total";
      if (name.ends_with(kTotal)) {
        out.Counter(name.substr(0, name.size() - kTotal.size()), counter.help);
      } else {
        out.Gauge(name, counter.help);
      }
      for (const SinkStatus& sink : status.sinks) {
        if (sink.description.kind != kind) continue;
        for (const sink::Counter& same : sink.description.counters) {
          if (same.name == counter.name) out.Sample(same.value, {{"sink", sink.name}});
        }
      }
    }
  }
}

void WriteProcess(Writer& out, const PipelineStatus& status) {
  out.Gauge("process_resident_bytes", "Memory the process has.", status.resident_bytes);
  out.Gauge("process_peak_resident_bytes", "Most memory it had.", status.peak_resident_bytes);
  out.Counter("process_cpu_seconds", "CPU time used.", status.cpu_seconds);
  out.Gauge("process_start_timestamp_seconds", "When the pipeline started.",
            Seconds(status.started));
}

}  // namespace

std::string MetricsText(const PipelineStatus& status) {
  Writer out;
  out.Info("build", "What runs.", {{"version", status.version}});
  WriteHealth(out, status);
  WriteSource(out, status);
  WriteSnapshot(out, status);
  WriteLog(out, status);
  WriteSinks(out, status);
  WriteOwnCounters(out, status);
  WriteProcess(out, status);
  return std::move(out).Finish();
}

}  // namespace freshet::http
