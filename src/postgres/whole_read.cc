#include "postgres/whole_read.h"

#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "postgres/copy_text.h"

namespace freshet::postgres {

using change::ChangeBatch;
using change::Lsn;
using change::Position;
using change::SnapshotStep;

WholeRead::WholeRead(const Options& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      held_(LocalFileSystem(), {.folder = options.spool_folder,
                                .memory_bytes = options.snapshot_window.bytes,
                                .budget_bytes = options.spool_budget.bytes}) {}

void WholeRead::Start(const ChosenTable& table) {
  CHECK(state_ == State::kIdle);
  table_ = table.table.id;
  done_ = {};
  held_.Note(table.table.id);
  reader_ = std::make_unique<CutReader>(options_, table);
  state_ = State::kCutting;
}

std::shared_ptr<const ChangeBatch> WholeRead::Pass(std::shared_ptr<const ChangeBatch> batch) {
  auto passed = held_.Pass(batch);
  if (passed.has_value()) return *std::move(passed);
  // From here on the table's changes pass: its rows are read anew, behind them.
  held_.Stop();
  held_failed_ = std::move(passed).error();
  return batch;
}

Status WholeRead::BreakOff(Error error) {
  reader_.reset();
  held_.ForgetNoted();
  state_ = State::kReleasing;
  if (!held_.holds() || held_.empty()) {
    held_.Stop();
    state_ = State::kIdle;
    table_.reset();
  }
  return Fail(std::move(error));
}

Status WholeRead::Work() {
  if (held_failed_.has_value()) return BreakOff(*std::exchange(held_failed_, std::nullopt));
  if (state_ != State::kCutting) return {};
  auto cut = reader_->cut();
  if (!cut.has_value()) return BreakOff(std::move(cut).error());
  if (!cut->has_value()) return {};
  cut_ = **std::move(cut);
  if (Status held = held_.Hold(cut_.lsn); !held.has_value()) {
    held_.Stop();
    return BreakOff(std::move(held).error());
  }
  state_ = State::kCut;
  return {};
}

std::optional<Lsn> WholeRead::awaits() const {
  switch (state_) {
    case State::kIdle:
    case State::kCutting:
      return std::nullopt;
    case State::kCut:
      return cut_.lsn;
    case State::kReading:
    case State::kFollowing:
    case State::kReleasing:
      return Lsn{};
  }
  return std::nullopt;
}

Result<WholeRead::Placed> WholeRead::Next(const Position& behind, Lsn passed) {
  auto placed = NextOf(behind, passed);
  if (placed.has_value()) return placed;
  const Status broken = BreakOff(std::move(placed).error());
  return Fail(broken.error());
}

Result<WholeRead::Placed> WholeRead::NextOf(const Position& behind, Lsn passed) {
  Placed out;
  if (state_ == State::kCut && passed >= cut_.lsn) {
    out.batch = NewBatch(behind);
    // Targets learn of a table without rows, too.
    FRESHET_TRY(change::TableChanges none, CopyTextReader(cut_.schema).Finish(0));
    out.batch->tables.push_back(std::move(none));
    out.batch->snapshots.push_back(
        {.step = SnapshotStep::kBegun, .table = *table_, .replaces = true});
    out.began = true;
    state_ = State::kReading;
    return out;
  }
  if (state_ == State::kReading) {
    const bool finished = reader_->finished();
    FRESHET_TRY(auto rows, reader_->Next());
    if (rows.has_value()) {
      if (rows->num_rows() == 0) return out;
      out.batch = NewBatch(behind);
      out.rows = rows->num_rows();
      out.batch->tables.push_back(*std::move(rows));
      return out;
    }
    if (!finished) return out;
    state_ = State::kFollowing;
  }
  if (state_ != State::kFollowing && state_ != State::kReleasing) return out;
  auto changes = held_.Take(behind);
  if (!changes.has_value()) {
    held_.Stop();
    return Fail(std::move(changes).error());
  }
  if (*changes != nullptr) {
    out.batch = std::make_shared<ChangeBatch>(**changes);
    return out;
  }
  held_.Stop();
  if (state_ == State::kFollowing) {
    out.batch = NewBatch(behind);
    out.ends = true;
    done_ = reader_->progress();
  }
  reader_.reset();
  state_ = State::kIdle;
  table_.reset();
  return out;
}

std::shared_ptr<ChangeBatch> WholeRead::NewBatch(const Position& behind) const {
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

SnapshotTable WholeRead::progress() const {
  SnapshotTable out = done_;
  if (reader_ != nullptr) {
    out = reader_->progress();
    out.waits_for = reader_->waits_for();
  }
  if (state_ == State::kFollowing) {
    out.waits_for = fmt::format("its changes made meanwhile are placed, {} bytes", held_.bytes());
  }
  return out;
}

}  // namespace freshet::postgres
