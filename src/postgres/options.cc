#include "postgres/options.h"

#include <array>
#include <chrono>
#include <string_view>

#include "postgres/connection.h"
#include "postgres/table_filter.h"

namespace freshet::postgres {

void Bind(config::Binder& binder, Options& options) {
  static constexpr std::array<std::string_view, 3> kSnapshotNames = {"initial", "never", "only"};
  binder.Value({"url", "postgres:// URL or libpq keywords of the database.", true}, options.url);
  binder.Value({"slot", "Replication slot; made when absent."}, options.slot);
  binder.Value({"publication", "Publication; made for the chosen tables when absent."},
               options.publication);
  binder.Value({"tables", "Globs over schema.table that choose the tables, as public.*", true},
               options.tables);
  binder.Value({"exclude", "Globs of tables to leave out."}, options.exclude);
  BindEnum(binder,
           {"snapshot",
            "initial takes the rows that are there, then the stream; never takes the stream only; "
            "only takes the rows and stops."},
           kSnapshotNames, options.snapshot);
  binder.Value({"snapshot_workers", "Connections that copy tables side by side."},
               options.snapshot_workers);
  binder.Value({"snapshot_chunk_duration",
                "How long one read of a part of a table should take; parts are sized by it."},
               options.snapshot_chunk_duration);
  binder.Value({"snapshot_chunk_size", "Largest part of a table that is read at once."},
               options.snapshot_chunk_size);
  binder.Value({"snapshot_timeout", "After which one read of a part is broken off and done again."},
               options.snapshot_timeout);
  binder.Value(
      {"snapshot_window",
       "Memory for the keys that changed while rows are read; beyond it they are read again."},
      options.snapshot_window);
  binder.Value({"snapshot_pause_stream_lag",
                "No rows are read while the stream is further behind the server's WAL."},
               options.snapshot_pause_stream_lag);
  binder.Value({"snapshot_pause_replica_lag",
                "No rows are read while a physical standby is further behind."},
               options.snapshot_pause_replica_lag);
  binder.Value({"snapshot_pause_xmin_age",
                "No rows are read while a snapshot older than so many transactions holds back "
                "VACUUM."},
               options.snapshot_pause_xmin_age);
  static constexpr std::array<std::string_view, 3> kUnsentNames = {"read_again", "keep_vanished",
                                                                   "warn"};
  BindEnum(binder,
           {"unsent_rows",
            "Rows that PostgreSQL sends nothing of (a table rewritten, a partition attached, "
            "detached or truncated): read_again reads just that table or partition, and empties "
            "targets where rows may be gone; keep_vanished leaves rows that are gone, with a "
            "warning; warn names the table only."},
           kUnsentNames, options.unsent_rows);
  binder.Value({"slot_create_timeout",
                "How long making the slot may wait for running transactions of others."},
               options.slot_create_timeout);
  binder.Value({"slot_failover",
                "A new slot is made as one that standbys keep a copy of, so that it outlives a "
                "failover (PostgreSQL 17 and newer)."},
               options.slot_failover);
  binder.Value({"slot_retention_warning",
                "WAL that the slot may hold back where the server sets no max_slot_wal_keep_size; "
                "warned of from a quarter on, urgently from three quarters on."},
               options.slot_retention_warning);
  binder.Value({"status_interval", "Longest time between two acknowledgements to the server."},
               options.status_interval);
  binder.Value({"batch_rows", "Row images in a batch, at most; a larger transaction is split."},
               options.batch_rows);
  binder.Value({"batch_bytes", "Bytes of a batch, at most; a larger transaction is split."},
               options.batch_bytes);

  static constexpr std::array<std::string_view, 4> kInvalidTextNames = {"quarantine", "replace",
                                                                        "bytes", "fail"};
  BindEnum(
      binder,
      {"invalid_text",
       "What becomes of text that is not valid in the database's encoding: quarantine makes it "
       "null and keeps its exact bytes as an exception beside the row; replace puts U+FFFD for "
       "each invalid character, bytes writes its bytes as \\xHH; fail stops."},
      kInvalidTextNames, options.invalid_text);

  static constexpr std::array<std::string_view, 2> kStreamingNames = {"on", "off"};
  BindEnum(binder,
           {"streaming",
            "on takes large transactions while they still run (PostgreSQL 14 and newer) and keeps "
            "them in `spool` in the log's folder until they commit; off leaves them at the server "
            "until then."},
           kStreamingNames, options.streaming);
  binder.Value({"spool_budget",
                "Bytes of running transactions kept, at most; beyond it they stay at the server."},
               options.spool_budget);

  static constexpr std::array<std::string_view, 2> kCatchUpNames = {"auto", "off"};
  BindEnum(binder,
           {"catch_up",
            "auto reads a large backlog of the slot by COPY of "
            "pg_logical_slot_peek_binary_changes() (PostgreSQL 11 and newer), which is several "
            "times faster; off streams it."},
           kCatchUpNames, options.catch_up);
  binder.Value({"catch_up_threshold",
                "WAL behind which a backlog is large, and which is read at a time, at least; the "
                "server keeps as much in temporary files."},
               options.catch_up_threshold);

  if (const std::string why = RejectUrl(options.url); !options.url.empty() && !why.empty()) {
    binder.Reject("url", why);
  }
  // What the server allows in a slot's name; so it needs no thought in SQL either.
  const bool slot_ok =
      !options.slot.empty() && options.slot.size() <= 63 &&
      options.slot.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  if (!slot_ok) binder.Reject("slot", "must be 1 to 63 lower-case letters, digits and underscores");
  if (options.publication.empty()) binder.Reject("publication", "must not be empty");
  if (!options.tables.empty()) {
    const auto filter = TableFilter::Create(options.tables, options.exclude);
    if (!filter.has_value()) binder.Reject("tables", filter.error().message);
  }
  if (options.snapshot_workers < 1 || options.snapshot_workers > 64) {
    binder.Reject("snapshot_workers", "must be 1 to 64");
  }
  if (options.snapshot_chunk_duration < std::chrono::milliseconds(1)) {
    binder.Reject("snapshot_chunk_duration", "must be at least 1ms");
  }
  if (options.snapshot_chunk_size.bytes < 8192) {
    binder.Reject("snapshot_chunk_size", "must be at least 8KiB, a block");
  }
  if (options.snapshot_timeout < std::chrono::seconds(1)) {
    binder.Reject("snapshot_timeout", "must be at least 1s");
  }
  if (options.snapshot_pause_xmin_age < 1) {
    binder.Reject("snapshot_pause_xmin_age", "must be at least 1");
  }
  if (options.snapshot_window.bytes < int64_t{1} << 20) {
    binder.Reject("snapshot_window", "must be at least 1MiB");
  }
  if (options.status_interval < std::chrono::milliseconds(100)) {
    binder.Reject("status_interval", "must be at least 100ms");
  }
  if (options.slot_create_timeout <= std::chrono::seconds(0)) {
    binder.Reject("slot_create_timeout", "must be above zero");
  }
  if (options.slot_retention_warning.bytes <= 0) {
    binder.Reject("slot_retention_warning", "must be above zero");
  }
  if (options.batch_rows < 1 || options.batch_rows > 1'000'000) {
    binder.Reject("batch_rows", "must be 1 to 1000000");
  }
  if (options.batch_bytes.bytes < 4096 || options.batch_bytes.bytes > int64_t{512} << 20) {
    binder.Reject("batch_bytes", "must be 4KiB to 512MiB");
  }
  if (options.catch_up_threshold.bytes < int64_t{1} << 20) {
    binder.Reject("catch_up_threshold", "must be at least 1MiB; `catch_up: off` streams all");
  }
  if (options.spool_budget.bytes < int64_t{1} << 20) {
    binder.Reject("spool_budget", "must be at least 1MiB; `streaming: off` does without");
  }
}

}  // namespace freshet::postgres
