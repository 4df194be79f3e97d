#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/snapshot_progress.h"
#include "postgres/catalog.h"
#include "postgres/chunk_governor.h"
#include "postgres/chunk_join.h"
#include "postgres/chunk_plan.h"
#include "postgres/chunk_reader.h"
#include "postgres/options.h"
#include "postgres/receiver.h"
#include "postgres/status_board.h"
#include "postgres/table_choice.h"
#include "postgres/whole_read.h"

namespace freshet::postgres {

/// Takes the rows that were there while their changes are streamed, chunk by chunk, and says where
/// in the stream they stand (docs/adr/0095).
///
/// A table goes through four phases, each of which begins with a step in the log: wanted (its
/// changes are remembered, and every transaction that ran meanwhile is waited for), reading,
/// sweeping (rows that an update may have moved past the chunks are read once more), finished.
/// A table that cannot be read in chunks is read as a whole, at a cut (WholeRead): wanted, reading,
/// finished; one such at a time.
///
/// Threads: that of the receiver. Its ChunkReader has some of its own, while there are tables.
/// Errors: what cannot be mended by reading again: kDenied (row-level security, a revoked right),
/// kUnsupported, kMalformed.
class LiveSnapshot final : public Receiver::Inset {
 public:
  /// A table to be read.
  struct Wanted {
    ChosenTable table;
    const change::UnfinishedSnapshot* so_far = nullptr;  ///< by the log; null: it knows nothing
    bool replaces = true;                                ///< targets empty it first
    bool whole = false;  ///< not in chunks: it has no key, or the source is a standby. Replaces
    std::vector<change::TableId> only = {};  ///< the partitions whose rows are read; empty: all
    std::string why = {};                    ///< one sentence, where it is read again by itself
  };

  /// Brings a table into the stream.
  class Joiner {
   public:
    virtual ~Joiner() = default;

    /// Has the publication carry `table`, and lets it through. Called once the log has the table
    /// as wanted, so that no change of it can come before. Tried again later when it fails with
    /// kUnavailable, kBusy, kDenied, kConfig, kNotFound or kUnsupported; nullopt: it takes a new
    /// connection.
    virtual Result<std::optional<ChosenTable>> Join(change::TableId table,
                                                    std::stop_token stop) = 0;

    /// Does what others ask of the stream. Called often. Errors end the stream.
    virtual Status Serve(LiveSnapshot& snapshot, std::stop_token stop) = 0;

    /// What else the log has to know of the tables, behind what they are wanted for.
    virtual std::vector<change::SnapshotProgress> TakeSteps() = 0;
  };

  /// All references outlive it. The catalog's session is used for short questions.
  LiveSnapshot(const Options& options, Catalog& catalog, Joiner& joiner, StatusBoard& board,
               const Clock& clock);
  ~LiveSnapshot() override;

  /// Wants rows of tables. What of a table that is published was streamed so far must be known to
  /// the log. Errors: those of Connection.
  Status Want(std::vector<Wanted> wanted, std::stop_token stop);

  /// Whether a table's rows are wanted or read.
  bool Has(change::TableId table) const;

  /// A table of the log that is not chosen any more, or gone: its snapshot ends here.
  void DoNotWant(change::TableId table);

  bool has_tables() const { return !ids_.empty(); }

  std::shared_ptr<const change::ChangeBatch> Pass(
      std::shared_ptr<const change::ChangeBatch> batch) override;
  std::shared_ptr<const change::ChangeBatch> Announce(const change::Position& behind) override;
  std::shared_ptr<const change::ChangeBatch> AnnounceIn(
      std::shared_ptr<const change::ChangeBatch> last) override;
  Result<bool> Work(std::stop_token stop) override;
  Result<std::shared_ptr<const change::ChangeBatch>> Next(const change::Position& behind,
                                                          change::Lsn passed) override;
  std::optional<change::Lsn> awaits() override;
  int64_t rows() const override { return rows_; }
  int64_t bytes() const override { return bytes_; }

 private:
  using Nanos = std::chrono::nanoseconds;

  enum class Phase : uint8_t {
    kNew,       ///< the log does not know yet that it is wanted
    kWanted,    ///< joins the stream, waits for transactions and for its turn
    kReading,   ///< kBegun is in the log
    kSweeping,  ///< every part was read
  };

  struct Part {
    CatalogTable relation;
    PartPlan plan;
    bool left_out = false;  ///< its rows are not read
    bool toasts = false;    ///< has a TOAST table: updates may leave values out
    bool sweeping = false;  ///< its sweep is under way
    bool swept = false;
  };

