#include "postgres/receiver.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/failpoint.h"

namespace freshet::postgres {

using std::chrono::milliseconds;

namespace {

constexpr uint64_t kIdleAdvanceBytes = uint64_t{16} << 20;
constexpr milliseconds kOfferWait{100};
constexpr milliseconds kStuckAfter{500};  ///< without room, before the state says so
constexpr milliseconds kInsetWait{5};     ///< between looks at what is to be placed
constexpr milliseconds kDurableWait{20};  ///< between looks at what has become durable

/// Frames taken in a row before batches and feedback are looked after.
constexpr int64_t kMaxMessagesPerRound = 20'000;

/// And for so long at most: a table's first message may take a question to the server. Looked at
/// every so many messages.
constexpr milliseconds kMaxRound{50};
constexpr int64_t kMessagesPerLook = 64;

/// Slices of a committed transaction read back in a round, at most.
constexpr int64_t kReplaysPerRound = 4;

}  // namespace

Receiver::Receiver(ReplicationStream stream, Assembler& assembler, const Spool* spool,
                   TableGate& gate, CaptureOutput& output, Companion& companion, StatusBoard& board,
                   const Clock& clock, const Timing& timing, const change::Position& position,
                   bool inside, Inset* inset)
    : stream_(std::move(stream)),
      assembler_(assembler),
      spool_(spool),
      gate_(gate),
      output_(output),
      companion_(companion),
      board_(board),
      clock_(clock),
      timing_(timing),
      base_(board.Read()),
      pacer_(stream_.connection().over_unix_socket()),
      emitted_{position.commit_end, inside ? 0 : position.ordinal},
      inside_(inside),
      begins_inside_(inside),
      inset_(inset),
      inset_works_(inset != nullptr),
      last_ack_(Now()),
      last_idle_(Now()),
      last_companion_(Now()) {}

Status Receiver::Run(std::stop_token stop) {
  if (inset_ != nullptr && !inside_) TakePlaced(inset_->Announce(emitted_));
  while (!stop.stop_requested()) {
    FRESHET_RETURN_IF_ERROR(Receive());
    FRESHET_RETURN_IF_ERROR(LookAround(stop));  // before anything received is passed on
    FRESHET_RETURN_IF_ERROR(CutIfDue());
    EmitIdlePosition();
    FRESHET_RETURN_IF_ERROR(PlaceInset(stop));
    const bool full = pending_.size() >= kMaxPending;
    FRESHET_RETURN_IF_ERROR(OfferPending(full ? Nanos(kOfferWait) : Nanos(0), stop));
    FRESHET_RETURN_IF_ERROR(AcknowledgeIfDue(stop));
    ShowFigures();
    if (ended_) {
      board_.Enter(CaptureState::kServerStopping, stream_.end_reason());
      return Fail(ErrorKind::kUnavailable, "the server ended the stream{}{}",
                  stream_.end_reason().empty() ? "" : ": ", stream_.end_reason());
    }
    if (!drained_) continue;
    Status waited = Wait(stop);
    if (!waited.has_value() && !stop.stop_requested()) return waited;
  }
  // What became durable meanwhile need not be sent again after a restart.
  return stream_.Acknowledge(output_.Durable().commit_end, clock_.Now(), stop);
}

Status Receiver::Receive() {
  const int reads_to_be_sure = stream_.connection().encrypted() ? 2 : 1;  // see Consume()
  const bool one_read = pacer_.fast();
  int reads = 0;
  int empty_reads = 0;
  drained_ = false;
  messages_ = 0;
  round_began_ = bytes_;
  const Nanos long_enough = Now() + kMaxRound;
  while (pending_.size() < kMaxPending && messages_ < kMaxMessagesPerRound) {
    if (assembler_.replaying()) {  // in slices: batches and feedback have their turn in between
      FRESHET_RETURN_IF_ERROR(assembler_.Replay());
      FRESHET_RETURN_IF_ERROR(TakeBatches());
      messages_ += kMaxMessagesPerRound / kReplaysPerRound;
      continue;
    }
    FRESHET_TRY(const ReplicationStream::Read read, stream_.Next());
    switch (read) {
      case ReplicationStream::Read::kData: {
        ++messages_;
        bytes_ += static_cast<int64_t>(stream_.data().size());
        const auto message = gate_.Filter(stream_.data());
        if (!message.empty()) {
          FRESHET_RETURN_IF_ERROR(assembler_.Add(message));
          FRESHET_RETURN_IF_ERROR(TakeBatches());
        }
        empty_reads = 0;
        if (messages_ % kMessagesPerLook == 0 && Now() >= long_enough) return {};
        break;
      }
      case ReplicationStream::Read::kKeepalive:
        keepalive_asked_ = keepalive_asked_ || stream_.reply_requested();
        empty_reads = 0;
        break;
      case ReplicationStream::Read::kEmpty:
        surely_empty_ = empty_reads == reads_to_be_sure;
        if (surely_empty_ || (one_read && reads == 1)) {
          drained_ = true;
          return {};
        }
        FRESHET_RETURN_IF_ERROR(stream_.Consume());
        ++reads;
        ++empty_reads;
        break;
      case ReplicationStream::Read::kEnd:
        ended_ = true;
        drained_ = true;
        return {};
    }
  }
  return {};
}

Status Receiver::TakeBatches() {
  while (auto batch = assembler_.Take()) {
    if (batch->ends_transaction()) {
      const change::Lsn end = batch->transactions.back().end_lsn;
      if (end <= emitted_.commit_end) continue;  // without changes, behind an idle position
      emitted_ = {end, 0};
    }
    inside_ = !batch->ends_transaction();
    if (inset_ != nullptr) batch = inset_->Pass(std::move(batch));
    const bool ends_first = begins_inside_ && !inside_;
    if (ends_first && inset_ != nullptr) batch = inset_->AnnounceIn(std::move(batch));
    begins_inside_ = begins_inside_ && inside_;
    pending_.push_back(std::move(batch));
  }
  return {};
}

Status Receiver::CutIfDue() {
  // While the output has no room, a batch that grows is better than one more that waits.
  if (!drained_ || !pending_.empty()) return {};
  const bool advanced =  // through transactions without changes
      assembler_.received_end().value >= emitted_.commit_end.value + Assembler::kEmptyAdvanceBytes;
  if (assembler_.idle() && !advanced) return {};
  const Nanos now = Now();
  if (!pacer_.ShouldCut(now)) return {};
  FRESHET_RETURN_IF_ERROR(assembler_.Cut());
  FRESHET_RETURN_IF_ERROR(TakeBatches());
  if (!pending_.empty()) pacer_.HasCut(now);
  return {};
}

void Receiver::EmitIdlePosition() {
  const change::Lsn end = stream_.keepalive_end();
  if (!drained_ || !pending_.empty() || !assembler_.idle() || end <= emitted_.commit_end) return;
  const Nanos now = Now();
  const bool due = keepalive_asked_ || now - last_idle_ >= timing_.status_interval ||
                   end.value - emitted_.commit_end.value >= kIdleAdvanceBytes ||
                   (emitted_.commit_end < timing_.end_at_connect && end >= timing_.end_at_connect);
  keepalive_asked_ = false;
  if (!due) return;
  last_idle_ = now;
  emitted_ = {end, 0};
  auto batch = std::make_shared<change::ChangeBatch>();
  batch->transactions.push_back({.kind = change::TransactionKind::kStream,
                                 .xid = {},
                                 .commit_lsn = end,
                                 .end_lsn = end,
                                 .commit_time = clock_.Now(),
                                 .origin = ""});
  pending_.push_back(std::move(batch));
}

Status Receiver::PlaceInset(std::stop_token stop) {
  if (inset_ == nullptr || ended_) return {};
  FRESHET_TRY(const bool works, inset_->Work(stop));
  if (works != inset_works_ && pending_.empty()) {
    inset_works_ = works;
    EnterFlowing();
  }
  if (inside_ || pending_.size() >= kMaxPending) return {};
  if (auto first = inset_->Announce(emitted_)) {
    TakePlaced(std::move(first));
    return {};
  }
  if (!works) return {};
  const std::optional<change::Lsn> awaited = inset_->awaits();
  if (!awaited.has_value()) return {};
  // A target may be ahead of a log that lost its end, up to what the server had when we connected:
  // it would take a piece placed before that for one it has.
  const bool behind_targets = emitted_.commit_end >= timing_.end_at_connect;
  const change::Lsn passed = std::max(assembler_.received_end(), stream_.keepalive_end());
  if (!behind_targets || *awaited > passed) {
    const Nanos now = Now();
    if (now - last_ask_ < kAskInterval) return {};
    last_ask_ = now;
    const change::Lsn durable = std::min(output_.Durable().commit_end, stream_.server_end());
    return stream_.Acknowledge(durable, clock_.Now(), stop, true);
  }
  // What arrived whole stands before what is placed.
  FRESHET_RETURN_IF_ERROR(assembler_.Cut());
  FRESHET_RETURN_IF_ERROR(TakeBatches());
  while (!inside_ && pending_.size() < kMaxPending) {
    FRESHET_TRY(auto batch, inset_->Next(emitted_, passed));
    if (batch == nullptr) break;
    TakePlaced(std::move(batch));
  }
  return {};
}

void Receiver::TakePlaced(std::shared_ptr<const change::ChangeBatch> batch) {
  if (batch == nullptr) return;
  emitted_ = change::PositionBehind(batch->transactions.back());
  pending_.push_back(std::move(batch));
}

Status Receiver::OfferPending(Nanos timeout, std::stop_token stop) {
  while (!pending_.empty() && !stop.stop_requested()) {
    FRESHET_FAILPOINT("after_receive");
    FRESHET_TRY(const bool taken, output_.Offer(pending_.front(), timeout));
    if (!taken) {
      const Nanos now = Now();
      if (stuck_since_ == Nanos(0)) stuck_since_ = now;
      if (now - stuck_since_ >= kStuckAfter && leave_at_ == Nanos(0)) {
        board_.Enter(CaptureState::kWaitingForRoom, "the log takes no more for now");
      }
      return {};
    }
    pending_.pop_front();
    const bool was_stuck = stuck_since_ != Nanos(0);
    stuck_since_ = Nanos(0);
    if (was_stuck) EnterFlowing();
  }
  return {};
}

Status Receiver::AcknowledgeIfDue(std::stop_token stop) {
  const Nanos now = Now();
  const change::Lsn durable = std::min(output_.Durable().commit_end, stream_.server_end());
  Nanos interval = timing_.status_interval;
  if (timing_.wal_sender_timeout > Nanos(0)) {
    interval = std::min(interval, timing_.wal_sender_timeout / 3);
  }
  const bool news = durable > stream_.acknowledged();
  const bool due = stream_.reply_requested() || now - last_ack_ >= interval ||
                   (news && (now - last_ack_ >= kAckInterval || leave_at_ != Nanos(0)));
  if (!due) return {};
  last_ack_ = now;
  FRESHET_RETURN_IF_ERROR(stream_.Acknowledge(durable, clock_.Now(), stop));
  if (news) FRESHET_FAILPOINT("after_ack");
  return {};
}

Status Receiver::LookAround(std::stop_token stop) {
  const Nanos now = Now();
  if (leave_at_ != Nanos(0) && now >= leave_at_) {
    return Fail(ErrorKind::kUnavailable,
                "the server shuts down; all that is durable was acknowledged");
  }
  // A warning of the walsender may mean that it leaves out rows: at once.
  const bool due = now - last_companion_ >= kCompanionInterval;
  if (!due && !stream_.connection().has_notices()) return {};
  last_companion_ = now;
  const bool check_slot = last_slot_ == Nanos(0) || now - last_slot_ >= kSlotInterval;
  if (check_slot) last_slot_ = now;
  FRESHET_TRY(const bool serving,
              companion_.LookAfter(check_slot, stream_.connection().TakeNotices(), stop));
  if (!serving && leave_at_ == Nanos(0)) {
    leave_at_ = now + kShutdownGrace;
    board_.Enter(CaptureState::kServerStopping, "the server takes no new sessions");
  }
  return {};
}

Status Receiver::Wait(std::stop_token stop) {
  const Nanos now = Now();
  const int64_t bytes = bytes_ - round_began_ + messages_ * ReplicationStream::kFrameOverhead;
  const Nanos pause = pacer_.AfterRead(messages_, bytes, now);
  if (pause > Nanos(0)) {
    std::this_thread::sleep_for(pause);
    return {};
  }
  if (!pending_.empty()) return OfferPending(milliseconds(5), stop);
  if (!surely_empty_) return {};
  Nanos timeout = inset_works_ ? Nanos(kInsetWait) : Nanos(kCompanionInterval);
  // Changes that were not cut yet are due soon; after a cut only an open transaction is left.
  if (!assembler_.idle() && !pacer_.ShouldCut(now)) {
    timeout = std::min(timeout, pacer_.UntilCut(now));
  }
  const change::Lsn durable = output_.Durable().commit_end;
  if (durable < emitted_.commit_end) timeout = std::min(timeout, Nanos(kDurableWait));
  if (std::min(durable, stream_.server_end()) > stream_.acknowledged()) {
    timeout = std::clamp(last_ack_ + kAckInterval - now, Nanos(0), timeout);
  }
  FRESHET_TRY([[maybe_unused]] const bool readable, stream_.WaitReadable(timeout, stop));
  return {};
}

void Receiver::EnterFlowing() {
  if (leave_at_ != Nanos(0) || stuck_since_ != Nanos(0)) return;
  board_.Enter(inset_works_ ? CaptureState::kSnapshotting : CaptureState::kStreaming);
}

void Receiver::ShowFigures() {
  const AssemblerCounters& counters = assembler_.counters();
  board_.Update([&](CaptureStatus& status) {
    status.received = std::max(assembler_.received_end(), stream_.server_end());
    status.server_end = stream_.server_end();
    status.acknowledged = stream_.acknowledged();
    status.rows_total = base_.rows_total + counters.rows;
    status.bytes_total = base_.bytes_total + bytes_;
    if (inset_ != nullptr) {
      status.rows_total += inset_->rows();
      status.bytes_total += inset_->bytes();
    }
    status.transactions_total = base_.transactions_total + counters.transactions;
    if (counters.last_commit_time != 0) status.last_commit_time = counters.last_commit_time;
    status.running = spool_ == nullptr ? SpoolFigures() : spool_->figures();
  });
}

}  // namespace freshet::postgres
