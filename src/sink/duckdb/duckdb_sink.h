#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "sink/duckdb/database.h"
#include "sink/duckdb/options.h"
#include "sink/duckdb/target_table.h"
#include "sink/duckdb/upsert_run.h"
#include "sink/registry.h"
#include "sink/sink.h"

namespace freshet::sink::duckdb {

/// Writes into tables of one DuckDB file, the embedded warehouse.
///
/// One DuckDB transaction is open from the first Prepare() or Write() after a Flush() to that
/// Flush(), which adds the position and commits: rows, DDL and position are one act. Append mode
/// hands rows to DuckDB as they come; upsert mode collapses them (UpsertRun) and applies them at
/// the Flush, or before when `buffer` is full. Neither needs memory for a whole giant transaction:
/// DuckDB writes full row groups of an open transaction to the file. A table takes the shape of a
/// version when the first row of that version comes, so that the rows before are there already and
/// take the values they have in the source.
/// Threads: those of Sink.
class DuckDbSink final : public Sink {
 public:
  DuckDbSink(Options options, SinkOptions sink_options, const Clock& clock);
  ~DuckDbSink() override;

  Result<std::optional<StoredPosition>> Open(std::stop_token stop) override;
  Status Prepare(const change::TableSchema& schema) override;
  Status Write(const std::shared_ptr<const change::ChangeBatch>& batch,
               const StoredPosition& behind) override;
  Result<StoredPosition> Flush() override;
  Status Close() override;
  Description Describe() const override;

 private:
  /// One target table.
  struct Target {
    TargetTable table;
    std::set<uint64_t> prepared;                        ///< fingerprints of versions
    std::shared_ptr<const change::TableSchema> schema;  ///< the version in force
    std::optional<uint64_t> not_sent_from;  ///< append: `_cdc_lsn` of the first row to be filled
    uint64_t in_force = 0;                  ///< the version the table has the shape of; 0: none
    std::map<uint64_t, ColumnMapping> mappings;  ///< of that version and those in `run`
    bool had_rows = false;                       ///< before this sink wrote a snapshot into it
    bool deleted = false;                        ///< rows were, in the open transaction
    std::unique_ptr<TableAppender> appender;     ///< for the version in force
    std::unique_ptr<UpsertRun> run;              ///< upsert: not applied yet
    std::shared_ptr<const change::TableSchema> run_schema;  ///< newest version in `run`
  };

  Status BeginUnlessBegun();
  void Drop();
  Status CheckOwned(const change::TableSchema& schema, const TargetTable& table) const;
  Status PutInForce(Target& target, TargetTable table, const change::TableSchema& schema);
  Status MakeRoomFor(size_t columns);
  Status Evolve(Target& target, Evolution& evolution, const change::TableSchema& schema);
  Status MoveAside(const QualifiedName& table);
  Status SettleRows(Target& target);
  Result<std::vector<std::shared_ptr<arrow::Array>>> ReadFills(Evolution& evolution);
  Status NoteFill(Target& target, const Evolution& evolution, const Evolution::Fill& fill);
  Status MarkEmptied(const QualifiedName& table, const change::ChangeBatch& batch,
                     const change::TableChanges& changes);
  Status FillNotSent(Target& target);
  Status RebuildForAlter(Target& target);
  Status CheckExceptions(const change::TableChanges& changes);
  Status AppendChanges(Target& target, const change::ChangeBatch& batch,
                       const change::TableChanges& changes);
  Status AppendFresh(Target& target, const change::TableChanges& changes);

  /// Appends rows with the sink's own columns, by ExtraColumn; null: without it.
  Status AppendRows(Target& target, const change::TableChanges& changes,
                    const std::vector<std::shared_ptr<arrow::Array>>& extras);
  Status BufferChanges(Target& target, const std::shared_ptr<const change::ChangeBatch>& batch,
                       const change::TableChanges& changes);
  Status ApplyRun(Target& target);
  Status ApplyRuns();
  Status StorePosition();

  const Options options_;
  const SinkOptions sink_options_;
  const Clock& clock_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
  std::map<change::TableId, Target> targets_;
  bool in_transaction_ = false;
  bool at_boundary_ = true;    ///< what was written ends with the end of a transaction
  bool has_position_ = false;  ///< the target holds one of ours
  int64_t memory_bytes_ = 0;   ///< DuckDB's limit now
  int64_t buffered_bytes_ = 0;
  StoredPosition written_;
  StoredPosition flushed_;

  std::atomic<int64_t> rows_{0};
  std::atomic<int64_t> exceptions_{0};
  std::atomic<int64_t> flushes_{0};
  std::atomic<int64_t> collapsed_rows_{0};
};

std::unique_ptr<Factory> MakeFactory();
std::unique_ptr<Factory> MakeFactory(Options options);

}  // namespace freshet::sink::duckdb
