#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/result.h"
#include "change/change_batch.h"
#include "postgres/schema_source.h"
#include "postgres/text_encoding.h"

namespace freshet::postgres {

class Spool;

/// When a batch is cut without being asked to. A batch is below twice these, unless one row alone
/// is larger.
struct AssemblerLimits {
  int64_t batch_rows = 16'384;
  int64_t batch_bytes = int64_t{4} << 20;  ///< values and side columns, as they arrive; <= 512 MiB
};

/// Figures since construction, for status and metrics.
struct AssemblerCounters {
  int64_t rows = 0;          ///< row images taken into batches
  int64_t transactions = 0;  ///< of the stream, with changes or without; dropped ones not counted
  UnixMicros last_commit_time = 0;
};

/// Assembles pgoutput messages (protocol 1 or 2, text format) into ChangeBatches.
///
/// Feed it every message of the stream in order; take batches whenever there are any:
///
///     FRESHET_RETURN_IF_ERROR(assembler.Add(message));
///     while (auto batch = assembler.Take()) ...
///     while (assembler.replaying()) ...                                 // Replay(), then Take()
///     if (socket is drained) FRESHET_RETURN_IF_ERROR(assembler.Cut());  // then Take() again
///
/// A transaction that the server sends while it still runs goes into the spool. At its commit it is
/// read back, slice by slice, and takes the way of any other transaction; the order of changes, and
/// so their ordinals, are the same whether it was streamed or not. Aborted subtransactions are left
/// out, and of an aborted transaction nothing is ever seen. While any are in the spool the
/// assembler is idle() all the same: their commits come later than everything received.
///
/// A batch ends at a commit: when Cut() is called, or when it reached a limit. A transaction that
/// reaches a limit by itself is emitted as a run of parts, each alone in its batch, the last one
/// with `ends`. Transactions without changes (servers before 15 send them all) leave no trace but
/// in received_end(), so that a flood of them costs nothing; only when the stream has advanced by
/// kEmptyAdvanceBytes without a batch does Cut() emit one of them, so that the position in the log
/// moves on.
///
/// Threads: one. Errors: kMalformed (bytes that are no such message, a row of an unknown table, a
/// value that is no text of its type), kUnsupported (two-phase transactions, streamed ones without
/// a spool, binary values, invalid text where it is to fail, a message above 1 GiB, too many
/// tables), kGap
/// (the transaction to be completed after a resume is not the one that arrives), and what the
/// SchemaSource and the Spool return.
/// After an error the assembler is of no more use.
class Assembler {
 public:
  /// WAL distance after which a run of transactions without changes is worth a batch.
  static constexpr uint64_t kEmptyAdvanceBytes = uint64_t{16} << 20;

  /// Goes on after `resume`: transactions that end at or before it are dropped. With an ordinal,
  /// `open` names the transaction whose first `resume.ordinal` changes are dropped as well; the
  /// batches go on with its next part (begins = false). `schemas` and `spool` must outlive the
  /// assembler. A new connection begins with an empty spool. `text`: how the server's bytes become
  /// text, of names as of values.
  Assembler(const AssemblerLimits& limits, SchemaSource& schemas,
            const change::Position& resume = {}, std::optional<change::Transaction> open = {},
            Spool* spool = nullptr, TextRules text = {});
  ~Assembler();
  Assembler(const Assembler&) = delete;
  Assembler& operator=(const Assembler&) = delete;

  /// Takes one message: the payload of an XLogData frame. Its bytes are copied where needed. Not
  /// while replaying().
  Status Add(std::span<const std::byte> message);

  /// A streamed transaction has committed and is not read back entirely yet.
  bool replaying() const;

  /// Goes on reading it back until there is a batch to take, or for kReplayBytes.
  Status Replay();
  static constexpr size_t kReplayBytes = size_t{1} << 20;

  /// Ends the batch under construction at the last commit. A transaction still arriving stays.
  Status Cut();

  /// The next finished batch; null when there is none.
  std::shared_ptr<const change::ChangeBatch> Take();

  /// Nothing of the stream is held or awaited: no open transaction, nor one to be completed after a
  /// resume, no change not yet taken. The server's own end of WAL is then a position no change of
  /// ours stands before.
  bool idle() const;

  /// The end of the last transaction or message that arrived whole, with changes or without.
  change::Lsn received_end() const;

  const AssemblerCounters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::postgres
