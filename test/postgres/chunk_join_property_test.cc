#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres/chunk_join.h"
#include "postgres/row_patch.h"
#include "support/batches.h"
#include "support/simulated_source.h"

namespace freshet::postgres {
namespace {

using change::ChangeKind;
using test::Contents;
using test::Dice;
using test::SimulatedSource;
using test::Values;
using Outcome = Placement::Outcome;

/// A part of the rule that a run leaves out.
enum class Flaw {
  kNone,
  kComparesWalPositions,  ///< a chunk is taken to see what was in the WAL when it was read
  kForgetsPatches,        ///< rows that the stream gave in part are dropped
  kLeavesOutTheSweep,
  kPlacesBeforeTheStreamIsThere,
  kReservesLate,     ///< only when the snapshot is known
  kDoesNotWait,      ///< for transactions that ran when the table was watched
  kIgnoresEmptying,  ///< of the target, in the middle of the stream
};

/// A table as a sink that goes by key would have it. A value it was never given is nullopt.
class Target {
 public:
  using Row = std::vector<std::optional<std::string>>;

  void Clear() { rows_.clear(); }

  void Apply(const change::ChangeBatch& batch) {
    for (const change::TableChanges& changes : batch.tables) Apply(changes);
  }

  void Apply(const change::TableChanges& changes) {
    std::optional<Row> old_row;
    for (int64_t r = 0; r < changes.num_rows(); ++r) {
      const std::string key = test::ValueText(*changes.rows->column(0), r);
      switch (changes.kinds[static_cast<size_t>(r)]) {
        case ChangeKind::kTruncate:
          rows_.clear();
          break;
        case ChangeKind::kDelete:
          rows_.erase(key);
          break;
        case ChangeKind::kUpdatePreimage:
          old_row = Take(key);
          break;
        default:
          const Row before = old_row ? *std::exchange(old_row, std::nullopt) : Take(key);
          rows_[key] = Filled(changes, r, before);
      }
    }
  }

  /// What is wrong with a row, given what the source has; empty if nothing is. Before the snapshot
  /// is `finished`, rows and values may be missing.
  std::string Difference(const Contents& source, bool finished) const {
    for (const auto& [key, row] : rows_) {
      const auto found = source.find(key);
      if (found == source.end()) return fmt::format("row {} is not in the source", key);
      Values wanted = found->second;
      Row given = row;
      const size_t width = std::max(wanted.size(), given.size());
      wanted.resize(width, "NULL");
      given.resize(width, "NULL");
      for (size_t c = 0; c < width; ++c) {
        if (!given[c] && !finished) continue;
        if (given[c] != wanted[c]) {
          return fmt::format("row {} has '{}' in column {}, the source '{}'", key,
                             given[c].value_or("nothing"), c, wanted[c]);
        }
      }
    }
    if (!finished) return "";
    for (const auto& [key, row] : source) {
      if (!rows_.contains(key)) return fmt::format("row {} is not in the target", key);
    }
    return "";
  }

 private:
  Row Take(const std::string& key) {
    const auto found = rows_.find(key);
    return found == rows_.end() ? Row() : found->second;
  }

  /// The row as given, with unchanged values from `before`. Removes the row `before` is.
  Row Filled(const change::TableChanges& changes, int64_t r, const Row& before) {
    Row row;
    for (int c = 0; c < changes.rows->num_columns(); ++c) {
      row.push_back(test::ValueText(*changes.rows->column(c), r));
    }
    for (const change::UnchangedRows& marks : changes.unchanged) {
      if (!std::binary_search(marks.rows.begin(), marks.rows.end(), r)) continue;
      const auto column = static_cast<size_t>(marks.column);
      row[column] = column < before.size() ? before[column] : std::nullopt;
    }
    if (!before.empty() && before[0] != row[0]) rows_.erase(*before[0]);
    return row;
  }

  std::map<std::string, Row> rows_;
};

/// One source, one snapshot of its table in chunks, one target.
class Simulation {
 public:
  Simulation(uint64_t seed, Flaw flaw)
      : dice_(seed),
        flaw_(flaw),
        source_(dice_, dice_.OneIn(4) ? change::ReplicaIdentity::kFull
                                      : change::ReplicaIdentity::kDefault),
        by_key_(dice_.OneIn(3)),
        empties_(dice_.OneIn(3)),
        waits_(!dice_.OneIn(4)),
        join_(dice_.OneIn(4) ? 3000 : 1 << 20) {}

  /// Empty, or what was wrong first.
  std::string Go() {
    constexpr int kMostTurns = 50'000;
    Begin();
    int turns = 0;
    while (!finished_ && wrong_.empty()) {
      if (++turns > kMostTurns) return "the snapshot does not come to an end";
      if (turns > 400) source_.Quiesce();
      Turn(turns);
    }
    join_.Unwatch(source_.table());
    for (int i = 0; i < 50; ++i) source_.Step();
    source_.Quiesce();
    while (emitted_ < source_.wal_end() && wrong_.empty()) Emit();
    return wrong_;
  }

