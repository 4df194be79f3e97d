#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "change/snapshot_progress.h"
#include "postgres/catalog.h"
#include "postgres/live_snapshot.h"
#include "postgres/options.h"
#include "postgres/request_desk.h"
#include "postgres/schema_source.h"
#include "postgres/table_choice.h"
#include "postgres/table_gate.h"
#include "postgres/table_watch.h"

namespace freshet::postgres {

/// Knows whose rows the log has, or is about to get, and lets other tables join a stream.
///
/// A table whose older rows the log does not have is first wanted in the log, and only then carried
/// by publication and gate. So there is no moment at which a crash would leave a log that has its
/// changes and seems to have its rows.
///
/// Threads: the receiver's.
class TableKeeper final : public SchemaSource, public LiveSnapshot::Joiner {
 public:
  /// The tables of a log: ids of relations.
  using Ids = std::unordered_set<uint32_t>;

  /// `known`: tables whose older rows the log has, or knows that it lacks; empty: any, since no
  /// rows but the stream's are wanted. `left_out`: tables whose changes were left out for a while,
  /// so that their rows are to be read again; kept by the caller from one stream to the next, since
  /// `log` learns of it between transactions only. References outlive it, but for `log`; `options`
  /// gets the tables chosen by Choose().
  TableKeeper(Options& options, Catalog& catalog, TableGate& gate, TableWatch& watch,
              RequestDesk& desk, StatusBoard& board, TableFilter filter, const Choice& choice,
              Ids known, Ids& left_out, const change::SnapshotLedger& log);

  /// Tables that the log does not know to be left out from here on.
  bool leaves_out() const { return !steps_.empty(); }

  /// Wants what the log lacks: unfinished snapshots go on, tables that it does not know begin.
  /// Errors: those of LiveSnapshot::Want().
  Status WantMissing(const Choice& choice, const change::SnapshotLedger& snapshots,
                     LiveSnapshot& snapshot, std::stop_token stop);

  Status Serve(LiveSnapshot& snapshot, std::stop_token stop) override;
  Result<std::shared_ptr<const change::TableSchema>> Resolve(
      const pgoutput::Relation& relation) override;
  Result<std::optional<ChosenTable>> Join(change::TableId table, std::stop_token stop) override;
  std::vector<change::SnapshotProgress> TakeSteps() override;

 private:
  /// Chooses other tables from now on. True: the stream has to begin anew for it.
  /// Errors, with the choice as before: kConfig, kNotFound, kUnsupported (`snapshot: never`).
  Result<bool> Choose(const std::vector<std::string>& tables,
                      const std::vector<std::string>& exclude, LiveSnapshot& snapshot,
                      std::stop_token stop);

  /// Wants a chosen table's rows once more. Errors: kConfig (not chosen, snapshot: never),
  /// kNotFound, kBusy (being read).
  Status ReadAgain(const change::TableName& table, bool replaces, LiveSnapshot& snapshot,
                   std::stop_token stop);

  /// Wants tables whose rows came, went or changed without a word in the stream.
  Status ReadUnsent(LiveSnapshot& snapshot, std::stop_token stop);
  Status ReadUnsent(const UnsentRows& rows, const Choice& choice, LiveSnapshot& snapshot,
                    std::stop_token stop);

  /// Errors: kUnavailable for a table whose rows have to be wanted first: the stream begins anew.
  Status Admit(change::TableId id);

  /// What is to be wanted of a table. One without a key cannot be read in chunks, nor any of a
  /// standby (docs/adr/0115).
  Result<LiveSnapshot::Wanted> Describe(const ChosenTable& table);

  Options& options_;
  Catalog& catalog_;
  TableGate& gate_;
  TableWatch& watch_;
  RequestDesk& desk_;
  StatusBoard& board_;
  TableFilter filter_;
  Ids known_;
  Ids& left_out_;
  bool any_;                                     ///< all tables are known
  std::optional<bool> standby_;                  ///< the source is one; not asked yet
  bool grows_;                                   ///< the publication takes in new tables by itself
  Ids there_;                                    ///< when the stream began
  std::vector<change::SnapshotProgress> steps_;  ///< that the log does not have
};

}  // namespace freshet::postgres
