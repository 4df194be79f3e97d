#pragma once

#include <chrono>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "postgres/catalog.h"
#include "postgres/options.h"
#include "postgres/receiver.h"
#include "postgres/slot_guard.h"
#include "postgres/source_picture.h"
#include "postgres/status_board.h"

namespace freshet::postgres {

/// How the session beside a stream is opened. The stream waits for its answers, and those who read
/// rows wait for the stream, maybe with locks: so it must not wait long for a lock itself.
inline SessionOptions BesideStream() { return {.settings = {{"lock_timeout", "1000"}}}; }

/// Looks after what a stream does not tell: is the session beside it alive, what does the slot hold
/// back, is the walsender held up by a standby, does the publication still send all that it sent.
class SideWatch final : public Receiver::Companion {
 public:
  /// All references outlive it.
  SideWatch(const Options& options, Catalog& catalog, StatusBoard& board, const Clock& clock)
      : options_(options), catalog_(catalog), board_(board), clock_(clock) {}

  /// Takes the picture that later ones are compared with. Before the stream begins, and when
  /// tables join or leave the choice: `chosen`.
  Status Begin(std::span<const change::TableId> chosen, std::stop_token stop);

  Result<bool> LookAfter(bool check_slot, const std::vector<std::string>& notices,
                         std::stop_token stop) override;

 private:
  Status CheckSlotNow(std::stop_token stop);

  /// Puts the slot's figures on the board; says once when an alarm is raised or worse than before.
  void ShowSlot(const Slot& slot);

  /// A walsender that waits for a standby says so in the server's log only.
  Status ShowStandby(const Slot& slot, std::stop_token stop);

  /// Compares the publication and its tables with what they were before.
  Status LookAtTables(std::stop_token stop);

  const Options& options_;
  Catalog& catalog_;
  StatusBoard& board_;
  const Clock& clock_;
  std::vector<change::TableId> chosen_;
  SourcePicture before_;                         ///< with the partitions that joined later
  std::map<uint32_t, std::string> unsent_rows_;  ///< by table: what was seen of it since Begin()
  bool tables_joined_ = false;                   ///< seen: the stream ends for it
  std::chrono::nanoseconds next_picture_{};
  SlotLimits limits_;
};

}  // namespace freshet::postgres
