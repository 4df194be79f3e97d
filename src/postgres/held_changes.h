#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/result.h"
#include "change/change_batch.h"

namespace freshet::postgres {

/// Takes one table's changes out of a stream while the rows from before them are read, and gives
/// them back behind those (docs/adr/0114).
///
/// The rows are read as of a cut, a place in the WAL that is known only a while after it was made.
/// So the changes are first noted, while they go on as they are; from the cut on they are held.
/// They are kept in memory, then in files. Nothing in these is worth keeping after a crash: the
/// table is read anew. They are never synced, and leftovers are removed by the next one.
///
/// Threads: one. Errors: kNoSpace (budget or disk), kIo, kDenied, kCorrupt. After an error the
/// table has to be read anew.
class HeldChanges {
 public:
  struct Limits {
    std::string folder;        ///< scratch; made when needed. Empty: memory is all there is
    int64_t memory_bytes = 0;  ///< kept before a file is written
    int64_t budget_bytes = 0;  ///< of the files
  };

  /// `fs` outlives it.
  HeldChanges(FileSystem& fs, Limits limits) : fs_(fs), limits_(std::move(limits)) {}
  ~HeldChanges();
  HeldChanges(const HeldChanges&) = delete;
  HeldChanges& operator=(const HeldChanges&) = delete;

  /// From here on the changes of `table` are noted. Nothing may be held.
  void Note(change::TableId table);

  /// From here on they are held. Of those noted, the ones that committed before `cut` are
  /// forgotten; the others will come again, behind the rows.
  Status Hold(change::Lsn cut);

  /// What goes on of `batch`, which may be all of it; never null. Asked of every batch in order.
  Result<std::shared_ptr<const change::ChangeBatch>> Pass(
      std::shared_ptr<const change::ChangeBatch> batch);

  /// What was noted need not come again: only what has not gone on yet is given back.
  void ForgetNoted();

  /// The oldest changes held, as pieces behind `behind`: one transaction of kind kSnapshot for each
  /// of theirs, with its time, origin and ordinals. Null: none is held. Where no transaction is
  /// half passed.
  Result<std::shared_ptr<const change::ChangeBatch>> Take(const change::Position& behind);

  /// Lets go of everything; changes go on as they are.
  void Stop();

  bool holds() const { return state_ == State::kHolding; }
  bool empty() const { return front_.empty() && memory_.empty() && files_.empty(); }
  int64_t bytes() const { return memory_bytes_ + file_bytes_; }

 private:
  enum class State : uint8_t { kPassing, kNoting, kHolding };

  /// Changes of the table alone.
  struct Held {
    std::shared_ptr<const change::ChangeBatch> batch;
    bool noted = false;  ///< it has gone on before
  };

  struct File {
    std::string path;
    int64_t bytes = 0;
    change::Lsn last_commit;  ///< start of the last commit record in it
  };

  std::shared_ptr<const change::ChangeBatch> BehindCut(
      std::shared_ptr<const change::ChangeBatch> changes) const;
  Status WriteOut();
  Status ReadBack();
  Status RemoveFirstFile();
  void RemoveFiles();

  FileSystem& fs_;
  const Limits limits_;
  State state_ = State::kPassing;
  change::TableId table_;
  change::Lsn cut_;  ///< of kHolding: what committed before is not given back
  bool forget_noted_ = false;
  std::deque<File> files_;  ///< older than what is in memory
  std::deque<Held> memory_;
  std::deque<Held> front_;  ///< read back out of a file: the oldest of all
  std::vector<std::shared_ptr<const change::TableSchema>> schemas_;  ///< that files refer to
  int64_t memory_bytes_ = 0;
  int64_t file_bytes_ = 0;
  int64_t next_file_ = 0;
};

}  // namespace freshet::postgres
