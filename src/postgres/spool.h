#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/result.h"
#include "change/ids.h"

namespace freshet::postgres {

/// Where a spool may put what, and how much of it.
struct SpoolOptions {
  std::string folder;  ///< scratch: made when absent, emptied when the spool is made
  int64_t budget_bytes = int64_t{10} << 30;  ///< of all transactions together, memory included
  int64_t memory_bytes = int64_t{8} << 20;  ///< held in memory at most; small ones never see a disk
};

/// What a spool holds, for status and metrics.
struct SpoolFigures {
  int64_t transactions = 0;
  int64_t bytes = 0;            ///< of all of them, and of one being read
  int64_t largest_bytes = 0;    ///< of the largest one
  UnixMicros oldest_since = 0;  ///< when the first message of the oldest one came; 0: none is held
};

/// Keeps the messages of transactions that the server sends while they still run, until they end.
///
/// Nothing in it is worth keeping: a running transaction is sent again from its start to a new
/// connection. So files are never synced, and a new spool removes those of an earlier one. What an
/// aborted subtransaction wrote stays where it is and is left out by the reader.
///
/// A file is a run of records: u32 length, u32 subtransaction's xid, both in the machine's order,
/// and the message.
///
/// Threads: one. Errors: kNoSpace (budget or disk), kIo, kDenied; kCorrupt (a file is shorter than
/// what was written); kUnsupported (more aborted subtransactions than are remembered). After an
/// error it is of no more use.
class Spool {
 public:
  /// Reads one transaction's messages in the order they came, without those of its aborted
  /// subtransactions. Its file goes with it. The spool outlives it.
  class Reader {
   public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) = delete;
    ~Reader();

    /// False at the end. `message` is valid until the next call.
    Result<bool> Next(std::span<const std::byte>& message);

   private:
    friend class Spool;
    struct Impl;
    explicit Reader(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };

  /// Aborted subtransactions remembered, of all transactions together: 4 bytes each.
  static constexpr int64_t kMaxAborted = 16 << 20;

  /// `fs` and `clock` outlive the spool.
  static Result<std::unique_ptr<Spool>> Create(FileSystem& fs, const Clock& clock,
                                               SpoolOptions options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Begins to keep a transaction that is not kept yet.
  void Begin(change::Xid transaction);

  bool Has(change::Xid transaction) const { return held_.contains(transaction.value); }

  /// Adds a message, given in pieces, of `part`: the transaction itself or a subtransaction.
  Status Add(change::Xid transaction, change::Xid part, ByteSpans message);

  /// The subtransaction has aborted.
  Status AbortPart(change::Xid transaction, change::Xid part);

  /// The transaction cannot be kept here, only by the server. Always an error, kNoSpace.
  tl::unexpected<Error> GiveUp(change::Xid transaction, std::string_view why);

  /// The transaction has aborted: nothing of it is left.
  Status Drop(change::Xid transaction);

  /// Hands a transaction over for reading; it is not kept any more.
  Result<Reader> Take(change::Xid transaction);

  SpoolFigures figures() const;

  /// An Add() has failed for want of room, or a transaction was given up.
  bool full() const { return full_; }

 private:
  struct Transaction {
    UnixMicros since = 0;
    int64_t file_bytes = 0;
    std::vector<std::byte> tail;  ///< records behind those in the file
    std::vector<uint32_t> aborted;
  };

  Spool(FileSystem& fs, const Clock& clock, SpoolOptions options);

  std::string PathOf(uint32_t xid) const;
  Status MakeRoom(uint32_t transaction, int64_t bytes);
  Status WriteOut(uint32_t xid, Transaction& transaction);
  tl::unexpected<Error> Full(Error error);

  FileSystem& fs_;
  const Clock& clock_;
  const SpoolOptions options_;
  std::unordered_map<uint32_t, Transaction> held_;  ///< by xid
  int64_t bytes_ = 0;         ///< records in files and tails, of the one being read too
  int64_t memory_bytes_ = 0;  ///< records in tails of `held_`
  int64_t aborted_ = 0;
  bool full_ = false;
};

}  // namespace freshet::postgres
