#include "postgres/chunk_join.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "postgres/row_key.h"
#include "postgres/row_patch.h"

namespace freshet::postgres {
namespace {

using change::ChangeKind;
using change::TableChanges;
using change::TableId;
using change::TableSchema;
using change::TransactionKind;
using change::Xid;
using Schema = std::shared_ptr<const TableSchema>;

/// Indexes into the columns of a schema, ascending. Shared by the rows that have the same.
using ColumnSet = std::shared_ptr<const std::vector<int32_t>>;

/// Memory of a node in a hash table, besides what is in it.
constexpr int64_t kNodeBytes = 96;

/// Beyond the window for transactions of which only the id is remembered.
constexpr int64_t kMarksBytes = int64_t{1} << 20;

/// What one row image says of the rows that were there before.
struct Touch {
  enum class Kind : uint8_t {
    kReplaces,   ///< nothing of the row with this key is left: inserted, deleted, wholly updated
    kLeaves,     ///< of the row with this key, the columns `left` are as they were
    kMoves,      ///< the row with this key got another one, and kept the columns `left`
    kTruncates,  ///< no row is left
  };
  Kind kind = Kind::kReplaces;
  uint32_t key_size = 0;
  uint32_t new_key_size = 0;  ///< of kMoves
  size_t key_at = 0;          ///< in Touched::keys; the new key follows
  ColumnSet left = nullptr;   ///< without key columns; null: none
};

/// What one transaction, or a part of it, did to a table under one schema.
struct Touched {
  int64_t serial = 0;  ///< ascending in the table
  Xid xid;
  Schema schema;
  bool everything = false;  ///< it is not known which rows: as if all of them
  std::vector<Touch> touches;
  std::string keys;
  int64_t bytes = sizeof(Touched);

  std::string_view KeyOf(const Touch& touch) const {
    return std::string_view(keys).substr(touch.key_at, touch.key_size);
  }
  std::string_view NewKeyOf(const Touch& touch) const {
    return std::string_view(keys).substr(touch.key_at + touch.key_size, touch.new_key_size);
  }
};

struct Table {
  std::vector<uint64_t> unsettled;  ///< ascending; see ChunkJoin::WaitsFor()
  std::vector<std::unique_ptr<Touched>> touched;
  std::optional<Xid> forgot_up_to;  ///< not even the ids of transactions up to here are all known
  bool saw_unchanged = false;
  std::vector<ChunkId> chunks;  ///< since it was watched

  bool remembers() const { return !unsettled.empty() || !touched.empty() || forgot_up_to; }
};

/// What the stream left of a row that the chunk has.
struct Rest {
  std::optional<std::string_view> was;  ///< its key in the chunk; none: nothing is left
  ColumnSet left;                       ///< null: all of it
};

struct Chunk {
  TableId table;
  std::optional<TxidSnapshot> sees;  ///< nothing less; none: nothing is known
  std::vector<uint64_t> must_see;    ///< or else it is rejected
  bool open = false;                 ///< then `sees` is its snapshot
  bool rejected = false;
  bool truncated = false;

  // What the transactions did that it does not see, those before `next` worked in. The keys' bytes
  // are in Touched, which stays as long as the chunk needs it.
  int64_t next = 0;
  std::vector<Schema> schemas;
  std::unordered_map<std::string_view, Rest> rests;              ///< by the key now
  std::unordered_map<std::string_view, std::string_view> moved;  ///< key in the chunk -> key now
  int64_t bytes = 0;
};

/// Rows of both have the same columns and the same key.
bool SameShape(const TableSchema& a, const TableSchema& b) {
  return a.key_columns() == b.key_columns() &&
         std::equal(a.columns().begin(), a.columns().end(), b.columns().begin(), b.columns().end(),
                    [](const change::Column& x, const change::Column& y) {
                      return x.name == y.name && x.type == y.type;
                    });
}

ColumnSet Intersection(const ColumnSet& a, const ColumnSet& b) {
  if (a == b || *a == *b) return a;
  std::vector<int32_t> both;
  std::set_intersection(a->begin(), a->end(), b->begin(), b->end(), std::back_inserter(both));
  return std::make_shared<const std::vector<int32_t>>(std::move(both));
}

/// The columns, without those of the key, that each row of `changes` came without. Rows are to be
/// asked for in order.
class UnchangedColumns {
 public:
  explicit UnchangedColumns(const TableChanges& changes) {
    const std::vector<int>& key = changes.schema->key_columns();
    for (const change::UnchangedRows& marks : changes.unchanged) {
      if (std::find(key.begin(), key.end(), marks.column) != key.end()) continue;
      for (const int64_t row : marks.rows) cells_.emplace_back(row, marks.column);
    }
    std::sort(cells_.begin(), cells_.end());
  }