  struct Table {
    ChosenTable source;
    bool joined = false;  ///< published, let through, and watched
    Phase phase = Phase::kNew;
    bool replaces = true;
    bool whole = false;  ///< read at a cut, not in chunks
    bool fresh = false;  ///< begun here, and since then nothing of it came twice or changed
    std::vector<change::TableId> only = {};  ///< of Wanted
    std::string why = {};                    ///< of Wanted
    bool watched_whole = false;  ///< since before it was begun: saw_unchanged() tells all
    uint64_t begun_xid = 0;
    std::vector<Part> parts;
    ChunkSizer sizer;
    int64_t chunks = 0;       ///< under way
    bool alone = false;       ///< its chunks are not read together with others
    bool gone = false;        ///< dropped, or not wanted any more
    bool may_read = false;    ///< what ran when it was watched has ended
    Nanos not_before{};       ///< of the next try after one that failed
    Nanos pause{};            ///< before the next try
    std::string waits_for{};  ///< why, one sentence
    Nanos since{};
    int64_t blocks_before = 0;  ///< read at that time
    int64_t rows = 0;           ///< of this run
    int64_t bytes = 0;
    int64_t rows_estimated = -1;
    change::UnfinishedSnapshot so_far = {};
  };
  using Tables = std::list<Table>;  ///< nodes do not move

  struct Chunk {
    Tables::iterator table;
    size_t part = 0;
    ChunkRange range;
    int64_t size = 0;
    bool sweep = false;
    bool given_up = false;
    std::optional<ChunkOpened> opened;
  };

  /// A table's schema in the stream, and the transaction that brought it.
  struct Streamed {
    uint64_t fingerprint = 0;
    change::Xid xid;
  };

  /// What is to be announced.
  std::vector<change::SnapshotProgress> TakeSteps();

  Status Join(std::stop_token stop);
  Status Watch(std::span<Table* const> tables, std::stop_token stop);
  ChunkReader& Reader();
  Status TakeEvents(std::stop_token stop);

  /// Has an idle server write out the end of its WAL when a piece waits for that.
  Status Nudge(std::stop_token stop);
  Status Opened(int64_t id, ChunkOpened opened);
  Status Failed(const ChunkFailed& failed, std::stop_token stop);
  void GiveUp(int64_t id, Chunk& chunk, bool again);

  /// The table was altered since other chunks of it were opened: their rows lack what it has now,
  /// and must not stand behind rows that have it.
  void GiveUpOlderShapes(const Chunk& newest);
  void Forget(int64_t id);

  /// An active table has no key any more: it is read from the start, in the other way.
  void ReadWhole(Tables::iterator table);
  void StartWhole();
  Status WholeFailed(const Error& error, std::stop_token stop);
  Result<std::shared_ptr<const change::ChangeBatch>> PlaceWhole(const change::Position& behind,
                                                                change::Lsn passed);
  Result<bool> IsKeyed(const Table& table);
  void TryLater(Table& table, std::string why);
  void StartChunks();
  std::vector<ChunkTask> NextChunks();
  ChunkTask MakeChunk(Tables::iterator table, size_t part, ChunkRange range);
  Status LookAtTransactions(std::stop_token stop);
  void LineUp(Nanos now);
  Status LookAtSource(std::stop_token stop);
  Status LookAgain(Tables::iterator table, std::stop_token stop);
  bool IsStale(const Chunk& chunk) const;
  bool NeedsSweep(const Table& table) const;

  /// Tables that may begin now, in order.
  std::vector<Tables::iterator> NextToBegin();

  /// Moves a table on whose chunks are all read; true when that was its end.
  bool Conclude(Table& table);
  void Finish(Tables::iterator table, change::ChangeBatch& batch);

  /// Begins tables, each with a step in `batch`. It may come to nothing.
  Status Begin(const std::vector<Tables::iterator>& tables, change::ChangeBatch& batch);

  /// `bytes`: of the batch's pieces.
  bool FitsInto(const change::ChangeBatch& batch, int64_t bytes, const ChunkPiece& piece) const;
  void PlacePiece(change::ChangeBatch& batch);
  std::shared_ptr<change::ChangeBatch> NewBatch(const change::Position& behind) const;
  void Show();
  SnapshotTable Figures(const Table& table) const;

  const Options& options_;
  Catalog& catalog_;
  Joiner& joiner_;
  StatusBoard& board_;
  const Clock& clock_;
  ChunkJoin join_;
  WholeRead whole_;
  bool whole_has_turn_ = false;          ///< its pieces alternate with those of chunks
  std::unique_ptr<ChunkReader> reader_;  ///< while there are tables

  // A table is in one of four lists.
  Tables waiting_;           ///< to be announced, to join, for transactions, or after an error
  Tables ready_;             ///< wanted, for their turn
  Tables wholes_;            ///< wanted or begun, those that are read as a whole
  Tables active_;            ///< begun; and those that are gone, whatever they were
  Tables::iterator at_cut_;  ///< in wholes_, the one that is read; its end: none
  std::unordered_set<uint32_t> ids_;  ///< of all these
  bool to_announce_ = false;          ///< some table is new

  std::map<int64_t, Chunk> chunks_;  ///< by the join's id
  std::map<change::TableId, Streamed> streamed_;
  std::vector<SnapshotTable> finished_;  ///< the last kMostShown
  ChunkAllowance allowance_;             ///< none before the first look
  change::Lsn awaited_;                  ///< by the first piece
  Nanos awaited_since_{};                ///< or since the last nudge
  Nanos looked_{};
  Nanos measured_{};
  Nanos shown_{};
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace freshet::postgres
