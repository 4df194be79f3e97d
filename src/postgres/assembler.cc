#include "postgres/assembler.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/check.h"
#include "postgres/batch_builder.h"
#include "postgres/pgoutput.h"
#include "postgres/spool.h"

namespace freshet::postgres {
namespace {

using change::ChangeBatch;
using change::ChangeKind;
using change::Lsn;
using change::Transaction;
using pgoutput::OldTuple;
using pgoutput::RowOperation;

/// PostgreSQL sends no message larger than it can allocate, 1 GiB.
constexpr size_t kMaxMessageBytes = size_t{1} << 30;

/// A batch's column counts its bytes in 31 bits; one message comes on top of the limit.
constexpr int64_t kMaxBatchBytes = int64_t{512} << 20;

/// The server announces each table once a session, so none can be forgotten.
constexpr size_t kMaxTables = 100'000;

}  // namespace

/// Follows the protocol: which transaction is open, which are dropped because the log has them,
/// what the tables look like. The changes themselves go to a BatchBuilder, those of transactions
/// still running to the Spool.
class Assembler::Impl {
 public:
  Impl(const AssemblerLimits& limits, SchemaSource& schemas, const change::Position& resume,
       std::optional<Transaction> open, Spool* spool, TextRules text)
      : limits_{.batch_rows = std::max<int64_t>(limits.batch_rows, 1),
                .batch_bytes = std::clamp<int64_t>(limits.batch_bytes, 1, kMaxBatchBytes)},
        schemas_(schemas),
        spool_(spool),
        converter_(text.converter),
        builder_(std::move(text)),
        received_end_(resume.commit_end),
        batched_end_(resume.commit_end),
        // Without an open transaction the ordinal counts pieces of snapshots, not the stream's.
        resume_{resume.commit_end, open.has_value() ? resume.ordinal : 0},
        resume_open_(std::move(open)) {
    if (resume.ordinal == 0) resume_open_.reset();
  }

  Status Add(std::span<const std::byte> message) {
    CHECK(!replay_.has_value());
    if (message.size() > kMaxMessageBytes) {
      return Fail(ErrorKind::kUnsupported, "the server sent a message of {} bytes; the limit is {}",
                  message.size(), kMaxMessageBytes);
    }
    if (parser_.in_stream()) return AddStreamed(message);
    return AddNow(message);
  }

  bool replaying() const { return replay_.has_value(); }

  Status Replay() {
    CHECK(replay_.has_value());
    const size_t ready = ready_.size();
    for (size_t bytes = 0; bytes < kReplayBytes && ready_.size() == ready;) {
      std::span<const std::byte> message;
      FRESHET_TRY(const bool more, replay_->messages.Next(message));
      if (!more) return EndReplay();
      bytes += message.size();
      if (message.front() != std::byte{'R'}) {
        FRESHET_RETURN_IF_ERROR(AddNow(message));
        continue;
      }
      uint64_t arrived = 0;  // behind the message: see AddStreamed()
      const size_t size = message.size() - sizeof(arrived);
      std::memcpy(&arrived, message.data() + size, sizeof(arrived));
      FRESHET_TRY(pgoutput::Message parsed, parser_.Parse(message.first(size)));
      auto& relation = std::get<pgoutput::Relation>(parsed);
      ReadNames(relation);
      FRESHET_RETURN_IF_ERROR(Apply(relation, arrived));
    }
    return {};
  }

  Status Cut() {
    if (builder_.has_whole() || EmptyAdvance() >= kEmptyAdvanceBytes) {
      return EmitWhole();
    }
    return {};
  }

  std::shared_ptr<const ChangeBatch> Take() {
    if (ready_.empty()) return nullptr;
    auto batch = std::move(ready_.front());
    ready_.pop_front();
    return batch;
  }

  bool idle() const {
    return !open_.has_value() && !resume_open_.has_value() && !builder_.has_whole() &&
           ready_.empty();
  }
  Lsn received_end() const { return received_end_; }
  const AssemblerCounters& counters() const { return counters_; }

 private:
  struct Table {
    pgoutput::Relation relation;
    uint64_t arrived = 0;  ///< when its Relation came; counts all of them
    TableSlot slot;
  };

  /// A streamed transaction that has committed and is being read back.
  struct ReplayState {
    Spool::Reader messages;
    pgoutput::Commit commit;