  const ChunkJoin::Counters& counters() const { return join_.counters(); }
  size_t commits() const { return emitted_; }

 private:
  struct Chunk {
    size_t range = 0;
    ChunkId id;
    bool reserved = false;
    bool read = false;
    bool open = false;
    std::optional<TxidSnapshot> snapshot;
    size_t wal_end = 0;  ///< after the snapshot was taken
    std::shared_ptr<const change::TableSchema> schema;
    std::vector<Values> rows;
    size_t placed = 0;
  };

  /// The slot is made and the table is watched, while transactions run.
  void Begin() {
    for (int i = 0; i < 60; ++i) source_.Step();
    emitted_ = source_.wal_end();
    contents_ = source_.first_rows();
    for (size_t i = 0; i < emitted_; ++i) source_.Apply(i, contents_);
    join_.Watch(source_.table(),
                flaw_ == Flaw::kDoesNotWait ? source_.SnapshotByWal() : source_.Snapshot());
    begun_xid_ = source_.Snapshot().xmin();
    ready_ = !empties_;
    for (size_t i = 0; i < kRanges; ++i) todo_.push_back(i);
  }

  void Turn(int turns) {
    switch (dice_.Below(8)) {
      case 0:
      case 1:
      case 2:
        for (int i = 0; i < 3 && turns < 400; ++i) source_.Step();
        return;
      case 3:
        if (emitted_ < source_.wal_end()) Emit();
        return;
      case 4:
        return BeginChunk();
      default:
        if (!chunks_.empty()) Work(chunks_[dice_.Below(chunks_.size())]);
        std::erase_if(chunks_, [](const Chunk& chunk) { return !chunk.reserved; });
        if (todo_.empty() && chunks_.empty()) FinishRanges();
    }
  }

  void Emit() {
    if (dice_.OneIn(3)) {
      for (const auto& part : source_.Parts(emitted_)) {
        join_.Observe(*part);
        target_.Apply(*part);
      }
      source_.Apply(emitted_++, contents_);
    } else {
      const size_t count = 1 + dice_.Below(std::min<size_t>(3, source_.wal_end() - emitted_));
      const auto batch = source_.Commits(emitted_, count);
      join_.Observe(*batch);
      target_.Apply(*batch);
      for (size_t i = 0; i < count; ++i) source_.Apply(emitted_++, contents_);
    }
    Compare("behind a commit");
  }

  void Compare(std::string_view where) {
    if (!wrong_.empty() || !ready_) return;
    wrong_ = target_.Difference(contents_, finished_);
    if (!wrong_.empty()) wrong_ += fmt::format(" {} ({} commits)", where, emitted_);
  }

  void BeginChunk() {
    if (!ready_) {
      if (!dice_.OneIn(10)) return;
      ready_ = true;
      target_.Clear();
      if (flaw_ != Flaw::kIgnoresEmptying) join_.Emptied(source_.table());
    }
    if (waits_ && !join_.WaitsFor(source_.table()).empty()) {
      join_.Learn(source_.Snapshot());
      return;
    }
    if (todo_.empty() || chunks_.size() >= 3) return;
    const size_t at = dice_.Below(todo_.size());
    Chunk chunk;
    chunk.range = todo_[at];
    chunk.reserved = true;
    if (flaw_ != Flaw::kReservesLate) chunk.id = join_.Reserve(source_.table());
    todo_.erase(todo_.begin() + static_cast<int64_t>(at));
    chunks_.push_back(std::move(chunk));
  }

  /// The next thing that happens to a chunk.
  void Work(Chunk& chunk) {
    if (!chunk.read) {
      if (source_.CanRead()) Read(chunk);
    } else if (!chunk.open) {
      if (flaw_ == Flaw::kReservesLate) chunk.id = join_.Reserve(source_.table());
      join_.Open(chunk.id, *chunk.snapshot);
      chunk.open = true;
    } else if (dice_.OneIn(30)) {
      End(chunk, false);  // its session broke
    } else if (emitted_ >= chunk.wal_end || flaw_ == Flaw::kPlacesBeforeTheStreamIsThere) {
      Place(chunk);
    }
  }

  void Read(Chunk& chunk) {
    chunk.read = true;
    chunk.snapshot = source_.Snapshot();
    chunk.wal_end = source_.wal_end();
    chunk.schema = source_.schema();
    for (const auto& row : source_.Read(*chunk.snapshot)) {
      if (InRange(row, chunk.range)) chunk.rows.push_back(row.values);
    }
    if (flaw_ == Flaw::kComparesWalPositions) chunk.snapshot = source_.SnapshotByWal();
  }

  bool InRange(const SimulatedSource::FoundRow& row, size_t range) const {
    if (range == kSweep) return row.xmin >= begun_xid_;
    if (by_key_) return std::stoul(row.values[0]) % kRanges == range;
    return static_cast<size_t>(row.block) == range;
  }