  /// Null when there are none.
  ColumnSet Of(int64_t row) {
    while (next_ < cells_.size() && cells_[next_].first < row) ++next_;
    std::vector<int32_t> columns;
    for (; next_ < cells_.size() && cells_[next_].first == row; ++next_) {
      columns.push_back(cells_[next_].second);
    }
    if (columns.empty()) return nullptr;
    if (last_ == nullptr || *last_ != columns) {
      last_ = std::make_shared<const std::vector<int32_t>>(std::move(columns));
    }
    return last_;
  }

 private:
  std::vector<std::pair<int64_t, int32_t>> cells_;
  size_t next_ = 0;
  ColumnSet last_;
};

}  // namespace

class ChunkJoin::Impl {
 public:
  explicit Impl(int64_t window_bytes) : window_bytes_(window_bytes) {}

  void Watch(TableId id, const TxidSnapshot& now, uint64_t next_xid) {
    Table& table = tables_[id];
    std::vector<uint64_t> running = now.running();
    for (uint64_t xid = now.xmax(); xid < next_xid; ++xid) running.push_back(xid);
    std::vector<uint64_t> all;
    std::set_union(table.unsettled.begin(), table.unsettled.end(), running.begin(), running.end(),
                   std::back_inserter(all));
    table.unsettled = std::move(all);
    if (table.remembers()) remembering_.insert(id);
    learned_.reset();
  }

  void Unwatch(TableId id) {
    const auto found = tables_.find(id);
    if (found == tables_.end()) return;
    for (const ChunkId chunk : found->second.chunks) Reject(chunks_.at(chunk));
    for (const auto& touched : found->second.touched) counters_.window_bytes -= touched->bytes;
    tables_.erase(found);
    remembering_.erase(id);
  }

  std::vector<uint64_t> WaitsFor(TableId id) const {
    const auto found = tables_.find(id);
    return found == tables_.end() ? std::vector<uint64_t>() : found->second.unsettled;
  }

  void Learn(const TxidSnapshot& snapshot) {
    if (learned_ == snapshot) return;  // chunks that are read together have one
    learned_ = snapshot;
    const auto order = [](const TxidSnapshot& s) { return std::pair(s.xmax(), s.xmin()); };
    if (!newest_ || order(*newest_) < order(snapshot)) newest_ = snapshot;
    for (auto id = remembering_.begin(); id != remembering_.end();) {
      Table& table = tables_.at(*id);
      std::erase_if(table.unsettled, [&](uint64_t xid) { return snapshot.Sees(xid); });
      Forget(table);
      id = table.remembers() ? std::next(id) : remembering_.erase(id);
    }
  }

  void Observe(const change::ChangeBatch& batch) {
    half_observed_ = !batch.ends_transaction();
    if (tables_.empty()) return;
    for (const TableChanges& changes : batch.tables) {
      const auto found = tables_.find(changes.schema->id());
      if (found == tables_.end()) continue;
      Observe(batch, changes, found->second);
      if (found->second.remembers()) remembering_.insert(found->first);
    }
  }

  void Emptied(TableId id) {
    Table& table = tables_.at(id);
    for (auto& touched : table.touched) {
      for (const ChunkId of_table : table.chunks) {
        Chunk& chunk = chunks_.at(of_table);
        if (chunk.open && !chunk.sees->Sees(touched->xid)) Reject(chunk);
      }
      MakeEverything(*touched);
    }
  }

  ChunkId Reserve(TableId id) {
    Table& table = tables_.at(id);
    const ChunkId chunk_id{++last_chunk_};
    Chunk& chunk = chunks_[chunk_id];
    chunk.table = id;
    chunk.sees = newest_;
    chunk.must_see = table.unsettled;
    table.chunks.push_back(chunk_id);
    return chunk_id;
  }

  void Open(ChunkId id, const TxidSnapshot& snapshot) {
    Chunk& chunk = chunks_.at(id);
    CHECK(!chunk.open);
    chunk.open = true;
    chunk.sees = snapshot;
    Learn(snapshot);
    const auto unseen = [&](uint64_t xid) { return !snapshot.Sees(xid); };
    if (std::any_of(chunk.must_see.begin(), chunk.must_see.end(), unseen)) Reject(chunk);
  }