    /// What the server said of tables after it described them to this transaction; in force again
    /// at its end.
    std::vector<std::pair<pgoutput::Relation, uint64_t>> newer;
  };

  /// Takes a message of protocol 1.
  Status AddNow(std::span<const std::byte> message) {
    if (pgoutput::IsRow(message)) {
      pgoutput::Row row;
      FRESHET_RETURN_IF_ERROR(parser_.ParseRow(message, row));
      return AddRow(row);
    }
    if (message.size() == 2 && message.front() == std::byte{pgoutput::kTurnedAway}) {
      if (open_.has_value()) next_ordinal_ += static_cast<int64_t>(message.back());
      return {};
    }
    FRESHET_TRY(pgoutput::Message parsed, parser_.Parse(message));
    return std::visit([this](auto& m) { return On(m); }, parsed);
  }

  /// Takes a message between StreamStart and StreamStop. It is spooled without its xid, so that it
  /// reads as one of protocol 1.
  Status AddStreamed(std::span<const std::byte> message) {
    ByteReader in(message);
    const char tag = static_cast<char>(in.ReadU8());
    change::Xid part = streaming_;
    switch (tag) {
      case 'E':
        return AddNow(message);
      case 'Y':  // the catalog knows more
        return {};
      case 'O':  // has no xid
        break;
      case 'R':
      case 'I':
      case 'U':
      case 'D':
      case 'T':
      case pgoutput::kTurnedAway:
        part = {in.ReadU32()};
        break;
      case 'M':
        part = {in.ReadU32()};
        with_messages_.insert(streaming_.value);
        break;
      default:
        return OutOfPlace("a message inside a streamed chunk that belongs outside");
    }
    if (!in.ok()) return OutOfPlace("a message that ends before its transaction id");
    const auto rest = in.ReadBytes(in.remaining());
    if (tag != 'R') {
      return spool_->Add(streaming_, part, std::array{message.first(1), rest});
    }
    const uint64_t arrived = ++relations_arrived_;
    return spool_->Add(streaming_, part,
                       std::array{message.first(1), rest, std::as_bytes(std::span(&arrived, 1))});
  }

  Status EndReplay() {
    ReplayState ended = std::move(*replay_);
    replay_.reset();
    FRESHET_RETURN_IF_ERROR(On(ended.commit));
    for (auto& [relation, arrived] : ended.newer) {
      const bool newer = arrived > tables_.at(relation.id.value).arrived;
      if (newer) FRESHET_RETURN_IF_ERROR(Apply(relation, arrived));
    }
    return {};
  }

  // What each message does.

  Status On(pgoutput::Begin& begin) {
    if (open_.has_value()) return OutOfPlace("Begin inside a transaction");
    open_ = Transaction{.xid = begin.xid,
                        .commit_lsn = begin.final_lsn,
                        .end_lsn = {},
                        .commit_time = begin.commit_time,
                        .origin = {}};
    next_ordinal_ = 0;
    skip_ordinals_ = 0;
    dropping_ = begin.final_lsn < (resume_open_ ? resume_open_->commit_lsn : resume_.commit_end);
    if (dropping_ || !resume_open_) return {};
    if (resume_open_->xid != begin.xid || resume_open_->commit_lsn != begin.final_lsn) {
      return Fail(ErrorKind::kGap,
                  "the log ends inside transaction {} (commit at {}), but the server goes on with "
                  "transaction {} (commit at {}): the slot is another one than it was, or was "
                  "advanced by somebody else; start with a new log",
                  resume_open_->xid.value, change::ToString(resume_open_->commit_lsn),
                  begin.xid.value, change::ToString(begin.final_lsn));
    }
    open_->begins = false;
    skip_ordinals_ = resume_.ordinal;
    resume_open_.reset();
    return {};
  }

  Status On(pgoutput::Commit& commit) {
    if (!open_.has_value()) return OutOfPlace("Commit outside of a transaction");
    // A dropped transaction ends before the position we went on from.
    if (commit.commit_lsn != open_->commit_lsn || commit.end_lsn <= commit.commit_lsn ||
        (!dropping_ && commit.end_lsn <= received_end_)) {
      return OutOfPlace("Commit that does not match its Begin");
    }
    if (next_ordinal_ < skip_ordinals_) {
      return Fail(ErrorKind::kGap,
                  "the log has {} changes of transaction {}, but the server sends only {}: the "
                  "publication was changed in between; start with a new log",
                  skip_ordinals_, open_->xid.value, next_ordinal_);
    }
    Transaction ended = std::move(*open_);
    open_.reset();
    received_end_ = std::max(received_end_, commit.end_lsn);
    if (dropping_) return {};
    ended.end_lsn = commit.end_lsn;
    ++counters_.transactions;
    counters_.last_commit_time = ended.commit_time;
    if (builder_.open_changes() == 0 && ended.begins) {
      last_empty_ = std::move(ended);
      return {};
    }
    return EndTransaction(std::move(ended));
  }

