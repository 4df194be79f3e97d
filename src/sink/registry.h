#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/binder.h"
#include "sink/read_back.h"
#include "sink/sink.h"

namespace freshet::sink {

/// When a sink's buffered changes are made durable: at the first limit reached, and only between
/// transactions. Interval 0 flushes whenever the log has nothing more to read.
struct FlushPolicy {
  config::Duration interval = std::chrono::seconds(1);
  int64_t rows = 100'000;
  config::ByteSize bytes{int64_t{64} << 20};

  /// While only rows of snapshots wait, and more stand behind them: so many times these limits. For
  /// targets to which few large transactions are cheaper. Not configured.
  int64_t snapshot_times = 1;
};

/// Everything the rest of freshet needs to know of one kind of sink, made from its section of a
/// configuration.
class Factory {
 public:
  virtual ~Factory() = default;

  /// Visits the keys of the sink's own section (`duckdb: { ... }`).
  virtual void Bind(config::Binder& binder) = 0;

  /// Says why the options fit no sink of this kind (mode not supported, ...); empty when they do.
  virtual std::string Reject(const SinkOptions& options) const = 0;

  /// What `flush:` is where a configuration does not say. Asked after Bind().
  virtual FlushPolicy DefaultFlush() const { return {}; }

  /// Makes the sink, unopened. `clock` outlives it.
  virtual std::unique_ptr<Sink> MakeSink(const SinkOptions& options, const Clock& clock) const = 0;

  /// Makes a reader of the target; null when the kind keeps nothing that could be read.
  virtual Result<std::unique_ptr<ReadBack>> MakeReadBack(const SinkOptions& options) const = 0;

  /// Tries whether the target can be reached and written, for `freshet check`. Leaves nothing
  /// behind but its folders, and disturbs no sink that runs. Errors: those of Sink::Open().
  virtual Status CheckTarget() const { return {}; }

  /// What a sink would do to its target before the first row of the last of `versions`, having
  /// followed the table from the first of them on: SQL or sentences, in order. Touches no target.
  /// Errors: kUnsupported where it would stop.
  virtual Result<std::vector<std::string>> Foresee(const SinkOptions& /*options*/,
                                                   const TableVersions& /*versions*/) const {
    return std::vector<std::string>();
  }

  /// The DuckDB file of this sink, for `freshet query`; empty for other kinds.
  virtual std::string WarehousePath() const { return {}; }
};

/// One row of the table of sinks.
struct Registration {
  std::string_view kind;  ///< the key that chooses it, "duckdb"
  std::string_view doc;   ///< one sentence
  WriteMode default_mode;
  std::unique_ptr<Factory> (*make)();
};

/// Every kind of sink there is.
std::span<const Registration> Registrations();

}  // namespace freshet::sink
