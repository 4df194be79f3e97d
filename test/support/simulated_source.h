#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "change/change_batch.h"
#include "postgres/txid_snapshot.h"
#include "support/batches.h"

namespace freshet::test {

/// A table's row: id, title, body, notes and, once the column is there, extra.
using Values = std::vector<std::string>;

/// Keys and rows, as a reader of the whole table sees them.
using Contents = std::map<std::string, Values>;

/// The choices of one run.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}

  /// 0 to below `count`.
  size_t Below(size_t count) {
    return std::uniform_int_distribution<size_t>(0, count - 1)(engine_);
  }
  bool OneIn(size_t count) { return Below(count) == 0; }

 private:
  std::mt19937_64 engine_;
};

/// A PostgreSQL server with one table and some sessions that write it, as far as snapshots and the
/// stream of changes are concerned: row versions in blocks, row locks, savepoints, prepared
/// transactions (which just last), commits that are in the WAL before they are visible, TOASTed
/// values that an update leaves alone, truncates, a column that is added.
class SimulatedSource {
 public:
  static constexpr int kBlocks = 6;
  static constexpr size_t kSessions = 4;

  SimulatedSource(Dice& dice, change::ReplicaIdentity identity);

  /// Some session does its next thing, if it can.
  void Step();

  /// All sessions end what they have open.
  void Quiesce();

  /// What a session that begins now would see.
  postgres::TxidSnapshot Snapshot() const;

  /// The same as if visibility followed the WAL: wrong, for a test of the tests.
  postgres::TxidSnapshot SnapshotByWal() const;

  /// Nobody holds the lock that a reader's conflicts with.
  bool CanRead() const { return !exclusive_; }

  /// A row as a chunk's session finds it.
  struct FoundRow {
    Values values;
    int block = 0;
    uint64_t xmin = 0;  ///< 64-bit
  };
  std::vector<FoundRow> Read(const postgres::TxidSnapshot& snapshot) const;

  /// The rows that were there before the first commit of the WAL.
  const Contents& first_rows() const { return first_rows_; }

  /// Commits in the WAL so far: the position of its end.
  size_t wal_end() const { return wal_.size(); }

  /// `count` commits from `index` of the WAL on, as the stream sends them in one batch.
  std::shared_ptr<const change::ChangeBatch> Commits(size_t index, size_t count) const;

  /// The commit at `index`, each statement's row in a part of its own.
  std::vector<std::shared_ptr<const change::ChangeBatch>> Parts(size_t index) const;

  /// Does to a table what the commit at `index` did.
  void Apply(size_t index, Contents& contents) const;

  /// The table's shape now, as a chunk's session finds it.
  const std::shared_ptr<const change::TableSchema>& schema() const { return schemas_[shape_]; }
  change::TableId table() const { return schemas_[0]->id(); }

 private:
  struct Version {
    Values values;
    int block = 0;
    uint64_t xmin = 0;
    uint64_t xmax = 0;  ///< 0: nobody ended it
    bool undone = false;
  };

  enum class What : uint8_t { kInsert, kUpdate, kDelete, kTruncate };

  /// What one statement did to one row, for the stream and for undoing it.
  struct Operation {
    What what = What::kInsert;
    Values before;
    Values after;
    std::set<size_t> unchanged;
    size_t shape = 0;
    size_t ended = 0;               ///< version, of kUpdate and kDelete
    size_t made = 0;                ///< version, of kInsert and kUpdate
    std::vector<size_t> all_ended;  ///< versions, of kTruncate
  };

  enum class State : uint8_t { kRunning, kCommitting, kEnded };

  struct Session {
    uint64_t xid = 0;  ///< 0: idle
    State state = State::kEnded;
    bool prepared = false;
    bool exclusive = false;  ///< holds the lock of a truncate
    std::vector<Operation> operations;
    std::vector<size_t> savepoints;
    std::set<std::string> locks;
  };

  struct Committed {
    uint64_t xid;
    std::vector<Operation> operations;
  };

  void AddTo(BatchBuilder& builder, const Operation& operation) const;
  void Write(Session& session);
  void Insert(Session& session);
  void Update(Session& session, size_t version);
  void Delete(Session& session, size_t version);
  void Truncate(Session& session);
  void AddColumn();
  void Undo(Session& session, size_t from);
  void Commit(Session& session);
  void End(Session& session);
  bool Lock(Session& session, const std::string& key);
  bool Alone(const Session& session) const;
  size_t Make(Session& session, Values values);
  std::string NewText(size_t column);

  Dice& dice_;
  const bool full_;
  std::vector<std::shared_ptr<const change::TableSchema>> schemas_;
  Contents first_rows_;
  size_t shape_ = 0;
  uint64_t next_xid_;
  int64_t next_text_ = 0;
  std::vector<Version> heap_;
  std::map<std::string, size_t> current_;  ///< key -> version
  std::vector<Session> sessions_;
  bool exclusive_ = false;
  std::vector<Committed> wal_;
};

}  // namespace freshet::test