  Status On(pgoutput::Origin& origin) {
    if (!open_.has_value()) return OutOfPlace("Origin outside of a transaction");
    open_->origin = converter_->Name(origin.name);
    return {};
  }

  Status On(pgoutput::Relation& relation) {
    ReadNames(relation);
    return Apply(relation, ++relations_arrived_);
  }

  /// Names arrive in the database's encoding.
  void ReadNames(pgoutput::Relation& relation) const {
    if (converter_->is_utf8()) return;
    relation.schema = converter_->Name(relation.schema);
    relation.table = converter_->Name(relation.table);
    for (auto& column : relation.columns) column.name = converter_->Name(column.name);
  }

  Status Apply(pgoutput::Relation& relation, uint64_t arrived) {
    const auto [at, is_new] = tables_.try_emplace(relation.id.value);
    Table& table = at->second;
    if (is_new && tables_.size() > kMaxTables) {
      return Fail(ErrorKind::kUnsupported,
                  "the publication has more than {} tables; divide it over several pipelines",
                  kMaxTables);
    }
    if (!is_new && table.relation == relation) {
      // The same columns, and perhaps another version: one dropped and added again.
      if (arrived < table.arrived) return {};
    } else if (arrived < table.arrived) {
      // A streamed transaction brings its own descriptions, perhaps older than one that came since.
      replay_->newer.emplace_back(table.relation, table.arrived);
    }
    table.arrived = arrived;
    FRESHET_TRY(auto schema, schemas_.Resolve(relation));
    CHECK(schema != nullptr && schema->columns().size() == relation.columns.size());
    table.relation = std::move(relation);
    if (table.slot.schema != nullptr && *table.slot.schema == *schema) return {};
    table.slot.schema = std::move(schema);
    BatchBuilder::SchemaChanged(table.slot);
    return {};
  }

  /// The catalog knows more about types than this message says.
  Status On(pgoutput::Type&) { return {}; }

  Status On(pgoutput::Row& row) { return AddRow(row); }

  Status On(pgoutput::Truncate& truncate) {
    if (!open_.has_value()) return OutOfPlace("Truncate outside of a transaction");
    if (truncate.relations.size() > tables_.size()) return OutOfPlace("Truncate of unknown tables");
    const bool taken = TakeOrdinal();
    for (const change::TableId id : truncate.relations) {
      FRESHET_TRY(Table * table, Find(id));
      if (!taken) continue;
      builder_.AddEmptyRow(table->slot, ChangeKind::kTruncate, next_ordinal_ - 1);
      ++counters_.rows;
    }
    return FinishChange();
  }

  Status On(pgoutput::LogicalMessage& message) {
    change::LogicalMessage out{
        .ordinal = 0,
        .transactional = message.transactional,
        .lsn = message.lsn,
        .prefix = converter_->Name(message.prefix),
        .content = std::string(reinterpret_cast<const char*>(message.content.data()),
                               message.content.size())};
    if (message.transactional) {
      if (!open_.has_value()) return OutOfPlace("transactional message outside of a transaction");
      if (!TakeOrdinal()) return {};
      out.ordinal = next_ordinal_ - 1;
      builder_.AddMessage(std::move(out));
      return FinishChange();
    }
    // Sent when it is read from the WAL, so in WAL order with the commits. Its LSN is the end of
    // its record (docs/adr/0012), hence no commit ends there.
    if (open_.has_value()) return OutOfPlace("non-transactional message inside a transaction");
    const Lsn have = resume_open_ ? resume_open_->commit_lsn : resume_.commit_end;
    if (message.lsn <= have) return {};
    if (resume_open_ || message.lsn <= received_end_) return OutOfPlace("message out of order");
    received_end_ = message.lsn;
    builder_.AddMessage(std::move(out));
    return EndTransaction({.kind = change::TransactionKind::kMessage,
                           .xid = {},
                           .commit_lsn = message.lsn,
                           .end_lsn = message.lsn,
                           .origin = {}});
  }

