#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/binder.h"
#include "postgres/text_encoding.h"

namespace freshet::postgres {

/// Which existing rows are taken before the stream.
enum class SnapshotMode : uint8_t {
  kInitial,  ///< all rows of the tables, then the stream
  kNever,    ///< the stream only
  kOnly,     ///< all rows, then stop
};

/// Whether large transactions are sent while they still run, by servers that can (14+).
enum class Streaming : uint8_t {
  kOn,   ///< they come early, and wait in our spool for their commit
  kOff,  ///< they wait at the server
};

/// Whether a backlog of the slot is read by other means than streaming it.
enum class CatchUp : uint8_t {
  kAuto,  ///< in large rounds, where it is above a threshold and the server can (11+)
  kOff,
};

/// What becomes of rows that came, went or changed at the source without a word in its stream.
enum class UnsentRowsPolicy : uint8_t {
  kReadAgain,     ///< the table is read again; emptied before, where rows may be gone
  kKeepVanished,  ///< the same where rows came or changed; rows that are gone stay, with a warning
  kWarn,          ///< a warning names the table
};

/// The `source.postgres:` section of a configuration.
struct Options {
  Secret url;  ///< postgres:// URL or libpq keywords
  std::string slot = "freshet";
  std::string publication = "freshet";
  std::vector<std::string> tables;   ///< globs over schema.table; empty matches nothing
  std::vector<std::string> exclude;  ///< globs taken off again
  SnapshotMode snapshot = SnapshotMode::kInitial;
  int64_t snapshot_workers = 2;
  config::Duration snapshot_chunk_duration = std::chrono::seconds(2);
  config::ByteSize snapshot_chunk_size{int64_t{64} << 20};
  config::Duration snapshot_timeout = std::chrono::minutes(5);
  config::ByteSize snapshot_window{int64_t{64} << 20};
  config::ByteSize snapshot_pause_stream_lag{int64_t{256} << 20};
  config::Duration snapshot_pause_replica_lag = std::chrono::minutes(1);
  int64_t snapshot_pause_xmin_age = 500'000'000;
  UnsentRowsPolicy unsent_rows = UnsentRowsPolicy::kReadAgain;
  config::Duration slot_create_timeout = std::chrono::minutes(5);
  bool slot_failover = true;  ///< a new slot is one that standbys may keep a copy of (17+)
  config::ByteSize slot_retention_warning{int64_t{10} << 30};
  config::Duration status_interval = std::chrono::seconds(10);  ///< feedback at least this often
  InvalidText invalid_text = InvalidText::kQuarantine;
  int64_t batch_rows = 16'384;
  config::ByteSize batch_bytes{int64_t{4} << 20};
  Streaming streaming = Streaming::kOn;
  config::ByteSize spool_budget{int64_t{10} << 30};
  CatchUp catch_up = CatchUp::kAuto;
  config::ByteSize catch_up_threshold{int64_t{256} << 20};

  /// Not a key: where the spool is, inside the log's folder. Empty: no streaming.
  std::string spool_folder;
};

void Bind(config::Binder& binder, Options& options);

}  // namespace freshet::postgres