  Placement Place(ChunkId id, TableChanges rows) {
    CHECK(!half_observed_);
    Chunk& chunk = chunks_.at(id);
    CHECK(chunk.open);
    if (!chunk.rejected) CatchUp(chunk);
    for (const Schema& schema : chunk.schemas) {
      if (!SameShape(*schema, *rows.schema)) Reject(chunk);
    }
    if (chunk.rejected) return {.outcome = Placement::Outcome::kRejected, .rows = {}};
    const int64_t count = rows.num_rows();
    if (chunk.truncated || count == 0) {
      counters_.dropped += count;
      return {.outcome = Placement::Outcome::kNothing, .rows = {}};
    }
    if (chunk.rests.empty()) {
      return {.outcome = Placement::Outcome::kPlaced, .rows = std::move(rows)};
    }
    return PlaceTouched(chunk, std::move(rows));
  }

  void Close(ChunkId id) {
    const auto found = chunks_.find(id);
    CHECK(found != chunks_.end());
    const TableId table = found->second.table;
    counters_.window_bytes -= found->second.bytes;
    chunks_.erase(found);
    const auto left = tables_.find(table);
    if (left == tables_.end()) return;
    std::erase(left->second.chunks, id);
    Forget(left->second);
  }

  bool saw_unchanged(TableId id) const {
    const auto found = tables_.find(id);
    return found != tables_.end() && found->second.saw_unchanged;
  }

  const Counters& counters() const { return counters_; }

 private:
  // Remembering.

  void Observe(const change::ChangeBatch& batch, const TableChanges& changes, Table& table) {
    if (!changes.unchanged.empty()) table.saw_unchanged = true;
    UnchangedColumns unchanged(changes);
    const RowKeyReader keys(changes);
    Touched* touched = nullptr;
    int32_t begun = -1;
    std::optional<int64_t> old_row;
    for (int64_t row = 0; row < changes.num_rows(); ++row) {
      const auto at = static_cast<size_t>(row);
      const change::Transaction& transaction =
          batch.transactions[static_cast<size_t>(changes.transactions[at])];
      if (transaction.kind != TransactionKind::kStream) continue;
      if (changes.transactions[at] != begun) {
        begun = changes.transactions[at];
        touched = Begin(table, transaction.xid, changes.schema);
      }
      if (touched == nullptr) continue;
      if (changes.kinds[at] == ChangeKind::kUpdatePreimage) {
        old_row = row;
        continue;
      }
      const int64_t before = touched->bytes;
      const bool known = Add(*touched, changes.kinds[at], keys, row,
                             std::exchange(old_row, std::nullopt), unchanged.Of(row));
      counters_.window_bytes += touched->bytes - before;
      if (!known || counters_.window_bytes > window_bytes_) {
        ForgetRowsOf(table, transaction.xid);
        touched = nullptr;
      }
    }
  }

  /// Where to note what transaction `xid` does; null when that needs no noting.
  Touched* Begin(Table& table, Xid xid, const Schema& schema) {
    auto& all = table.touched;
    if (!all.empty() && all.back()->everything && all.back()->xid == xid) return nullptr;
    if (counters_.window_bytes > window_bytes_ + kMarksBytes) {
      // Of two that commit, the later one in this order need not have begun later.
      const bool later =
          !table.forgot_up_to || static_cast<int32_t>(xid.value - table.forgot_up_to->value) > 0;
      if (later) table.forgot_up_to = xid;
      return nullptr;
    }
    all.push_back(std::make_unique<Touched>());
    Touched& touched = *all.back();
    touched.serial = ++last_serial_;
    touched.xid = xid;
    touched.schema = schema;
    counters_.window_bytes += touched.bytes;
    touched.everything = schema->key_columns().empty() || counters_.window_bytes > window_bytes_;
    return touched.everything ? nullptr : &touched;
  }

