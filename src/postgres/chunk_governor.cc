#include "postgres/chunk_governor.h"

namespace freshet::postgres {

ChunkAllowance AllowChunks(const Options& options, const SourceStrain& strain) {
  if (strain.output_full) return {0, "the log takes no more for now"};
  if (strain.stream_lag_bytes > options.snapshot_pause_stream_lag.bytes) {
    return {0, fmt::format("the stream is {} bytes behind the server, more than "
                           "`snapshot_pause_stream_lag`",
                           strain.stream_lag_bytes)};
  }
  if (strain.replica_lag > options.snapshot_pause_replica_lag) {
    return {0, fmt::format("a standby is {} ms behind, more than `snapshot_pause_replica_lag` (see "
                           "pg_stat_replication)",
                           strain.replica_lag.count())};
  }
  if (strain.xmin_age > options.snapshot_pause_xmin_age) {
    return {0, fmt::format("some snapshot is {} transactions old and holds back VACUUM, more than "
                           "`snapshot_pause_xmin_age` (see pg_stat_activity.backend_xmin)",
                           strain.xmin_age)};
  }
  const bool strained = strain.stream_lag_bytes > options.snapshot_pause_stream_lag.bytes / 4;
  return {strained ? 1 : options.snapshot_workers, ""};
}

Result<SourceStrain> MeasureStrain(Connection& connection, change::Lsn received,
                                   std::stop_token stop) {
  FRESHET_TRY(
      const Rows rows,
      connection.Query(fmt::format("SELECT greatest(CASE WHEN pg_is_in_recovery()"
                                   "  THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
                                   "  - '{}'::pg_lsn, 0)::int8,"
                                   " (SELECT (1000 * max(extract(epoch FROM r.replay_lag)))::int8"
                                   "  FROM pg_stat_replication r WHERE NOT EXISTS (SELECT FROM"
                                   "  pg_replication_slots s WHERE s.active_pid = r.pid"
                                   "  AND s.slot_type = 'logical')),"
                                   " (SELECT max(age(backend_xmin)) FROM pg_stat_activity)",
                                   change::ToString(received)),
                       stop));
  return SourceStrain{.stream_lag_bytes = rows.integer(0, 0),
                      .replica_lag = std::chrono::milliseconds(rows.integer(0, 1)),
                      .xmin_age = rows.integer(0, 2)};
}

}  // namespace freshet::postgres
