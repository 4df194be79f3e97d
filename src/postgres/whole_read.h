#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/cut_reader.h"
#include "postgres/held_changes.h"
#include "postgres/options.h"
#include "postgres/table_choice.h"

namespace freshet::postgres {

/// Reads one table at a time as a whole, at a cut, while the stream goes on: one that has no key by
/// which chunks could be joined with the stream, or any one of a standby (docs/adr/0114).
///
/// The other tables' changes pass. This one's are held from the cut on, and placed behind the rows:
///
///   ... changes before the cut | begun | rows | changes behind the cut | finished | changes ...
///
/// Threads: one.
class WholeRead {
 public:
  /// What stands next in the stream.
  struct Placed {
    std::shared_ptr<change::ChangeBatch> batch;  ///< null: nothing yet
    bool began = false;                          ///< it has the step kBegun
    bool ends = false;                           ///< the step kFinished is to be added to it
    int64_t rows = 0;                            ///< of the snapshot
  };

  WholeRead(const Options& options, const Clock& clock);

  /// The table that is read; none when another one may be.
  std::optional<change::TableId> table() const { return table_; }

  /// Starts with a table whose changes the stream carries whole from here on.
  void Start(const ChosenTable& table);

  /// What goes on of a batch of the stream now, maybe all of it. Every one in order.
  std::shared_ptr<const change::ChangeBatch> Pass(std::shared_ptr<const change::ChangeBatch> batch);

  /// Looks how far the cut is. An error is told once: reading broke off, and may be tried again
  /// once what was held has been given back, when there is no table() any more.
  Status Work();

  /// As Receiver::Inset::awaits().
  std::optional<change::Lsn> awaits() const;

  /// What stands next behind `behind`, once all that committed before `passed` has passed.
  /// Errors as of Work().
  Result<Placed> Next(const change::Position& behind, change::Lsn passed);

  /// How far it is, and what it waits for; without a state.
  SnapshotTable progress() const;

 private:
  enum class State : uint8_t {
    kIdle,
    kCutting,    ///< the cut is being made; changes are noted
    kCut,        ///< the stream has still to pass it
    kReading,    ///< kBegun is placed
    kFollowing,  ///< all rows are; what was held follows
    kReleasing,  ///< broken off: what was held goes on
  };

  /// Everything breaks off, but what is held is not lost.
  Status BreakOff(Error error);
  Result<Placed> NextOf(const change::Position& behind, change::Lsn passed);
  std::shared_ptr<change::ChangeBatch> NewBatch(const change::Position& behind) const;

  const Options& options_;
  const Clock& clock_;
  State state_ = State::kIdle;
  std::optional<change::TableId> table_;
  std::unique_ptr<CutReader> reader_;
  CutReader::Cut cut_;
  HeldChanges held_;
  SnapshotTable done_;  ///< the figures of the last one
  std::optional<Error> held_failed_;
};

}  // namespace freshet::postgres