  /// Notes one image. Returns false when the row it speaks of cannot be told.
  static bool Add(Touched& touched, ChangeKind kind, const RowKeyReader& keys, int64_t row,
                  std::optional<int64_t> old_row, ColumnSet left) {
    Touch touch{.key_at = touched.keys.size()};
    if (kind == ChangeKind::kTruncate) {
      touch.kind = Touch::Kind::kTruncates;
    } else if (kind != ChangeKind::kUpdatePostimage || !old_row) {
      if (!keys.Append(row, std::nullopt, touched.keys)) return false;
      touch.key_size = static_cast<uint32_t>(touched.keys.size() - touch.key_at);
      if (left != nullptr) touch.kind = Touch::Kind::kLeaves;
    } else {
      if (!keys.Append(*old_row, std::nullopt, touched.keys)) return false;
      touch.key_size = static_cast<uint32_t>(touched.keys.size() - touch.key_at);
      if (!keys.Append(row, old_row, touched.keys)) return false;
      touch.new_key_size =
          static_cast<uint32_t>(touched.keys.size() - touch.key_at - touch.key_size);
      if (touched.KeyOf(touch) == touched.NewKeyOf(touch)) {
        touched.keys.resize(touch.key_at + touch.key_size);
        touch.new_key_size = 0;
        if (left != nullptr) touch.kind = Touch::Kind::kLeaves;
      } else {
        touch.kind = Touch::Kind::kMoves;
      }
    }
    touch.left = std::move(left);
    touched.bytes += static_cast<int64_t>(sizeof(Touch)) + touch.key_size + touch.new_key_size;
    touched.touches.push_back(std::move(touch));
    return true;
  }

  /// The transaction, whose changes came last, is as if it had touched every row.
  void ForgetRowsOf(Table& table, Xid xid) {
    for (auto touched = table.touched.rbegin();
         touched != table.touched.rend() && (*touched)->xid == xid; ++touched) {
      MakeEverything(**touched);
    }
  }

  void MakeEverything(Touched& touched) {
    counters_.window_bytes -= touched.bytes - static_cast<int64_t>(sizeof(Touched));
    touched.bytes = sizeof(Touched);
    touched.everything = true;
    touched.touches = {};
    touched.keys = {};
  }

  /// Forgets the transactions that no chunk, open or to come, can miss.
  void Forget(Table& table) {
    if (!newest_) return;
    std::vector<const TxidSnapshot*> all = {&*newest_};
    for (const ChunkId of_table : table.chunks) {
      const Chunk& chunk = chunks_.at(of_table);
      if (chunk.rejected || chunk.truncated) continue;
      if (!chunk.sees) return;
      all.push_back(&*chunk.sees);
    }
    std::erase_if(table.touched, [&](const auto& touched) {
      const bool seen =
          std::all_of(all.begin(), all.end(), [&](const auto* s) { return s->Sees(touched->xid); });
      if (seen) counters_.window_bytes -= touched->bytes;
      return seen;
    });
    if (table.forgot_up_to && std::none_of(all.begin(), all.end(), [&](const auto* s) {
          return MayMiss(*s, table.forgot_up_to);
        })) {
      table.forgot_up_to.reset();
    }
  }

  static bool MayMiss(const TxidSnapshot& snapshot, std::optional<Xid> up_to) {
    return up_to && snapshot.xmin() <= snapshot.Widen(*up_to);
  }

  // Deciding.

  void Reject(Chunk& chunk) {
    if (chunk.rejected) return;
    chunk.rejected = true;
    ++counters_.rejected;
    Clear(chunk);
  }

  void Clear(Chunk& chunk) {
    chunk.rests.clear();
    chunk.moved.clear();
    counters_.window_bytes -= std::exchange(chunk.bytes, 0);
  }

  /// Works in what was observed since the last time.
  void CatchUp(Chunk& chunk) {
    const Table& table = tables_.at(chunk.table);
    if (MayMiss(*chunk.sees, table.forgot_up_to)) return Reject(chunk);
    auto touched = std::lower_bound(table.touched.begin(), table.touched.end(), chunk.next,
                                    [](const auto& t, int64_t next) { return t->serial < next; });
    for (; touched != table.touched.end(); ++touched) {
      chunk.next = (*touched)->serial + 1;
      if (chunk.sees->Sees((*touched)->xid)) continue;
      if ((*touched)->everything) return Reject(chunk);
      Apply(**touched, chunk);
      if (counters_.window_bytes > window_bytes_ + kMarksBytes) return Reject(chunk);
    }
  }

  void Apply(const Touched& touched, Chunk& chunk) {
    const auto known = std::find(chunk.schemas.begin(), chunk.schemas.end(), touched.schema);
    if (known == chunk.schemas.end()) chunk.schemas.push_back(touched.schema);
    for (const Touch& touch : touched.touches) {
      if (chunk.truncated) return;
      const std::string_view key = touched.KeyOf(touch);
      switch (touch.kind) {
        case Touch::Kind::kTruncates:
          chunk.truncated = true;
          Clear(chunk);
          break;
        case Touch::Kind::kReplaces:
          RestOf(chunk, key) = {};
          break;
        case Touch::Kind::kLeaves:
          Narrow(RestOf(chunk, key), touch.left);
          break;
        case Touch::Kind::kMoves: {
          Rest rest = std::exchange(RestOf(chunk, key), Rest());
          Narrow(rest, touch.left);
          const std::string_view new_key = touched.NewKeyOf(touch);
          if (rest.was) Move(chunk, *rest.was, new_key);
          RestOf(chunk, new_key) = std::move(rest);
          break;
        }
      }
    }
  }

