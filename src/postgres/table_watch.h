#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/snapshot_progress.h"
#include "postgres/catalog.h"
#include "postgres/options.h"
#include "postgres/source_picture.h"
#include "postgres/status_board.h"

namespace freshet::postgres {

/// Tables of which the stream brought a TRUNCATE.
using Truncated = std::unordered_set<uint32_t>;

/// Compares the captured tables and their publication with what the log knows of them, and says
/// whose rows came, went or changed without a word in the stream (docs/adr/0112).
///
/// What it saw of a table goes into the log once nothing is unsent of it, or is about to be read
/// again. So what happens while freshet is down is found at the next start, and what was found and
/// not read again by a crash is found once more.
///
/// Threads: the receiver's. Errors: those of Connection.
class TableWatch {
 public:
  /// `log`: what was seen by earlier runs. `truncated` is added to by the stream; what was made use
  /// of is taken out. All references but `log` outlive it.
  TableWatch(const Options& options, Catalog& catalog, StatusBoard& board, const Clock& clock,
             const change::SnapshotLedger& log, Truncated& truncated);

  /// Looks at the tables `chosen` from now on. Those that are not known yet are taken as they are:
  /// before the stream begins, and before rows of tables that join are read.
  Status Begin(std::span<const change::TableId> chosen, std::stop_token stop);

  /// Looks once more; seldom, where that costs the server much. Errors besides: kGap (a table is
  /// not sent any more), kUnavailable (the publication has more tables: the stream begins anew).
  Status Look(std::stop_token stop);

  /// The publication has more tables: the stream ends for it.
  bool tables_joined() const { return tables_joined_; }

  /// Tables that are to be read again, once a look; one that is not Settle()d comes again.
  std::vector<UnsentRows> TakeDue();

  /// The table is going to be read again, or is gone.
  void Settle(change::TableId table);

  /// It cannot be read again: a warning says so, until it is settled.
  void Refuse(change::TableId table, const std::string& why);

  /// The table's rows are going to be read: the next Begin() takes it as it is.
  void Forget(change::TableId table);

  /// What the log does not know of the tables yet.
  std::vector<change::SnapshotProgress> TakeSteps();

 private:
  struct Unsent {
    UnsentRows rows;
    change::Lsn
        seen_at;  ///< the stream has passed it: it has told of a TRUNCATE, or there was none
    std::string refused = {};  ///< why it cannot be read again
    bool offered = false;      ///< by TakeDue(), since the last look
  };

  void Take(const SourcePicture& now, std::vector<UnsentRows> unsent);
  void ShowWarnings(std::vector<std::string> warnings);

  /// Sorts out what was a TRUNCATE.
  void Resolve();
  bool is_sure(const Unsent& unsent) const;
  bool is_left(const Unsent& unsent) const;
  change::SeenTable Seen(change::TableId table) const;

  const Options& options_;
  Catalog& catalog_;
  StatusBoard& board_;
  const Clock& clock_;
  Truncated& truncated_;
  std::vector<change::TableId> chosen_;
  SourcePicture before_;
  std::map<change::TableId, Unsent> unsent_;
  std::map<change::TableId, change::SeenTable> logged_;
  uint64_t logged_horizon_ = 0;
  bool tables_joined_ = false;
  bool due_ = false;   ///< TakeDue() has something new to say
  bool news_ = false;  ///< TakeSteps() may have
  std::chrono::nanoseconds next_picture_{};
  std::chrono::nanoseconds next_horizon_{};
};

}  // namespace freshet::postgres
