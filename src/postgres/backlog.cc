#include "postgres/backlog.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "postgres/plugin_options.h"
#include "postgres/preflight.h"
#include "postgres/slot.h"
#include "postgres/slot_peek.h"

namespace freshet::postgres {

using change::Lsn;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kOfferWait{100};
constexpr milliseconds kStuckAfter{500};  ///< without room, before the state says so
constexpr milliseconds kDurableWait{20};  ///< between looks at what has become durable

/// Messages between two looks at the clock.
constexpr int kMessagesBetweenLooks = 4'096;

}  // namespace

Backlog::Backlog(Connection session, Request request, Catalog& catalog, SchemaSource& schemas,
                 TableGate& gate, CaptureOutput& output, Receiver::Companion& companion,
                 StatusBoard& board, const Clock& clock)
    : session_(std::move(session)),
      request_(std::move(request)),
      catalog_(catalog),
      schemas_(schemas),
      gate_(gate),
      output_(output),
      companion_(companion),
      board_(board),
      clock_(clock),
      last_look_(clock.Monotonic()) {}

template <typename T>
Result<T> Backlog::OfServer(Result<T> result) {
  server_failed_ = server_failed_ || !result.has_value();
  return result;
}

Result<change::Position> Backlog::Run(change::Position position,
                                      std::optional<change::Transaction> open,
                                      std::stop_token stop) {
  emitted_end_ = position.commit_end;
  for (;;) {
    const Lsn have = position.commit_end;
    FRESHET_TRY(const Distance distance, OfServer(Measure(have, stop)));
    board_.Update([&](CaptureStatus& status) {
      status.server_end = Lsn{have.value + distance.left};
      status.backlog_bytes = static_cast<int64_t>(distance.left);
    });
    if (!Pays(distance)) break;
    board_.Enter(CaptureState::kCatchingUp);

    const uint64_t round =
        std::clamp(distance.reread, request_.threshold, kMaxRound * request_.threshold);
    const bool last = distance.left < round + request_.threshold;  // a small rest comes with it
    Lsn upto{have.value + (last ? distance.left : round)};
    // The transaction to be completed must come in this round: its commit record begins before.
    if (open.has_value()) upto = std::max(upto, Lsn{open->commit_lsn.value + 1});

    std::unique_ptr<Spool> spool;
    if (request_.spool.has_value()) {
      FRESHET_TRY(spool, Spool::Create(LocalFileSystem(), clock_, *request_.spool));
    }
    // Every peek is a stream of its own: tables are described again, and transactions that run on
    // behind `upto` come again from their start.
    const change::Position resume = open.has_value() ? position : change::Position{have, 0};
    Assembler assembler(request_.limits, schemas_, resume, std::exchange(open, std::nullopt),
                        spool.get(), {session_.converter(), request_.invalid_text});
    Status read = ReadRound(assembler, spool.get(), upto, stop);
    spool_full_ = spool != nullptr && spool->full();
    if (!read.has_value()) return Fail(std::move(read).error());
    FRESHET_RETURN_IF_ERROR(WaitUntilDurable(stop));
    FRESHET_RETURN_IF_ERROR(OfServer(Advance(stop)));
    position = {.commit_end = emitted_end_, .ordinal = 0};
    const int64_t running = spool == nullptr ? 0 : spool->figures().bytes;
    if (static_cast<uint64_t>(running) > request_.threshold / kRunningShare) break;
  }
  board_.Update([](CaptureStatus& status) { status.backlog_bytes = 0; });
  return position;
}

Result<Backlog::Distance> Backlog::Measure(Lsn have, std::stop_token stop) {
  // Only what is flushed is decoded.
  FRESHET_TRY(const Rows end,
              session_.Query("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                             "ELSE pg_current_wal_flush_lsn() END",
                             stop));
  FRESHET_TRY(const Lsn flushed, change::ParseLsn(end.at(0, 0)));
  FRESHET_TRY(const std::optional<Slot> slot, InspectSlot(session_, request_.slot, stop));
  if (!slot.has_value()) return Distance{};  // the stream will say so
  const auto between = [](Lsn from, Lsn to) { return to > from ? to.value - from.value : 0; };
  return Distance{.left = between(have, flushed), .reread = between(slot->restart_lsn, have)};
}

bool Backlog::Pays(const Distance& distance) const {
  return distance.left >= request_.threshold && distance.reread <= kMaxReread * request_.threshold;
}