  void Place(Chunk& chunk) {
    const size_t count = std::min(chunk.rows.size() - chunk.placed, 1 + dice_.Below(4));
    test::BatchBuilder builder;
    builder.Begin(1'000'000, change::TransactionKind::kSnapshot);
    for (size_t i = 0; i < count; ++i) {
      test::Row row;
      for (const std::string& value : chunk.rows[chunk.placed + i]) {
        row.push_back(value == "NULL" ? test::Null() : test::Cell(value));
      }
      builder.Snapshot(chunk.schema, std::move(row));
    }
    chunk.placed += count;
    change::TableChanges rows = count > 0 ? builder.Build()->tables.at(0) : Empty(chunk.schema);
    Placement placement = join_.Place(chunk.id, std::move(rows));
    if (placement.outcome == Outcome::kRejected) return End(chunk, false);
    if (placement.outcome == Outcome::kPlaced) Emit(std::move(placement.rows));
    if (chunk.placed == chunk.rows.size()) End(chunk, true);
  }

  static change::TableChanges Empty(const std::shared_ptr<const change::TableSchema>& schema) {
    change::TableChanges none;
    none.schema = schema;
    none.rows = test::MakeRows(*schema, {});
    return none;
  }

  void Emit(change::TableChanges rows) {
    target_.Apply(flaw_ == Flaw::kForgetsPatches ? WithoutPatches(std::move(rows)) : rows);
    Compare("behind a piece of a chunk");
  }

  static change::TableChanges WithoutPatches(change::TableChanges rows) {
    std::vector<PatchedRow> whole;
    for (int64_t r = 0; r < rows.num_rows(); ++r) {
      const bool patched = std::any_of(
          rows.unchanged.begin(), rows.unchanged.end(), [&](const change::UnchangedRows& marks) {
            return std::binary_search(marks.rows.begin(), marks.rows.end(), r);
          });
      if (!patched) whole.push_back({.row = r});
    }
    rows.unchanged.clear();
    return Patch(rows, whole);
  }

  void End(Chunk& chunk, bool done) {
    join_.Close(chunk.id);
    if (!done) todo_.push_back(chunk.range);
    chunk.reserved = false;
  }

  void FinishRanges() {
    const bool sweeps = !swept_ && join_.saw_unchanged(source_.table());
    if (sweeps && flaw_ != Flaw::kLeavesOutTheSweep) {
      swept_ = true;
      todo_.push_back(kSweep);
      return;
    }
    finished_ = true;
    Compare("at the snapshot's end");
  }

  static constexpr size_t kRanges = SimulatedSource::kBlocks;
  static constexpr size_t kSweep = kRanges;

  Dice dice_;
  const Flaw flaw_;
  SimulatedSource source_;
  const bool by_key_;
  const bool empties_;
  const bool waits_;
  ChunkJoin join_;
  Target target_;
  Contents contents_;   ///< the source's at `emitted_`
  size_t emitted_ = 0;  ///< commits
  bool ready_ = false;
  bool swept_ = false;
  bool finished_ = false;
  uint64_t begun_xid_ = 0;
  std::vector<size_t> todo_;  ///< ranges
  std::vector<Chunk> chunks_;
  std::string wrong_;
};

constexpr uint64_t kSeeds = 3000;

TEST(ChunkJoinPropertyTest, TheTargetIsTheSourceAtEveryPositionBehindTheSnapshot) {
  ChunkJoin::Counters sum;
  size_t commits = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Simulation simulation(seed, Flaw::kNone);
    ASSERT_EQ(simulation.Go(), "") << "seed " << seed;
    ASSERT_EQ(simulation.counters().window_bytes, 0) << "seed " << seed;
    sum.dropped += simulation.counters().dropped;
    sum.patched += simulation.counters().patched;
    sum.rejected += simulation.counters().rejected;
    commits += simulation.commits();
  }

  // Every run has something to decide.
  constexpr auto kRuns = static_cast<int64_t>(kSeeds);
  EXPECT_GT(sum.dropped, kRuns);
  EXPECT_GT(sum.patched, kRuns);
  EXPECT_GT(sum.rejected, kRuns);
  EXPECT_GT(commits, 10 * kSeeds);
}

/// The test above would find a rule that is wrong.
class ChunkJoinFlawTest : public testing::TestWithParam<Flaw> {};

TEST_P(ChunkJoinFlawTest, IsFound) {
  uint64_t seed = 1;
  std::string wrong;
  while (seed <= kSeeds && wrong.empty()) wrong = Simulation(seed++, GetParam()).Go();

  EXPECT_NE(wrong, "");
  RecordProperty("found", fmt::format("seed {}: {}", seed - 1, wrong));
}

INSTANTIATE_TEST_SUITE_P(All, ChunkJoinFlawTest,
                         testing::Values(Flaw::kComparesWalPositions, Flaw::kForgetsPatches,
                                         Flaw::kLeavesOutTheSweep,
                                         Flaw::kPlacesBeforeTheStreamIsThere, Flaw::kReservesLate,
                                         Flaw::kDoesNotWait, Flaw::kIgnoresEmptying));

}  // namespace
}  // namespace freshet::postgres
