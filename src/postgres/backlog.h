#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"
#include "change/ids.h"
#include "postgres/assembler.h"
#include "postgres/capture.h"
#include "postgres/catalog.h"
#include "postgres/connection.h"
#include "postgres/receiver.h"
#include "postgres/schema_source.h"
#include "postgres/spool.h"
#include "postgres/status_board.h"
#include "postgres/table_gate.h"

namespace freshet::postgres {

/// Catches up with what a slot has piled up, faster than its walsender can send it.
///
/// A walsender makes one send() of every row. COPY of pg_logical_slot_peek_binary_changes() brings
/// the same messages in large pieces. So, in rounds: peek up to some LSN, pass on what comes,
/// wait until that is durable, then advance the slot to it. Peeking moves nothing, and the slot
/// is never advanced beyond what is durable; a crash at any moment is a crash of any stream.
///
/// Each round reads WAL from the slot's restart_lsn again, so rounds are large, and grow where that
/// stays behind (a long transaction); where it stays too far behind, the walsender is better and
/// Run() ends early (docs/adr/0099-a-backlog-is-peeked-in-rounds.md).
///
/// Threads: one.
class Backlog {
 public:
  /// What a round covers, in multiples of the threshold: WAL from the slot's restart_lsn to our
  /// position, but at least one and at most kMaxRound; a rest below one comes with it. Beyond
  /// kMaxReread it does not pay.
  static constexpr uint64_t kMaxRound = 4;
  static constexpr uint64_t kMaxReread = 16;

  /// The share of the threshold that transactions still running at a round's end may have brought:
  /// they come again in each round, to a stream only once.
  static constexpr uint64_t kRunningShare = 4;

  struct Request {
    std::string slot;
    std::string publication;
    uint64_t threshold = 0;  ///< bytes of WAL; with less to catch up with, Run() ends
    AssemblerLimits limits;
    InvalidText invalid_text = InvalidText::kQuarantine;
    std::optional<SpoolOptions> spool;  ///< none: transactions that run are not asked for
  };

  /// All references outlive the backlog. `session` is its own; `catalog` has the session beside,
  /// which `companion` looks after and `schemas` may use.
  Backlog(Connection session, Request request, Catalog& catalog, SchemaSource& schemas,
          TableGate& gate, CaptureOutput& output, Receiver::Companion& companion,
          StatusBoard& board, const Clock& clock);

  /// Reads until little is left. Returns where the stream goes on: all before it is durable.
  /// `open`: see Assembler.
  ///
  /// Errors: those of Connection when the server cannot or may not do this (server_failed()), kGap
  /// when somebody else has moved the slot, and those of Assembler, CaptureOutput and Companion.
  Result<change::Position> Run(change::Position position, std::optional<change::Transaction> open,
                               std::stop_token stop);

  /// The error of Run() came from the server: the walsender may still do.
  bool server_failed() const { return server_failed_; }

  /// The error of Run() is that of a full spool.
  bool spool_full() const { return spool_full_; }

 private:
  /// WAL left to read and WAL to read again for it, in bytes.
  struct Distance {
    uint64_t left = 0;
    uint64_t reread = 0;
  };

  Result<Distance> Measure(change::Lsn have, std::stop_token stop);
  bool Pays(const Distance& distance) const;

  /// Reads all transactions that end at or before `upto`, and perhaps the one that crosses it.
  Status ReadRound(Assembler& assembler, const Spool* spool, change::Lsn upto,
                   std::stop_token stop);

  /// Fails unless nobody has moved the slot beyond `have`.
  Status CheckSlot(change::Lsn have, std::stop_token stop);

  /// Offers what the assembler has finished.
  Status PassOn(Assembler& assembler, std::stop_token stop);
  Status Offer(const std::shared_ptr<const change::ChangeBatch>& batch, std::stop_token stop);
  Status LookAround(std::stop_token stop);
  Status WaitUntilDurable(std::stop_token stop);
  Status Advance(std::stop_token stop);

  /// Marks an error of the server's.
  template <typename T>
  Result<T> OfServer(Result<T> result);

  Connection session_;
  const Request request_;
  Catalog& catalog_;
  SchemaSource& schemas_;
  TableGate& gate_;
  CaptureOutput& output_;
  Receiver::Companion& companion_;
  StatusBoard& board_;
  const Clock& clock_;
  change::Lsn emitted_end_;  ///< end of the last transaction offered
  int64_t bytes_ = 0;        ///< of the round
  std::chrono::nanoseconds last_look_;
  bool server_failed_ = false;
  bool spool_full_ = false;
};

}  // namespace freshet::postgres