Status Backlog::ReadRound(Assembler& assembler, const Spool* spool, Lsn upto,
                          std::stop_token stop) {
  const CaptureStatus base = board_.Read();
  const Lsn have = emitted_end_;
  int64_t bytes = 0;
  const auto show = [&] {
    const AssemblerCounters& counters = assembler.counters();
    board_.Update([&](CaptureStatus& status) {
      status.received = std::max(status.received, assembler.received_end());
      status.rows_total = base.rows_total + counters.rows;
      status.bytes_total = base.bytes_total + bytes;
      status.transactions_total = base.transactions_total + counters.transactions;
      if (counters.last_commit_time != 0) status.last_commit_time = counters.last_commit_time;
      status.running = spool == nullptr ? SpoolFigures() : spool->figures();
      status.backlog_bytes =
          static_cast<int64_t>(status.server_end.value - assembler.received_end().value);
    });
  };
  const auto options =
      PluginOptions(session_.server_major(), request_.publication, spool != nullptr);
  FRESHET_RETURN_IF_ERROR(
      OfServer(session_.StartCopyOut(PeekSql(request_.slot, upto, options), stop)));
  BinaryCopyColumn column;
  CopyMessage row;
  for (int64_t count = 0;; ++count) {
    FRESHET_TRY(const bool more, OfServer(session_.ReadCopy(row, stop)));
    // The whole round is decoded before its first row comes. The slot never goes back, so where it
    // stands now says whether somebody had moved it when the round began.
    if (count == 0) FRESHET_RETURN_IF_ERROR(CheckSlot(have, stop));
    if (count % kMessagesBetweenLooks == 0) {
      FRESHET_RETURN_IF_ERROR(LookAround(stop));
      show();
    }
    if (!more) break;
    FRESHET_TRY(const auto value, column.Next(row.bytes()));
    bytes += static_cast<int64_t>(value.size());
    const auto message = gate_.Filter(value);
    if (message.empty()) continue;
    FRESHET_RETURN_IF_ERROR(assembler.Add(message));
    FRESHET_RETURN_IF_ERROR(PassOn(assembler, stop));
    while (assembler.replaying()) {
      FRESHET_RETURN_IF_ERROR(assembler.Replay());
      FRESHET_RETURN_IF_ERROR(PassOn(assembler, stop));
      FRESHET_RETURN_IF_ERROR(LookAround(stop));
    }
  }
  FRESHET_RETURN_IF_ERROR(assembler.Cut());
  FRESHET_RETURN_IF_ERROR(PassOn(assembler, stop));
  show();
  if (!assembler.idle()) {
    return Fail(ErrorKind::kGap,
                "slot '{}' does not give the transaction again inside of which the log ends; {}",
                request_.slot, kRepairGap);
  }
  if (emitted_end_ >= upto) return {};
  // All that ends up to here has come: a position, though nothing of ours stands there.
  auto batch = std::make_shared<change::ChangeBatch>();
  batch->transactions.push_back({.kind = change::TransactionKind::kStream,
                                 .xid = {},
                                 .commit_lsn = upto,
                                 .end_lsn = upto,
                                 .commit_time = clock_.Now(),
                                 .origin = ""});
  emitted_end_ = upto;
  return Offer(batch, stop);
}

Status Backlog::CheckSlot(Lsn have, std::stop_token stop) {
  FRESHET_TRY(const std::optional<Slot> slot,
              InspectSlot(catalog_.connection(), request_.slot, stop));
  if (!slot.has_value()) {
    return Fail(ErrorKind::kGap, "slot '{}' is gone; {}", request_.slot, kRepairGap);
  }
  if (slot->confirmed_flush <= have) return {};
  const Check moved = MovedSlot(request_.slot, slot->confirmed_flush, have);
  return Fail(*FirstFailure({&moved, 1}));
}

Status Backlog::PassOn(Assembler& assembler, std::stop_token stop) {
  while (const auto batch = assembler.Take()) {
    if (batch->ends_transaction()) {
      const Lsn end = batch->transactions.back().end_lsn;
      if (end <= emitted_end_) continue;  // without changes, behind a position of the log
      emitted_end_ = end;
    }
    FRESHET_RETURN_IF_ERROR(Offer(batch, stop));
  }
  return {};
}

Status Backlog::Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                      std::stop_token stop) {
  FRESHET_FAILPOINT("after_receive");
  const std::chrono::nanoseconds began = clock_.Monotonic();
  bool stuck = false;
  for (;;) {
    FRESHET_TRY(const bool taken, output_.Offer(batch, kOfferWait));
    if (taken) break;
    if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "stopped");
    if (stuck || clock_.Monotonic() - began < kStuckAfter) continue;
    stuck = true;
    board_.Enter(CaptureState::kWaitingForRoom, "the log takes no more for now");
  }
  if (stuck) board_.Enter(CaptureState::kCatchingUp);
  return {};
}

Status Backlog::LookAround(std::stop_token stop) {
  const std::chrono::nanoseconds now = clock_.Monotonic();
  if (now - last_look_ < Receiver::kCompanionInterval && !session_.has_notices()) return {};
  last_look_ = now;
  FRESHET_TRY(const bool serving, companion_.LookAfter(false, session_.TakeNotices(), stop));
  if (!serving) return Fail(ErrorKind::kUnavailable, "the server takes no new sessions");
  return {};
}

Status Backlog::WaitUntilDurable(std::stop_token stop) {
  while (output_.Durable().commit_end < emitted_end_) {
    if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "stopped");
    FRESHET_TRY([[maybe_unused]] const bool readable,
                OfServer(session_.WaitReadable(kDurableWait, stop)));
  }
  return {};
}

Status Backlog::Advance(std::stop_token stop) {
  const Lsn durable = output_.Durable().commit_end;
  FRESHET_TRY([[maybe_unused]] const Rows rows,
              session_.Query("SELECT pg_replication_slot_advance($1, $2::pg_lsn)",
                             {request_.slot, change::ToString(durable)}, stop));
  board_.Update([&](CaptureStatus& status) { status.acknowledged = durable; });
  FRESHET_FAILPOINT("after_ack");
  return {};
}

}  // namespace freshet::postgres
