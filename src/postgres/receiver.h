#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/assembler.h"
#include "postgres/capture.h"
#include "postgres/options.h"
#include "postgres/read_pacer.h"
#include "postgres/replication_stream.h"
#include "postgres/spool.h"
#include "postgres/status_board.h"
#include "postgres/table_gate.h"

namespace freshet::postgres {

/// Moves a stream into a CaptureOutput: receives, assembles, offers, acknowledges.
///
/// One thread does all four. It never waits for the output longer than the next answer to the
/// server is due, so a stalled pipeline cannot silence the feedback
/// (docs/adr/0021-one-thread-receives-and-acknowledges.md). Reads no further while batches wait.
///
/// What is acknowledged is what the output calls durable, nothing else. WAL without changes for us
/// is acknowledged too: its end, as announced by a keepalive, is made durable first as a
/// transaction without changes (docs/adr/0022-idle-positions-are-made-durable.md).
class Receiver {
 public:
  /// The session beside the stream, looked after now and then.
  class Companion {
   public:
    virtual ~Companion() = default;

    /// Called every kCompanionInterval. `check_slot`: the slot's figures are due. `notices`: what
    /// the walsender said on the side since the last call.
    /// Errors end the stream. False: the server does not take new sessions, it shuts down.
    virtual Result<bool> LookAfter(bool check_slot, const std::vector<std::string>& notices,
                                   std::stop_token stop) = 0;
  };

  /// Rows from beside the stream, placed into it between its transactions.
  class Inset {
   public:
    virtual ~Inset() = default;

    /// The stream goes on with `batch`: each in order, before Next() that follows it. Returns what
    /// of it goes on now, with the same transactions; what is left out follows by Next().
    virtual std::shared_ptr<const change::ChangeBatch> Pass(
        std::shared_ptr<const change::ChangeBatch> batch) = 0;

    /// Moves what goes on beside the stream. True while there is anything to place, now or later.
    virtual Result<bool> Work(std::stop_token stop) = 0;

    /// What must stand in the log before anything more of the stream, behind `behind`; null:
    /// nothing. Called where no transaction is half passed, for the first time before any change
    /// was received.
    virtual std::shared_ptr<const change::ChangeBatch> Announce(const change::Position& behind) = 0;

    /// The same where the stream begins inside a transaction that the log has a part of: `last`,
    /// its last part, with what must be known from its end on. A log that has one has the other.
    virtual std::shared_ptr<const change::ChangeBatch> AnnounceIn(
        std::shared_ptr<const change::ChangeBatch> last) = 0;

    /// What stands next behind `behind`, where no transaction is half passed and all that was
    /// committed before `passed` was observed; its position is the next one behind `behind`. Null:
    /// nothing yet.
    virtual Result<std::shared_ptr<const change::ChangeBatch>> Next(const change::Position& behind,
                                                                    change::Lsn passed) = 0;

    /// The place in the WAL that the stream has to pass before Next() gives more; 0: anywhere.
    /// None: there is nothing to place at the moment.
    virtual std::optional<change::Lsn> awaits() = 0;

    /// Rows placed so far, and their bytes as they came.
    virtual int64_t rows() const = 0;
    virtual int64_t bytes() const = 0;
  };

  struct Timing {
    std::chrono::nanoseconds status_interval;
    std::chrono::nanoseconds wal_sender_timeout;  ///< of the server; 0: none
    change::Lsn end_at_connect;  ///< to be caught up with: made a position as soon as it is reached
  };

  static constexpr std::chrono::seconds kCompanionInterval{1};
  static constexpr std::chrono::seconds kSlotInterval{5};

  /// An acknowledgement that has something new to say waits this long for more.
  static constexpr std::chrono::milliseconds kAckInterval{100};

  /// How long after the server began to shut down what is pending may still become durable.
  static constexpr std::chrono::seconds kShutdownGrace{2};

  /// Batches held while the output has no room; reading stops then.
  static constexpr size_t kMaxPending = 2;

  /// While an inset awaits a place in the WAL, the server is asked this often how far it is.
  static constexpr std::chrono::milliseconds kAskInterval{10};

  /// All references outlive the receiver. `position` is where the stream goes on, `inside` a
  /// transaction or not. `spool`, the assembler's, and `inset` may be null.
  Receiver(ReplicationStream stream, Assembler& assembler, const Spool* spool, TableGate& gate,
           CaptureOutput& output, Companion& companion, StatusBoard& board, const Clock& clock,
           const Timing& timing, const change::Position& position, bool inside, Inset* inset);

  /// Runs until stopped (no error) or broken. Errors: kUnavailable (connection lost, server
  /// stopping) and those of Assembler, CaptureOutput and Companion.
  Status Run(std::stop_token stop);

 private:
  using Nanos = std::chrono::nanoseconds;

  Nanos Now() const { return clock_.Monotonic(); }

  /// Takes frames until the socket is empty, or one read is used up while rows come fast, or enough
  /// batches wait.
  Status Receive();
  Status TakeBatches();

  /// Ends the batch under construction where that is due.
  Status CutIfDue();

  /// Makes the end of WAL that holds nothing for us a position of its own.
  void EmitIdlePosition();

  /// Places what the inset has, where the stream stands between two transactions.
  Status PlaceInset(std::stop_token stop);

  /// Takes one of the inset's batches.
  void TakePlaced(std::shared_ptr<const change::ChangeBatch> batch);

  /// Offers waiting batches. Waits at most `timeout` for room.
  Status OfferPending(Nanos timeout, std::stop_token stop);

  Status AcknowledgeIfDue(std::stop_token stop);
  Status LookAround(std::stop_token stop);
  Status Wait(std::stop_token stop);
  void ShowFigures();

  /// Enters the state of a stream that flows.
  void EnterFlowing();

  ReplicationStream stream_;
  Assembler& assembler_;
  const Spool* const spool_;
  TableGate& gate_;
  CaptureOutput& output_;
  Companion& companion_;
  StatusBoard& board_;
  const Clock& clock_;
  const Timing timing_;
  const CaptureStatus base_;  ///< counters of earlier runs

  ReadPacer pacer_;
  std::deque<std::shared_ptr<const change::ChangeBatch>> pending_;
  change::Position emitted_;  ///< behind the last batch taken, offered or not
  bool inside_;               ///< that one left a transaction open
  bool begins_inside_;        ///< and it is the one that the stream began in
  Inset* const inset_;
  bool inset_works_;
  Nanos last_ask_{};
  bool keepalive_asked_ = false;
  bool drained_ = false;       ///< what the last read brought has been taken
  bool surely_empty_ = false;  ///< and the socket was seen empty
  bool ended_ = false;
  int64_t messages_ = 0;     ///< of the round
  int64_t bytes_ = 0;        ///< since the start
  int64_t round_began_ = 0;  ///< bytes_ at the start of the round
  Nanos last_ack_{};
  Nanos last_idle_{};
  Nanos last_companion_{};
  Nanos last_slot_{};
  Nanos stuck_since_{};  ///< since when the output has no room; 0: it has
  Nanos leave_at_{};     ///< when to leave a server that shuts down; 0: it does not
};

}  // namespace freshet::postgres