  Status On(pgoutput::StreamStart& start) {
    if (spool_ == nullptr) return NotAskedFor();
    if (open_.has_value()) return OutOfPlace("a streamed chunk inside a transaction");
    if (start.first_segment == spool_->Has(start.xid)) {
      return OutOfPlace("a streamed chunk that does not follow those before it");
    }
    if (start.first_segment) spool_->Begin(start.xid);
    streaming_ = start.xid;
    return {};
  }

  Status On(pgoutput::StreamStop&) { return {}; }

  Status On(pgoutput::StreamAbort& abort) {
    if (spool_ == nullptr) return NotAskedFor();
    if (open_.has_value()) return OutOfPlace("the end of another transaction inside a transaction");
    if (!spool_->Has(abort.xid)) return {};  // nothing came of it
    if (abort.subxid == abort.xid) {
      with_messages_.erase(abort.xid.value);
      return spool_->Drop(abort.xid);
    }
    // The server names the transaction, not the savepoint, as a streamed message's.
    if (with_messages_.contains(abort.xid.value)) {
      return spool_->GiveUp(abort.xid,
                            "it has sent logical messages and rolled a savepoint back, and the "
                            "server does not say which of them were behind it");
    }
    return spool_->AbortPart(abort.xid, abort.subxid);
  }

  Status On(pgoutput::StreamCommit& end) {
    if (spool_ == nullptr) return NotAskedFor();
    if (!spool_->Has(end.xid)) return OutOfPlace("the end of a streamed transaction never begun");
    pgoutput::Begin begin{
        .final_lsn = end.commit.commit_lsn, .commit_time = end.commit.commit_time, .xid = end.xid};
    FRESHET_RETURN_IF_ERROR(On(begin));
    with_messages_.erase(end.xid.value);
    FRESHET_TRY(Spool::Reader messages, spool_->Take(end.xid));
    replay_.emplace(ReplayState{std::move(messages), end.commit, {}});
    return Replay();
  }

  /// Two-phase transactions.
  template <typename Other>
  Status On(Other&) {
    return NotAskedFor();
  }

  static tl::unexpected<Error> NotAskedFor() {
    return Fail(ErrorKind::kUnsupported,
                "the server sends streamed or two-phase transactions, which were not asked for");
  }

  Status AddRow(const pgoutput::Row& row) {
    if (!open_.has_value()) return OutOfPlace("row outside of a transaction");
    if (dropping_) return {};
    FRESHET_TRY(Table * table, Find(row.relation));
    if (row.old_kind != OldTuple::kNone) {
      const bool deletes = row.operation == RowOperation::kDelete;
      FRESHET_RETURN_IF_ERROR(AddImage(
          table->slot, deletes ? ChangeKind::kDelete : ChangeKind::kUpdatePreimage, row.old_tuple));
    }
    if (row.operation != RowOperation::kDelete) {
      const bool inserts = row.operation == RowOperation::kInsert;
      FRESHET_RETURN_IF_ERROR(AddImage(table->slot,
                                       inserts ? ChangeKind::kInsert : ChangeKind::kUpdatePostimage,
                                       row.new_tuple));
    }
    return FinishChange();
  }

  Status AddImage(TableSlot& slot, ChangeKind kind, const pgoutput::Tuple& tuple) {
    if (!TakeOrdinal()) return {};
    ++counters_.rows;
    return builder_.AddRow(slot, kind, next_ordinal_ - 1, tuple);
  }

  /// Counts a change; false when it is not wanted, because the log has it.
  bool TakeOrdinal() { return next_ordinal_++ >= skip_ordinals_ && !dropping_; }

  Result<Table*> Find(change::TableId id) {
    if (last_table_ != nullptr && last_table_->relation.id == id) return last_table_;
    const auto found = tables_.find(id.value);
    if (found == tables_.end() || found->second.slot.schema == nullptr) {
      return Fail(ErrorKind::kMalformed, "the server sent a change of table {} without naming it",
                  id.value);
    }
    last_table_ = &found->second;
    return last_table_;
  }

  // Where batches end.

  bool Reached(int64_t changes, int64_t bytes) const {
    return changes >= limits_.batch_rows || bytes >= limits_.batch_bytes;
  }

