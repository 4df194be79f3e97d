#include "postgres/live_snapshot.h"

#include <malloc.h>

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "base/logging.h"
#include "postgres/copy_text.h"
#include "postgres/pgoutput.h"

namespace freshet::postgres {

using change::BlockRange;
using change::ChangeBatch;
using change::Lsn;
using change::Position;
using change::SnapshotStep;
using std::chrono::milliseconds;

namespace {

constexpr int64_t kBlockBytes = 8'192;

/// What the first chunk of a table reads, before it is known how fast that is.
constexpr int64_t kFirstBlocks = 512;
constexpr int64_t kFirstRows = 10'000;

/// What is no larger may be read together with others, up to so many blocks and parts. A
/// session's locks have room in a server with default settings.
constexpr int64_t kSmallBlocks = 64;
constexpr int64_t kBlocksTogether = 512;
constexpr int64_t kMostTogether = 64;

/// A row's bytes, taken low, where chunks are counted in rows.
constexpr int64_t kRowBytes = 256;

/// Between looks at which transactions have ended.
constexpr milliseconds kLookInterval{100};

/// A piece that waits longer for the stream to pass its place may wait for WAL that nobody flushes.
constexpr milliseconds kNudgeAfter{500};

/// Between looks at how the source is.
constexpr milliseconds kMeasureInterval{1'000};

constexpr milliseconds kShowInterval{500};
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{5'000};

/// Finished tables that the status goes on to show.
constexpr size_t kMostShown = 1'000;

/// Who runs a transaction, for people.
std::string WhoRuns(Connection& connection, uint64_t xid, std::stop_token stop) {
  const std::string short_xid = std::to_string(static_cast<uint32_t>(xid));
  const auto rows = connection.Query(
      "SELECT format('pid %s (%s, %s, in a transaction since %s)', pid, usename, application_name,"
      " xact_start) FROM pg_stat_activity WHERE backend_xid::text = $1 "
      "UNION ALL SELECT format('prepared transaction %L', gid) FROM pg_prepared_xacts"
      " WHERE transaction::text = $1",
      {short_xid}, stop);
  if (rows.has_value() && rows->size() > 0) return std::string(rows->at(0, 0));
  return "transaction " + short_xid;
}

bool IsSmall(const PartPlan& plan) { return plan.blocks() <= kSmallBlocks; }

ChunkSizer SizerOf(const Options& options, bool by_key) {
  const int64_t unit = by_key ? kRowBytes : kBlockBytes;
  return {options.snapshot_chunk_duration, by_key ? kFirstRows : kFirstBlocks,
          std::max<int64_t>(1, options.snapshot_chunk_size.bytes / unit)};
}

}  // namespace

LiveSnapshot::LiveSnapshot(const Options& options, Catalog& catalog, Joiner& joiner,
                           StatusBoard& board, const Clock& clock)
    : options_(options),
      catalog_(catalog),
      joiner_(joiner),
      board_(board),
      clock_(clock),
      join_(options.snapshot_window.bytes),
      whole_(options, clock),
      at_cut_(wholes_.end()) {}

LiveSnapshot::~LiveSnapshot() = default;

Status LiveSnapshot::Want(std::vector<Wanted> wanted, std::stop_token stop) {
  const bool by_key = catalog_.connection().server_major() < 14;
  std::vector<Table*> published;
  for (Wanted& each : wanted) {
    const bool in_log = each.so_far != nullptr;
    // What is read as a whole goes on at its start.
    const bool begun = in_log && each.so_far->begun && !each.whole;
    Tables& list = begun ? active_ : waiting_;
    ids_.insert(each.table.table.id.value);
    to_announce_ = to_announce_ || !in_log;
    list.push_back(
        {.source = std::move(each.table),
         .phase = begun    ? Phase::kReading
                  : in_log ? Phase::kWanted
                           : Phase::kNew,
         .replaces = each.whole || (in_log && !begun ? !each.so_far->keeps : each.replaces),
         .whole = each.whole,
         .only = std::move(each.only),
         .why = std::move(each.why),
         .watched_whole = !begun,
         .parts = {},
         .sizer = SizerOf(options_, by_key),
         .since = clock_.Monotonic()});
    Table& table = list.back();
    if (table.whole) {
      table.joined = table.may_read = table.source.published;
      continue;
    }
    if (in_log) table.so_far = *each.so_far;
    if (table.source.published) published.push_back(&table);
  }
  return Watch(published, stop);
}

/// Has the changes of tables remembered from here on, and finds out how large they are.
Status LiveSnapshot::Watch(std::span<Table* const> tables, std::stop_token stop) {
  if (tables.empty()) return {};
  Connection& connection = catalog_.connection();
  // Ranges of ctid are found without a full scan from 14 on.
  const bool by_key = connection.server_major() < 14;
  std::string oids;
  for (const Table* table : tables) {
    for (const CatalogTable& relation : table->source.parts) {
      oids += (oids.empty() ? "" : ",") + std::to_string(relation.id.value);
    }
  }
  FRESHET_TRY(const Rows seen,
              connection.Query("SELECT txid_current_snapshot(), age('3'::xid)", stop));
  FRESHET_TRY(const TxidSnapshot now, TxidSnapshot::Parse(seen.at(0, 0)));
  // An age counts from the next id that is given out, which the snapshot does not tell.
  const uint64_t next_xid = now.Widen({static_cast<uint32_t>(3 + seen.integer(0, 1))});
  FRESHET_TRY(const Rows rows,
              connection.Query(
                  fmt::format("SELECT oid, pg_relation_filenode(oid), pg_relation_size(oid) / {},"
                              " reltoastrelid <> 0, reltuples::int8 FROM pg_class"
                              " WHERE oid = ANY ('{{{}}}'::oid[])",
                              kBlockBytes, oids),
                  stop));
  std::unordered_map<int64_t, int> row_of;
  for (int i = 0; i < rows.size(); ++i) row_of[rows.integer(i, 0)] = i;
  for (Table* table : tables) {
    const change::TableId id = table->source.table.id;
    table->begun_xid = table->so_far.begun ? table->so_far.begun_xid : now.xmin();
    for (const CatalogTable& relation : table->source.parts) {
      Part part{.relation = relation, .plan = PartPlan(id, relation.id, by_key)};
      const auto step = table->so_far.parts.find(relation.id);
      if (step != table->so_far.parts.end()) part.plan.Resume(step->second);
      const std::vector<change::TableId>& only = table->only;
      if (!only.empty() && std::find(only.begin(), only.end(), relation.id) == only.end()) {
        part.left_out = true;
        part.plan.LeaveOut();
      }
      if (const auto row = row_of.find(int64_t{relation.id.value}); row != row_of.end()) {
        const int i = row->second;
        part.plan.Found(static_cast<uint32_t>(rows.integer(i, 1)), rows.integer(i, 2));
        part.toasts = rows.boolean(i, 3);
        const int64_t tuples = rows.integer(i, 4);  // 0 or -1: never analysed
        if (tuples > 0)
          table->rows_estimated = std::max<int64_t>(table->rows_estimated, 0) + tuples;
      }
      table->blocks_before += part.plan.blocks_read();
      table->parts.push_back(std::move(part));
    }
    table->so_far = {};
    table->joined = true;
    join_.Watch(id, now, next_xid);
  }
  return {};
}

bool LiveSnapshot::Has(change::TableId table) const { return ids_.contains(table.value); }

void LiveSnapshot::DoNotWant(change::TableId table) {
  ids_.insert(table.value);
  active_.push_back({.source = {.table = {.id = table, .name = {}, .root = table}},
                     .joined = true,
                     .phase = Phase::kWanted,
                     .parts = {},
                     .sizer = SizerOf(options_, false),
                     .gone = true,
                     .may_read = true});
}

/// Brings tables into the stream that are not in it yet.
Status LiveSnapshot::Join(std::stop_token stop) {
  const Nanos now = clock_.Monotonic();
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto each = at++;
    Table& table = *each;
    if (table.joined || table.phase != Phase::kWanted || now < table.not_before) continue;
    auto joined = joiner_.Join(table.source.table.id, stop);
    if (!joined.has_value()) {
      const Error& error = joined.error();
      if (error.kind == ErrorKind::kGap || error.kind == ErrorKind::kCancelled) return Fail(error);
      if (error.kind == ErrorKind::kNotFound) {
        table.gone = table.joined = true;
        active_.splice(active_.end(), waiting_, each);
        continue;
      }
      if (table.pause == Nanos(0)) {
        logging::Warning("a table cannot be added yet", {{"error", error.message}});
      }
      TryLater(table, error.message);
      continue;
    }
    if (!joined->has_value()) {
      return Fail(ErrorKind::kUnavailable, "the stream begins anew, so that it carries {}",
                  change::ToString(table.source.table.name));
    }
    table.source = **std::move(joined);
    table.pause = Nanos(0);
    table.waits_for.clear();
    if (table.whole) {
      table.joined = table.may_read = true;
      continue;
    }
    Table* const one[] = {&table};
    FRESHET_RETURN_IF_ERROR(Watch(one, stop));
  }
  return {};
}

ChunkReader& LiveSnapshot::Reader() {
  if (reader_ == nullptr) reader_ = std::make_unique<ChunkReader>(options_, clock_);
  return *reader_;
}

std::shared_ptr<const ChangeBatch> LiveSnapshot::Pass(std::shared_ptr<const ChangeBatch> batch) {
  if (!has_tables()) return whole_.Pass(std::move(batch));
  join_.Observe(*batch);
  for (Table& table : active_) {
    table.fresh =
        table.fresh && std::none_of(batch->tables.begin(), batch->tables.end(),
                                    [&](const change::TableChanges& changes) {
                                      return changes.schema->id() == table.source.table.id;
                                    });
  }
  for (const change::TableChanges& changes : batch->tables) {
    if (changes.transactions.empty()) continue;
    Streamed& streamed = streamed_[changes.schema->id()];
    if (streamed.fingerprint == changes.schema->fingerprint()) continue;
    const auto transaction = static_cast<size_t>(changes.transactions.front());
    streamed = {changes.schema->fingerprint(), batch->transactions[transaction].xid};
  }
  return whole_.Pass(std::move(batch));
}

Result<bool> LiveSnapshot::Work(std::stop_token stop) {
  FRESHET_RETURN_IF_ERROR(joiner_.Serve(*this, stop));
  if (!has_tables() && !whole_.table().has_value()) {
    if (reader_ != nullptr) {
      reader_.reset();
      chunks_.clear();
      streamed_.clear();
      Show();
      malloc_trim(0);  // what reading took lies free in the heaps of threads that are gone
      logging::Info("snapshot done", {{"rows", rows_}});
    }
    return false;
  }
  FRESHET_RETURN_IF_ERROR(Join(stop));
  FRESHET_RETURN_IF_ERROR(LookAtTransactions(stop));
  FRESHET_RETURN_IF_ERROR(LookAtSource(stop));
  FRESHET_RETURN_IF_ERROR(TakeEvents(stop));
  FRESHET_RETURN_IF_ERROR(Nudge(stop));
  if (const Status whole = whole_.Work(); !whole.has_value()) {
    FRESHET_RETURN_IF_ERROR(WholeFailed(whole.error(), stop));
  }
  StartChunks();
  StartWhole();
  if (clock_.Monotonic() - shown_ >= kShowInterval) Show();
  return true;
}

/// Lines up the tables that wait for nothing any more but their turn.
void LiveSnapshot::LineUp(Nanos now) {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto each = at++;
    const bool ready =
        each->joined && each->phase == Phase::kWanted && each->may_read && now >= each->not_before;
    Tables& list = each->whole ? wholes_ : ready_;
    if (ready) list.splice(list.end(), waiting_, each);
  }
}

/// Finds out which transactions have ended that tables wait for.
Status LiveSnapshot::LookAtTransactions(std::stop_token stop) {
  const Nanos now = clock_.Monotonic();
  if (now - looked_ < kLookInterval) return {};
  std::vector<Table*> tables;
  for (Tables* list : {&waiting_, &active_}) {
    for (Table& each : *list) {
      if (each.joined && !each.may_read) tables.push_back(&each);
    }
  }
  if (tables.empty() && waiting_.empty()) return {};
  looked_ = now;
  if (!tables.empty()) {
    const auto seen = catalog_.connection().Query("SELECT txid_current_snapshot()", stop);
    if (!seen.has_value()) {  // the session is made anew by whoever looks after it
      return seen.error().kind == ErrorKind::kUnavailable ? Status() : Status(Fail(seen.error()));
    }
    FRESHET_TRY(const TxidSnapshot snapshot, TxidSnapshot::Parse(seen->at(0, 0)));
    join_.Learn(snapshot);
  }
  std::map<uint64_t, std::string> who;
  for (Table* table : tables) {
    const std::vector<uint64_t> waits = join_.WaitsFor(table->source.table.id);
    table->may_read = waits.empty();
    table->waits_for.clear();
    if (waits.empty()) continue;
    const auto [oldest, unknown] = who.try_emplace(waits.front());
    if (unknown) oldest->second = WhoRuns(catalog_.connection(), waits.front(), stop);
    table->waits_for =
        fmt::format("{} transactions that ran when it was begun have to end, the oldest is of {}",
                    waits.size(), oldest->second);
  }
  LineUp(now);
  return {};
}

/// Finds out how much may be asked of the source.
Status LiveSnapshot::LookAtSource(std::stop_token stop) {
  const Nanos now = clock_.Monotonic();
  if (now - measured_ < kMeasureInterval) return {};
  measured_ = now;
  const CaptureStatus status = board_.Read();
  // Before anything was received the stream would seem to be behind by all there is.
  const Lsn received = std::max(status.received, status.end_at_connect);
  auto strain = MeasureStrain(catalog_.connection(), received, stop);
  if (!strain.has_value()) {
    const ErrorKind kind = strain.error().kind;
    return kind == ErrorKind::kUnavailable ? Status() : Status(Fail(strain.error()));
  }
  strain->output_full = status.state == CaptureState::kWaitingForRoom;
  ChunkAllowance allowance = AllowChunks(options_, *strain);
  if (allowance.chunks == 0 && allowance_.reason.empty()) {
    logging::Warning("no rows are read for now", {{"why", allowance.reason}});
  }
  allowance_ = std::move(allowance);
  return {};
}

Status LiveSnapshot::TakeEvents(std::stop_token stop) {
  if (reader_ == nullptr) return {};
  while (ChunkEvent* event = reader_->Front()) {
    if (auto* opened = std::get_if<ChunkOpened>(event)) {
      const int64_t id = opened->id;
      FRESHET_RETURN_IF_ERROR(Opened(id, std::move(*opened)));
    } else if (const auto* failed = std::get_if<ChunkFailed>(event)) {
      FRESHET_RETURN_IF_ERROR(Failed(*failed, stop));
    } else {
      const auto& piece = std::get<ChunkPiece>(*event);
      if (!chunks_.at(piece.id).given_up) return {};
      if (piece.end.has_value()) Forget(piece.id);
    }
    reader_->Pop();
  }
  return {};
}

Status LiveSnapshot::Nudge(std::stop_token stop) {
  const ChunkEvent* event = reader_ == nullptr ? nullptr : reader_->Front();
  const auto* piece = event == nullptr ? nullptr : std::get_if<ChunkPiece>(event);
  const Lsn awaited = piece == nullptr ? Lsn{} : chunks_.at(piece->id).opened->behind;
  const Nanos now = clock_.Monotonic();
  if (awaited != awaited_) {
    awaited_ = awaited;
    awaited_since_ = now;
  }
  if (awaited == Lsn{} || now - awaited_since_ < kNudgeAfter) return {};
  awaited_since_ = now;
  if (board_.Read().received >= awaited) return {};
  // The last page of WAL is written out when some transaction ends: here is one, without changes.
  const Status nudged = catalog_.connection().Execute("SELECT txid_current()", stop);
  const bool lost = !nudged.has_value() && nudged.error().kind == ErrorKind::kUnavailable;
  return lost ? Status() : nudged;
}

Status LiveSnapshot::Opened(int64_t id, ChunkOpened opened) {
  Chunk& chunk = chunks_.at(id);
  if (chunk.given_up) return {};
  Table& table = *chunk.table;
  join_.Open(ChunkId{id}, opened.snapshot);
  const uint32_t filenode = opened.filenode;
  const int64_t blocks = opened.blocks;
  chunk.opened = std::move(opened);
  GiveUpOlderShapes(chunk);
  if (chunk.sweep || table.parts[chunk.part].plan.Found(filenode, blocks)) return {};
  // Rewritten or truncated: the blocks read and being read are those of another file.
  logging::Info("a table was rewritten; it is read from its start again",
                {{"table", change::ToString(table.parts[chunk.part].relation.name)}});
  for (auto& [other_id, other] : chunks_) {
    if (other.given_up || other.table != chunk.table || other.part != chunk.part) continue;
    GiveUp(other_id, other, /*again=*/false);
  }
  return {};
}

Status LiveSnapshot::Failed(const ChunkFailed& failed, std::stop_token stop) {
  const int64_t id = failed.id;
  const Error& error = failed.error;
  Chunk& chunk = chunks_.at(id);
  if (chunk.given_up) {
    Forget(id);
    return {};
  }
  const Tables::iterator table = chunk.table;
  GiveUp(id, chunk, /*again=*/true);
  Forget(id);
  if (failed.together) {
    table->alone = true;
    return {};
  }
  switch (error.kind) {
    case ErrorKind::kUnavailable:
    case ErrorKind::kBusy:
    case ErrorKind::kCancelled:
      table->sizer.Failed();
      break;
    case ErrorKind::kNotFound:
      FRESHET_RETURN_IF_ERROR(LookAgain(table, stop));
      break;
    case ErrorKind::kUnsupported: {
      FRESHET_TRY(const bool keyed, IsKeyed(*table));
      if (keyed) return Fail(error);
      ReadWhole(table);
      break;
    }
    default:
      return Fail(error);
  }
  if (table->pause == Nanos(0)) {
    logging::Warning("a part of a table is read again", {{"error", error.message}});
  }
  TryLater(*table, error.message);
  return {};
}

/// A table was not found under its name: it was renamed, altered or dropped.
Status LiveSnapshot::LookAgain(Tables::iterator table, std::stop_token stop) {
  FRESHET_TRY(const std::vector<CatalogTable> all, catalog_.Tables(stop));
  const auto find = [&](change::TableId id) -> const CatalogTable* {
    const auto at = std::find_if(all.begin(), all.end(),
                                 [&](const CatalogTable& each) { return each.id == id; });
    return at == all.end() ? nullptr : &*at;
  };
  const CatalogTable* root = find(table->source.table.id);
  table->gone = root == nullptr;
  if (root != nullptr) table->source.table = *root;
  for (Part& part : table->parts) {
    const CatalogTable* found = find(part.relation.id);
    if (found != nullptr) {
      part.relation = *found;
      continue;
    }
    // Dropped: it has no rows.
    part.plan.Found(0, 0);
    if (const auto rest = part.plan.Next(1)) part.plan.Read(*rest, 0, {});
    part.toasts = false;
    part.swept = true;
  }
  return {};
}

void LiveSnapshot::GiveUp(int64_t id, Chunk& chunk, bool again) {
  CHECK(!chunk.given_up);
  reader_->GiveUp(id);
  join_.Close(ChunkId{id});
  Part& part = chunk.table->parts[chunk.part];
  if (chunk.sweep) {
    part.sweeping = false;
  } else if (again) {
    part.plan.Return(chunk.range);
  }
  --chunk.table->chunks;
  chunk.table->fresh = false;  // some of its rows may have been placed
  chunk.given_up = true;
}

void LiveSnapshot::GiveUpOlderShapes(const Chunk& newest) {
  // Chunks lock the table: a version of it is opened when all chunks of the one before are read,
  // and their events came before.
  for (auto& [id, other] : chunks_) {
    if (other.given_up || other.table != newest.table || !other.opened.has_value()) continue;
    if (other.opened->schema->fingerprint() != newest.opened->schema->fingerprint()) {
      GiveUp(id, other, /*again=*/true);
    }
  }
}

void LiveSnapshot::Forget(int64_t id) { chunks_.erase(id); }

Result<bool> LiveSnapshot::IsKeyed(const Table& table) {
  const change::TableId ids[] = {table.source.table.id};
  FRESHET_RETURN_IF_ERROR(catalog_.Load(ids));
  FRESHET_TRY(const auto schema,
              catalog_.Resolve(catalog_.Describe(table.source.table, table.source.columns)));
  return !schema->key_columns().empty();
}

void LiveSnapshot::ReadWhole(Tables::iterator table) {
  for (auto& [id, chunk] : chunks_) {
    if (!chunk.given_up && chunk.table == table) GiveUp(id, chunk, /*again=*/true);
  }
  join_.Unwatch(table->source.table.id);
  table->parts.clear();
  table->whole = table->replaces = table->may_read = true;
  table->phase = Phase::kWanted;
  wholes_.splice(wholes_.end(), active_, table);
}

void LiveSnapshot::StartWhole() {
  if (whole_.table().has_value() || allowance_.chunks == 0) return;
  at_cut_ = std::find_if(wholes_.begin(), wholes_.end(),
                         [&](const Table& each) { return clock_.Monotonic() >= each.not_before; });
  if (at_cut_ != wholes_.end()) whole_.Start(at_cut_->source);
}

/// Reading the table broke off. What was held of its changes is given back before the next try.
Status LiveSnapshot::WholeFailed(const Error& error, std::stop_token stop) {
  switch (error.kind) {
    case ErrorKind::kDenied:
    case ErrorKind::kUnsupported:
    case ErrorKind::kMalformed:
      return Fail(error);
    default:
      break;
  }
  const auto table = std::exchange(at_cut_, wholes_.end());
  if (table == wholes_.end()) return {};
  table->phase = Phase::kWanted;
  if (table->pause == Nanos(0)) {
    logging::Warning("a table is read again", {{"error", error.message}});
  }
  TryLater(*table, error.message);
  if (error.kind != ErrorKind::kNotFound) return {};
  FRESHET_RETURN_IF_ERROR(LookAgain(table, stop));
  if (table->gone) active_.splice(active_.end(), wholes_, table);
  return {};
}

Result<std::shared_ptr<const ChangeBatch>> LiveSnapshot::PlaceWhole(const Position& behind,
                                                                    Lsn passed) {
  if (!whole_.table().has_value()) return nullptr;
  auto placed = whole_.Next(behind, passed);
  if (!placed.has_value()) {
    FRESHET_RETURN_IF_ERROR(WholeFailed(placed.error(), {}));
    return nullptr;
  }
  if (at_cut_ == wholes_.end() || placed->batch == nullptr) return std::move(placed->batch);
  Table& table = *at_cut_;
  if (placed->began) {
    table.phase = Phase::kReading;
    table.since = clock_.Monotonic();
    table.pause = Nanos(0);
    table.waits_for.clear();
  }
  table.rows += placed->rows;
  rows_ += placed->rows;
  if (placed->ends) {
    table.bytes = whole_.progress().bytes_copied;
    bytes_ += table.bytes;
    const auto finished = std::exchange(at_cut_, wholes_.end());
    active_.splice(active_.end(), wholes_, finished);
    Finish(finished, *placed->batch);
  }
  return std::move(placed->batch);
}

void LiveSnapshot::TryLater(Table& table, std::string why) {
  table.pause = std::clamp<Nanos>(table.pause * 2, kFirstPause, kLongestPause);
  table.not_before = clock_.Monotonic() + table.pause;
  table.waits_for = std::move(why);
}

void LiveSnapshot::StartChunks() {
  for (;;) {
    const auto idle = static_cast<int64_t>(Reader().idle());
    if (idle == 0 || options_.snapshot_workers - idle >= allowance_.chunks) return;
    std::vector<ChunkTask> tasks = NextChunks();
    if (tasks.empty()) return;
    Reader().Start(std::move(tasks));
  }
}

/// What one session is to read next: a range of a large part, or all of some small ones.
std::vector<ChunkTask> LiveSnapshot::NextChunks() {
  const Nanos now = clock_.Monotonic();
  std::vector<ChunkTask> tasks;
  int64_t blocks = 0;
  for (auto table = active_.begin(); table != active_.end(); ++table) {
    if (!table->may_read || table->gone || now < table->not_before) continue;
    const bool sweep = table->phase == Phase::kSweeping;
    for (size_t i = 0; i < table->parts.size(); ++i) {
      Part& part = table->parts[i];
      const bool together = !table->alone && IsSmall(part.plan);
      const bool fits =
          tasks.empty() || (together && blocks + part.plan.blocks() <= kBlocksTogether);
      if (!fits) continue;
      std::optional<ChunkRange> range;
      if (!sweep) {
        range = part.plan.Next(table->sizer.size());
      } else if (!part.swept && !part.sweeping) {
        part.sweeping = true;
        range.emplace();
      }
      if (!range.has_value()) continue;
      tasks.push_back(MakeChunk(table, i, *std::move(range)));
      if (!together || std::ssize(tasks) == kMostTogether) return tasks;
      blocks += part.plan.blocks();
    }
  }
  return tasks;
}

ChunkTask LiveSnapshot::MakeChunk(Tables::iterator table, size_t part, ChunkRange range) {
  const PartPlan& plan = table->parts[part].plan;
  const bool sweep = table->phase == Phase::kSweeping;
  int64_t size = range.most_rows;
  if (!range.by_key) {
    const int64_t end = std::min(range.blocks.end, plan.blocks());
    size = std::max<int64_t>(1, end - range.blocks.first);
  }
  const ChunkId id = join_.Reserve(table->source.table.id);
  ChunkTask task{.id = id.value,
                 .table = table->source.table,
                 .part = table->parts[part].relation,
                 .columns = table->source.columns,
                 .row_filter = table->source.row_filter,
                 .range = range,
                 .written_since = sweep ? std::optional(table->begun_xid) : std::nullopt};
  chunks_.emplace(id.value, Chunk{.table = table,
                                  .part = part,
                                  .range = std::move(range),
                                  .size = size,
                                  .sweep = sweep,
                                  .opened = {}});
  ++table->chunks;
  return task;
}

std::vector<LiveSnapshot::Tables::iterator> LiveSnapshot::NextToBegin() {
  // As many as there are workers; as one counts what is read together.
  const auto share = [](const Table& table) {
    const bool small = table.parts.size() == 1 && IsSmall(table.parts.front().plan);
    return small && !table.alone ? 1 : kMostTogether;
  };
  int64_t room = options_.snapshot_workers * kMostTogether;
  for (const Table& table : active_) room -= share(table);
  std::vector<Tables::iterator> next;
  for (auto table = ready_.begin(); table != ready_.end(); ++table) {
    const int64_t takes = share(*table);
    if (takes > room) break;
    room -= takes;
    next.push_back(table);
  }
  return next;
}

std::optional<Lsn> LiveSnapshot::awaits() {
  const bool step =
      std::any_of(active_.begin(), active_.end(), [&](Table& table) { return Conclude(table); });
  if (step || !NextToBegin().empty()) return Lsn{};
  const std::optional<Lsn> whole = whole_.awaits();
  if (whole == Lsn{}) return whole;
  const ChunkEvent* event = reader_ == nullptr ? nullptr : reader_->Front();
  const auto* piece = event == nullptr ? nullptr : std::get_if<ChunkPiece>(event);
  if (piece == nullptr) return whole;
  const Chunk& chunk = chunks_.at(piece->id);
  const Lsn chunks = chunk.given_up ? Lsn{} : chunk.opened->behind;
  return whole.has_value() ? std::min(*whole, chunks) : chunks;
}

std::vector<change::SnapshotProgress> LiveSnapshot::TakeSteps() {
  std::vector<change::SnapshotProgress> steps;
  if (std::exchange(to_announce_, false)) {
    for (Table& table : waiting_) {
      if (table.phase != Phase::kNew) continue;
      steps.push_back({.step = SnapshotStep::kWanted,
                       .table = table.source.table.id,
                       .keeps = !table.replaces});
      table.phase = Phase::kWanted;
    }
    looked_ = {};
  }
  for (change::SnapshotProgress& step : joiner_.TakeSteps()) steps.push_back(std::move(step));
  return steps;
}

std::shared_ptr<const ChangeBatch> LiveSnapshot::Announce(const Position& behind) {
  std::vector<change::SnapshotProgress> steps = TakeSteps();
  if (steps.empty()) return nullptr;
  auto batch = NewBatch(behind);
  batch->snapshots = std::move(steps);
  return batch;
}

std::shared_ptr<const ChangeBatch> LiveSnapshot::AnnounceIn(
    std::shared_ptr<const ChangeBatch> last) {
  std::vector<change::SnapshotProgress> steps = TakeSteps();
  if (steps.empty()) return last;
  auto batch = std::make_shared<ChangeBatch>(*last);
  batch->snapshots = std::move(steps);
  return batch;
}

Result<std::shared_ptr<const ChangeBatch>> LiveSnapshot::Next(const Position& behind, Lsn passed) {
  auto batch = NewBatch(behind);
  for (auto table = active_.begin(); table != active_.end();) {
    const auto each = table++;
    if (Conclude(*each)) Finish(each, *batch);
  }
  if (!batch->snapshots.empty()) return batch;
  if (const auto next = NextToBegin(); !next.empty()) {
    FRESHET_RETURN_IF_ERROR(Begin(next, *batch));
    if (!batch->snapshots.empty()) return batch;
  }
  whole_has_turn_ = !whole_has_turn_;
  if (whole_has_turn_) {
    FRESHET_TRY(auto placed, PlaceWhole(behind, passed));
    if (placed != nullptr) return placed;
  }
  for (int64_t bytes = 0;;) {
    FRESHET_RETURN_IF_ERROR(TakeEvents({}));
    const ChunkEvent* event = reader_ == nullptr ? nullptr : reader_->Front();
    const auto* piece = event == nullptr ? nullptr : std::get_if<ChunkPiece>(event);
    if (piece == nullptr || chunks_.at(piece->id).opened->behind > passed) break;
    if (!FitsInto(*batch, bytes, *piece)) break;
    if (piece->end.has_value()) bytes += piece->end->bytes;
    PlacePiece(*batch);
  }
  if (batch->tables.empty() && batch->snapshots.empty()) return PlaceWhole(behind, passed);
  return batch;
}

Status LiveSnapshot::Begin(const std::vector<Tables::iterator>& tables, ChangeBatch& batch) {
  std::vector<change::TableId> ids;
  for (const auto& table : tables) ids.push_back(table->source.table.id);
  const Status loaded = catalog_.Load(ids);
  if (!loaded.has_value()) {
    if (loaded.error().kind != ErrorKind::kUnavailable) return Fail(loaded.error());
    for (const auto& table : tables) {
      TryLater(*table, loaded.error().message);
      waiting_.splice(waiting_.end(), ready_, table);
    }
    return {};
  }
  for (const auto& table : tables) {
    const CatalogTable& relation = table->source.table;
    FRESHET_TRY(const auto schema,
                catalog_.Resolve(catalog_.Describe(relation, table->source.columns)));
    active_.splice(active_.end(), ready_, table);
    if (schema->key_columns().empty()) {
      FRESHET_RETURN_IF_ERROR(LookAgain(table, {}));
      if (!table->gone) ReadWhole(table);
      continue;
    }
    // Targets learn of a table without rows, too.
    FRESHET_TRY(change::TableChanges none, CopyTextReader(schema).Finish(0));
    batch.tables.push_back(std::move(none));
    batch.snapshots.push_back({.step = SnapshotStep::kBegun,
                               .table = relation.id,
                               .replaces = table->replaces,
                               .begun_xid = table->begun_xid});
    for (const Part& part : table->parts) {
      if (part.left_out) batch.snapshots.push_back(part.plan.Step());
    }
    join_.Emptied(relation.id);
    table->phase = Phase::kReading;
    table->fresh = table->replaces && table->source.sends_all;
    table->pause = Nanos(0);
    table->waits_for.clear();
    table->since = clock_.Monotonic();
  }
  return {};
}

bool LiveSnapshot::IsStale(const Chunk& chunk) const {
  const auto streamed = streamed_.find(chunk.opened->schema->id());
  return streamed != streamed_.end() &&
         streamed->second.fingerprint != chunk.opened->schema->fingerprint() &&
         !chunk.opened->snapshot.Sees(streamed->second.xid);
}

/// A batch has one piece, or some that are the last of small tables, each of another.
bool LiveSnapshot::FitsInto(const ChangeBatch& batch, int64_t bytes,
                            const ChunkPiece& piece) const {
  if (batch.tables.empty() && batch.snapshots.empty()) return true;
  const Chunk& chunk = chunks_.at(piece.id);
  if (!piece.end.has_value() || !IsSmall(chunk.table->parts[chunk.part].plan)) return false;
  if (bytes + piece.end->bytes > options_.batch_bytes.bytes) return false;
  int64_t rows = piece.rows.num_rows();
  const bool is_new =
      std::none_of(batch.tables.begin(), batch.tables.end(), [&](const change::TableChanges& one) {
        rows += one.num_rows();
        return one.schema->id() == piece.rows.schema->id();
      });
  return is_new && rows <= options_.batch_rows;
}

/// The first event is a piece whose place is here.
void LiveSnapshot::PlacePiece(ChangeBatch& batch) {
  auto& piece = std::get<ChunkPiece>(*reader_->Front());
  const int64_t id = piece.id;
  Chunk& chunk = chunks_.at(id);
  Table& table = *chunk.table;
  Placement placement{.outcome = Placement::Outcome::kRejected, .rows = {}};
  if (!IsStale(chunk)) placement = join_.Place(ChunkId{id}, std::move(piece.rows));
  if (placement.outcome == Placement::Outcome::kRejected) {
    GiveUp(id, chunk, /*again=*/true);
    TryLater(table, "a change that is in the stream is not visible to readers yet");
    if (piece.end.has_value()) Forget(id);
    reader_->Pop();
    return;
  }
  if (placement.outcome == Placement::Outcome::kPlaced && placement.rows.num_rows() > 0) {
    const int64_t before = batch.num_rows();
    for (int64_t& ordinal : placement.rows.ordinals) ordinal += before;
    rows_ += placement.rows.num_rows();
    table.rows += placement.rows.num_rows();
    batch.tables.push_back(std::move(placement.rows));
    if (table.fresh) {
      batch.snapshots.push_back({.step = SnapshotStep::kFresh, .table = table.source.table.id});
    }
  }
  if (piece.end.has_value()) {
    const ChunkEnd end = *std::move(piece.end);
    Part& part = table.parts[chunk.part];
    table.bytes += end.bytes;
    bytes_ += end.bytes;
    if (chunk.sweep) {
      part.swept = true;
      part.sweeping = false;
    } else {
      part.plan.Read(chunk.range, end.rows, end.last_key);
      table.sizer.Took(chunk.size, end.took);
      batch.snapshots.push_back(part.plan.Step());
    }
    table.pause = Nanos(0);
    table.waits_for.clear();
    --table.chunks;
    join_.Close(ChunkId{id});
    const Tables::iterator at = chunk.table;
    Forget(id);
    if (Conclude(table)) Finish(at, batch);
  }
  reader_->Pop();
}

bool LiveSnapshot::NeedsSweep(const Table& table) const {
  if (table.watched_whole && !join_.saw_unchanged(table.source.table.id)) return false;
  return std::any_of(table.parts.begin(), table.parts.end(),
                     [](const Part& part) { return part.toasts && !part.left_out; });
}

bool LiveSnapshot::Conclude(Table& table) {
  if (table.chunks > 0) return false;
  if (table.gone) return true;
  if (table.phase == Phase::kReading) {
    const bool read = std::all_of(table.parts.begin(), table.parts.end(),
                                  [](const Part& part) { return part.plan.done(); });
    if (!read) return false;
    if (!NeedsSweep(table)) return true;
    table.phase = Phase::kSweeping;
    for (Part& part : table.parts) part.swept = part.left_out || !part.toasts;
  }
  return table.phase == Phase::kSweeping &&
         std::all_of(table.parts.begin(), table.parts.end(),
                     [](const Part& part) { return part.swept; });
}

void LiveSnapshot::Finish(Tables::iterator table, ChangeBatch& batch) {
  const change::TableId id = table->source.table.id;
  batch.snapshots.push_back({.step = SnapshotStep::kFinished, .table = id});
  join_.Unwatch(id);
  SnapshotTable figures = Figures(*table);
  figures.state = SnapshotState::kFinished;
  figures.done = true;
  figures.seconds_left = 0;
  figures.waits_for.clear();
  figures.bytes_read = figures.bytes_estimated;
  if (finished_.size() < kMostShown && !table->gone) finished_.push_back(std::move(figures));
  ids_.erase(id.value);
  active_.erase(table);
}

std::shared_ptr<ChangeBatch> LiveSnapshot::NewBatch(const Position& behind) const {
  auto batch = std::make_shared<ChangeBatch>();
  batch->transactions.push_back({.kind = change::TransactionKind::kSnapshot,
                                 .xid = {},
                                 .commit_lsn = behind.commit_end,
                                 .end_lsn = behind.commit_end,
                                 .ordinal = behind.ordinal + 1,
                                 .commit_time = clock_.Now(),
                                 .origin = ""});
  return batch;
}

SnapshotTable LiveSnapshot::Figures(const Table& table) const {
  SnapshotTable out{.name = table.source.table.name, .why = table.why};
  switch (table.phase) {
    case Phase::kNew:
    case Phase::kWanted:
      break;
    case Phase::kReading:
      out.state = SnapshotState::kReading;
      break;
    case Phase::kSweeping:
      out.state = SnapshotState::kSweeping;
      break;
  }
  out.rows_estimated = table.rows_estimated;
  out.bytes_copied = table.bytes;
  out.waits_for = table.waits_for.empty() ? allowance_.reason : table.waits_for;
  if (at_cut_ != wholes_.end() && &table == &*at_cut_) {
    const SnapshotTable whole = whole_.progress();
    out.bytes_copied = whole.bytes_copied;
    out.bytes_read = whole.bytes_read;
    out.bytes_estimated = whole.bytes_estimated;
    if (out.waits_for.empty()) out.waits_for = whole.waits_for;
  }
  if (table.whole) out.rows_copied = table.rows;
  for (const Part& part : table.parts) {
    out.rows_copied += part.plan.rows_read();
    out.bytes_read += part.plan.blocks_read() * kBlockBytes;
    out.bytes_estimated += part.plan.blocks() * kBlockBytes;
  }
  const double seconds = std::chrono::duration<double>(clock_.Monotonic() - table.since).count();
  if (out.state != SnapshotState::kWanted && seconds > 0.5) {
    out.rows_per_second = static_cast<int64_t>(static_cast<double>(table.rows) / seconds);
    const int64_t read = out.bytes_read - table.blocks_before * kBlockBytes;
    const int64_t left = out.bytes_estimated - out.bytes_read;
    if (read > 0) {
      out.seconds_left =
          static_cast<int64_t>(seconds * static_cast<double>(left) / static_cast<double>(read));
    }
  }
  return out;
}

void LiveSnapshot::Show() {
  shown_ = clock_.Monotonic();
  std::vector<SnapshotTable> shown = finished_;
  for (const Tables* list : {&active_, &wholes_, &ready_, &waiting_}) {
    for (const Table& table : *list) shown.push_back(Figures(table));
  }
  std::sort(shown.begin(), shown.end(),
            [](const SnapshotTable& a, const SnapshotTable& b) { return a.name < b.name; });
  board_.Update([&](CaptureStatus& status) { status.snapshot = std::move(shown); });
}

}  // namespace freshet::postgres
