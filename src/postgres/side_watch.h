#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "postgres/catalog.h"
#include "postgres/options.h"
#include "postgres/receiver.h"
#include "postgres/slot_guard.h"
#include "postgres/status_board.h"
#include "postgres/table_watch.h"

namespace freshet::postgres {

/// How the session beside a stream is opened. The stream waits for its answers, and those who read
/// rows wait for the stream, maybe with locks: so it must not wait long for a lock itself.
inline SessionOptions BesideStream() { return {.settings = {{"lock_timeout", "1000"}}}; }

/// Looks after what a stream does not tell: is the session beside it alive, what does the slot hold
/// back, is the walsender held up by a standby; and has `tables` look at the tables.
class SideWatch final : public Receiver::Companion {
 public:
  /// All references outlive it.
  SideWatch(const Options& options, Catalog& catalog, TableWatch& tables, StatusBoard& board)
      : options_(options), catalog_(catalog), tables_(tables), board_(board) {}

  Result<bool> LookAfter(bool check_slot, const std::vector<std::string>& notices,
                         std::stop_token stop) override;

 private:
  Status CheckSlotNow(std::stop_token stop);

  /// Puts the slot's figures on the board; says once when an alarm is raised or worse than before.
  void ShowSlot(const Slot& slot);

  /// A walsender that waits for a standby names one that is away, not one that is slow.
  Status ShowStandby(const Slot& slot, std::stop_token stop);

  const Options& options_;
  Catalog& catalog_;
  TableWatch& tables_;
  StatusBoard& board_;
  SlotLimits limits_;
  change::Lsn received_before_;  ///< at the last look
};

}  // namespace freshet::postgres