  /// Gives a transaction that has grown large a batch of its own, and cuts a part off one that has
  /// grown beyond the limits.
  Status FinishChange() {
    const bool beyond = Reached(builder_.open_changes(), builder_.open_bytes());
    if (!beyond && !builder_.open_is_large()) [[likely]]
      return {};
    if (builder_.has_whole()) FRESHET_RETURN_IF_ERROR(EmitWhole());
    if (!beyond) return builder_.DecodeOpen();
    Transaction part = *open_;
    part.ends = false;
    FRESHET_TRY(auto batch, builder_.TakePart(std::move(part)));
    ready_.push_back(std::move(batch));
    open_->begins = false;
    return {};
  }

  Status EndTransaction(Transaction transaction) {
    const bool last_part = !transaction.begins;
    last_empty_.reset();
    FRESHET_RETURN_IF_ERROR(builder_.EndTransaction(std::move(transaction)));
    if (!last_part && !Reached(builder_.whole_changes(), builder_.whole_bytes())) return {};
    return EmitWhole();
  }

  /// WAL bytes that passed without a batch, in transactions without changes.
  uint64_t EmptyAdvance() const {
    if (!last_empty_) return 0;
    return last_empty_->end_lsn.value - batched_end_.value;
  }

  /// Emits the whole transactions; where there are none, the last one without changes.
  Status EmitWhole() {
    if (!builder_.has_whole()) {
      auto batch = std::make_shared<ChangeBatch>();
      batch->transactions.push_back(std::move(*std::exchange(last_empty_, std::nullopt)));
      ready_.push_back(std::move(batch));
    } else {
      FRESHET_TRY(auto batch, builder_.TakeWhole());
      ready_.push_back(std::move(batch));
    }
    batched_end_ = ready_.back()->transactions.back().end_lsn;
    return {};
  }

  static tl::unexpected<Error> OutOfPlace(std::string_view what) {
    return Fail(ErrorKind::kMalformed, "the server broke the replication protocol: {}", what);
  }

  const AssemblerLimits limits_;
  SchemaSource& schemas_;
  Spool* const spool_;
  const std::shared_ptr<TextConverter> converter_;
  pgoutput::Parser parser_;
  BatchBuilder builder_;
  std::unordered_map<uint32_t, Table> tables_;  ///< by oid; nodes do not move
  Table* last_table_ = nullptr;                 ///< of the row before, most often the same

  std::optional<Transaction> open_;             ///< between Begin and Commit
  bool dropping_ = false;                       ///< the open one is in the log already
  int64_t next_ordinal_ = 0;                    ///< of the open one's next change
  int64_t skip_ordinals_ = 0;                   ///< its changes the log has
  std::unordered_set<uint32_t> with_messages_;  ///< spooled transactions that sent messages
  change::Xid streaming_;              ///< whose chunk arrives, between StreamStart and -Stop
  std::optional<ReplayState> replay_;  ///< of the open one, when it was streamed
  uint64_t relations_arrived_ = 0;
  std::optional<Transaction> last_empty_;  ///< the last without changes, if none with came after
  Lsn received_end_;
  Lsn batched_end_;  ///< end of the last batch made

  const change::Position resume_;
  std::optional<Transaction> resume_open_;  ///< until it has come
  std::deque<std::shared_ptr<const ChangeBatch>> ready_;
  AssemblerCounters counters_;
};

Assembler::Assembler(const AssemblerLimits& limits, SchemaSource& schemas,
                     const change::Position& resume, std::optional<Transaction> open, Spool* spool,
                     TextRules text)
    : impl_(std::make_unique<Impl>(limits, schemas, resume, std::move(open), spool,
                                   std::move(text))) {}

Assembler::~Assembler() = default;

Status Assembler::Add(std::span<const std::byte> message) { return impl_->Add(message); }
bool Assembler::replaying() const { return impl_->replaying(); }
Status Assembler::Replay() { return impl_->Replay(); }
Status Assembler::Cut() { return impl_->Cut(); }
std::shared_ptr<const ChangeBatch> Assembler::Take() { return impl_->Take(); }
bool Assembler::idle() const { return impl_->idle(); }
Lsn Assembler::received_end() const { return impl_->received_end(); }
const AssemblerCounters& Assembler::counters() const { return impl_->counters(); }

}  // namespace freshet::postgres