  Rest& RestOf(Chunk& chunk, std::string_view key) {
    const auto [found, is_new] = chunk.rests.try_emplace(key, Rest{.was = key, .left = nullptr});
    if (is_new) Account(chunk);
    return found->second;
  }

  void Move(Chunk& chunk, std::string_view was, std::string_view now) {
    if (chunk.moved.insert_or_assign(was, now).second) Account(chunk);
  }

  void Account(Chunk& chunk) {
    chunk.bytes += kNodeBytes;
    counters_.window_bytes += kNodeBytes;
  }

  static void Narrow(Rest& rest, const ColumnSet& left) {
    if (!rest.was) return;
    if (left != nullptr) rest.left = rest.left == nullptr ? left : Intersection(rest.left, left);
    if (left == nullptr || rest.left->empty()) rest = {};
  }

  Placement PlaceTouched(const Chunk& chunk, TableChanges rows) {
    const RowKeyReader keys(rows);
    std::vector<PatchedRow> wanted;
    wanted.reserve(static_cast<size_t>(rows.num_rows()));
    std::string key;
    int64_t patched = 0;
    for (int64_t row = 0; row < rows.num_rows(); ++row) {
      key.clear();
      CHECK(keys.Append(row, std::nullopt, key));
      const auto moved = chunk.moved.find(key);
      const std::string_view now = moved == chunk.moved.end() ? key : moved->second;
      const auto rest = chunk.rests.find(now);
      if (rest == chunk.rests.end()) {
        wanted.push_back({.row = row});
      } else if (rest->second.was == key) {
        ++patched;
        wanted.push_back({.row = row,
                          .only = rest->second.left.get(),
                          .new_key = now == key ? std::string_view() : now});
      }
    }
    counters_.patched += patched;
    counters_.dropped += rows.num_rows() - std::ssize(wanted);
    if (wanted.empty()) return {.outcome = Placement::Outcome::kNothing, .rows = {}};
    if (patched > 0 || std::ssize(wanted) < rows.num_rows()) rows = Patch(rows, wanted);
    return {.outcome = Placement::Outcome::kPlaced, .rows = std::move(rows)};
  }

  const int64_t window_bytes_;
  std::map<TableId, Table> tables_;  ///< the watched ones
  std::set<TableId> remembering_;    ///< those of them that have anything to forget
  std::map<ChunkId, Chunk> chunks_;
  std::optional<TxidSnapshot> newest_;
  std::optional<TxidSnapshot> learned_;  ///< last, by all tables
  bool half_observed_ = false;
  int64_t last_serial_ = 0;
  int64_t last_chunk_ = 0;
  Counters counters_;
};

ChunkJoin::ChunkJoin(int64_t window_bytes) : impl_(std::make_unique<Impl>(window_bytes)) {}
ChunkJoin::~ChunkJoin() = default;

void ChunkJoin::Watch(TableId table, const TxidSnapshot& now, uint64_t next_xid) {
  impl_->Watch(table, now, next_xid);
}
void ChunkJoin::Unwatch(TableId table) { impl_->Unwatch(table); }
std::vector<uint64_t> ChunkJoin::WaitsFor(TableId table) const { return impl_->WaitsFor(table); }
void ChunkJoin::Learn(const TxidSnapshot& snapshot) { impl_->Learn(snapshot); }
void ChunkJoin::Observe(const change::ChangeBatch& batch) { impl_->Observe(batch); }
void ChunkJoin::Emptied(TableId table) { impl_->Emptied(table); }
ChunkId ChunkJoin::Reserve(TableId table) { return impl_->Reserve(table); }
void ChunkJoin::Open(ChunkId chunk, const TxidSnapshot& snapshot) { impl_->Open(chunk, snapshot); }
Placement ChunkJoin::Place(ChunkId chunk, TableChanges rows) {
  return impl_->Place(chunk, std::move(rows));
}
void ChunkJoin::Close(ChunkId chunk) { impl_->Close(chunk); }
bool ChunkJoin::saw_unchanged(TableId table) const { return impl_->saw_unchanged(table); }
const ChunkJoin::Counters& ChunkJoin::counters() const { return impl_->counters(); }

}  // namespace freshet::postgres
