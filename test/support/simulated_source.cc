#include "support/simulated_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace freshet::test {
namespace {

using change::LogicalKind;
using postgres::TxidSnapshot;

constexpr size_t kKeys = 40;
constexpr size_t kFirstRows = 15;
constexpr size_t kFirstToastable = 2;  ///< column

/// So that some runs pass the end of the 32-bit ids.
constexpr uint64_t kXidsPerEpoch = uint64_t{1} << 32;

constexpr uint64_t kLsnPerCommit = 100;

bool IsExternal(size_t column, const std::string& value) {
  return column >= kFirstToastable && value.starts_with("LARGE");
}

Row Cells(const Values& values, const std::set<size_t>& unchanged = {}) {
  Row row;
  for (size_t c = 0; c < values.size(); ++c) {
    if (unchanged.contains(c)) {
      row.push_back(Unchanged());
    } else {
      row.push_back(values[c] == "NULL" ? Null() : Cell(values[c]));
    }
  }
  return row;
}

}  // namespace

SimulatedSource::SimulatedSource(Dice& dice, change::ReplicaIdentity identity)
    : dice_(dice),
      full_(identity == change::ReplicaIdentity::kFull),
      next_xid_(dice.OneIn(2) ? 700 : kXidsPerEpoch - 20),
      sessions_(kSessions) {
  std::vector<change::Column> columns = {
      MakeColumn("id", LogicalKind::kInt64, true), MakeColumn("title", LogicalKind::kText),
      MakeColumn("body", LogicalKind::kText), MakeColumn("notes", LogicalKind::kText)};
  schemas_.push_back(MakeSchema({"public", "docs"}, columns, identity));
  columns.push_back(MakeColumn("extra", LogicalKind::kText));
  schemas_.push_back(MakeSchema({"public", "docs"}, columns, identity));

  Session loader;
  loader.xid = next_xid_++;
  while (current_.size() < kFirstRows) Insert(loader);
  for (const Operation& operation : loader.operations) {
    first_rows_[operation.after[0]] = operation.after;
  }
}

void SimulatedSource::Step() {
  Session& session = sessions_[dice_.Below(kSessions)];
  if (session.xid == 0) {
    if (dice_.OneIn(40)) return AddColumn();
    session.xid = next_xid_++;
    session.state = State::kRunning;
    return;
  }
  if (session.state == State::kCommitting) {
    if (dice_.OneIn(12)) End(session);
    return;
  }
  if (session.prepared && !dice_.OneIn(8)) return;
  switch (dice_.Below(20)) {
    case 0:
      Undo(session, 0);
      return End(session);
    case 1:
    case 2:
    case 3:
      return Commit(session);
    case 4:
      session.prepared = true;
      return;
    case 5:
      session.savepoints.push_back(session.operations.size());
      return;
    case 6:
      if (session.savepoints.empty() || session.prepared) return;
      Undo(session, session.savepoints.back());
      session.savepoints.pop_back();
      return;
    default:
      if (!session.prepared) Write(session);
  }
}

void SimulatedSource::Quiesce() {
  for (Session& session : sessions_) {
    if (session.xid == 0) continue;
    if (session.state == State::kRunning) Commit(session);
    if (session.xid != 0) End(session);
  }
}

TxidSnapshot SimulatedSource::Snapshot() const {
  std::vector<uint64_t> running;
  for (const Session& session : sessions_) {
    if (session.xid != 0) running.push_back(session.xid);
  }
  std::sort(running.begin(), running.end());
  return TxidSnapshot::Parse(fmt::format("{}:{}:{}", running.empty() ? next_xid_ : running.front(),
                                         next_xid_, fmt::join(running, ",")))
      .value();
}

TxidSnapshot SimulatedSource::SnapshotByWal() const {
  std::vector<uint64_t> running;
  for (const Session& session : sessions_) {
    if (session.xid != 0 && session.state == State::kRunning) running.push_back(session.xid);
  }
  std::sort(running.begin(), running.end());
  return TxidSnapshot::Parse(fmt::format("{}:{}:{}", running.empty() ? next_xid_ : running.front(),
                                         next_xid_, fmt::join(running, ",")))
      .value();
}

std::vector<SimulatedSource::FoundRow> SimulatedSource::Read(const TxidSnapshot& snapshot) const {
  std::vector<FoundRow> rows;
  for (const Version& version : heap_) {
    if (version.undone || !snapshot.Sees(version.xmin)) continue;
    if (version.xmax != 0 && snapshot.Sees(version.xmax)) continue;
    rows.push_back({.values = version.values, .block = version.block, .xmin = version.xmin});
  }
  return rows;
}

void SimulatedSource::AddTo(BatchBuilder& builder, const Operation& operation) const {
  const auto& schema = schemas_[operation.shape];
  const auto old_row = [&] {
    return full_ ? Cells(operation.before) : KeyOnly(*schema, Cells(operation.before));
  };
  switch (operation.what) {
    case What::kInsert:
      builder.Insert(schema, Cells(operation.after));
      return;
    case What::kDelete:
      builder.Delete(schema, old_row());
      return;
    case What::kTruncate:
      builder.Truncate({schema});
      return;
    case What::kUpdate:
      if (full_ || operation.before[0] != operation.after[0]) {
        builder.Update(schema, old_row(), Cells(operation.after, operation.unchanged));
      } else {
        builder.Update(schema, Cells(operation.after, operation.unchanged));
      }
      return;
  }
}

std::shared_ptr<const change::ChangeBatch> SimulatedSource::Commits(size_t index,
                                                                    size_t count) const {
  BatchBuilder builder;
  for (size_t i = index; i < index + count; ++i) {
    builder.Begin((i + 1) * kLsnPerCommit);
    for (const Operation& operation : wal_[i].operations) AddTo(builder, operation);
  }
  auto batch = std::make_shared<change::ChangeBatch>(*builder.Build());
  for (size_t i = 0; i < count; ++i) {
    batch->transactions[i].xid = {static_cast<uint32_t>(wal_[index + i].xid)};
  }
  return batch;
}

std::vector<std::shared_ptr<const change::ChangeBatch>> SimulatedSource::Parts(size_t index) const {
  std::vector<std::shared_ptr<const change::ChangeBatch>> parts;
  const auto& operations = wal_[index].operations;
  int64_t ordinal = 0;
  for (size_t i = 0; i < operations.size(); ++i) {
    BatchBuilder builder;
    builder.Part((index + 1) * kLsnPerCommit, i == 0, i + 1 == operations.size(), ordinal);
    AddTo(builder, operations[i]);
    auto batch = std::make_shared<change::ChangeBatch>(*builder.Build());
    batch->transactions[0].xid = {static_cast<uint32_t>(wal_[index].xid)};
    ordinal += batch->num_rows();
    parts.push_back(std::move(batch));
  }
  return parts;
}

void SimulatedSource::Apply(size_t index, Contents& contents) const {
  for (const Operation& operation : wal_[index].operations) {
    if (operation.what == What::kTruncate) contents.clear();
    if (!operation.before.empty()) contents.erase(operation.before[0]);
    if (!operation.after.empty()) contents[operation.after[0]] = operation.after;
  }
}

void SimulatedSource::Write(Session& session) {
  if (exclusive_ && !session.exclusive) return;
  if (dice_.OneIn(60)) return Truncate(session);
  if (current_.empty() || dice_.OneIn(4)) return Insert(session);
  auto row = current_.begin();
  std::advance(row, dice_.Below(current_.size()));
  if (!Lock(session, row->first)) return;
  if (dice_.OneIn(6)) return Delete(session, row->second);
  Update(session, row->second);
}

void SimulatedSource::Insert(Session& session) {
  const std::string key = std::to_string(dice_.Below(kKeys));
  if (!Lock(session, key) || current_.contains(key)) return;
  Values values = {key, NewText(1), NewText(2), NewText(3)};
  if (shape_ == 1) values.push_back(NewText(4));
  session.operations.push_back({.what = What::kInsert,
                                .before = {},
                                .after = values,
                                .unchanged = {},
                                .shape = shape_,
                                .made = Make(session, values),
                                .all_ended = {}});
}

void SimulatedSource::Update(Session& session, size_t version) {
  const Values before = heap_[version].values;
  Values after = before;
  if (dice_.OneIn(4)) {
    const std::string key = std::to_string(dice_.Below(kKeys));
    if (Lock(session, key) && !current_.contains(key)) after[0] = key;
  }
  std::set<size_t> unchanged;
  for (size_t c = 1; c < after.size(); ++c) {
    if (dice_.OneIn(3)) {
      after[c] = NewText(c);
    } else if (IsExternal(c, after[c])) {
      unchanged.insert(c);
    }
  }
  heap_[version].xmax = session.xid;
  current_.erase(before[0]);
  session.operations.push_back({.what = What::kUpdate,
                                .before = before,
                                .after = after,
                                .unchanged = std::move(unchanged),
                                .shape = shape_,
                                .ended = version,
                                .made = Make(session, after),
                                .all_ended = {}});
}

void SimulatedSource::Delete(Session& session, size_t version) {
  heap_[version].xmax = session.xid;
  current_.erase(heap_[version].values[0]);
  session.operations.push_back({.what = What::kDelete,
                                .before = heap_[version].values,
                                .after = {},
                                .unchanged = {},
                                .shape = shape_,
                                .ended = version,
                                .all_ended = {}});
}

void SimulatedSource::Truncate(Session& session) {
  if (!Alone(session)) return;
  exclusive_ = session.exclusive = true;
  Operation operation{.what = What::kTruncate,
                      .before = {},
                      .after = {},
                      .unchanged = {},
                      .shape = shape_,
                      .all_ended = {}};
  for (const auto& [key, version] : std::exchange(current_, {})) {
    heap_[version].xmax = session.xid;
    operation.all_ended.push_back(version);
  }
  session.operations.push_back(std::move(operation));
}

/// A transaction of its own, which no row is in.
void SimulatedSource::AddColumn() {
  if (shape_ == 1 || !Alone(Session())) return;
  shape_ = 1;
  for (Version& version : heap_) version.values.push_back("NULL");
  ++next_xid_;
}

void SimulatedSource::Undo(Session& session, size_t from) {
  while (session.operations.size() > from) {
    const Operation operation = std::move(session.operations.back());
    session.operations.pop_back();
    if (!operation.after.empty()) {
      heap_[operation.made].undone = true;
      current_.erase(operation.after[0]);
    }
    std::vector<size_t> ended = operation.all_ended;
    if (!operation.before.empty()) ended.push_back(operation.ended);
    for (const size_t version : ended) {
      heap_[version].xmax = 0;
      current_[heap_[version].values[0]] = version;
    }
  }
}

void SimulatedSource::Commit(Session& session) {
  session.state = State::kCommitting;
  if (!session.operations.empty()) {
    wal_.push_back({.xid = session.xid, .operations = std::move(session.operations)});
  }
  if (dice_.OneIn(2)) End(session);
}

void SimulatedSource::End(Session& session) {
  if (session.exclusive) exclusive_ = false;
  session = Session();
}

bool SimulatedSource::Lock(Session& session, const std::string& key) {
  for (const Session& other : sessions_) {
    if (&other != &session && other.locks.contains(key)) return false;
  }
  session.locks.insert(key);
  return true;
}

bool SimulatedSource::Alone(const Session& session) const {
  return !exclusive_ && std::all_of(sessions_.begin(), sessions_.end(), [&](const Session& other) {
    return &other == &session || other.locks.empty();
  });
}

size_t SimulatedSource::Make(Session& session, Values values) {
  current_[values[0]] = heap_.size();
  heap_.push_back({.values = std::move(values),
                   .block = static_cast<int>(dice_.Below(kBlocks)),
                   .xmin = session.xid});
  return heap_.size() - 1;
}

std::string SimulatedSource::NewText(size_t column) {
  if (dice_.OneIn(8)) return "NULL";
  const bool large = column >= kFirstToastable && !dice_.OneIn(4);
  return fmt::format("{}{}", large ? "LARGE" : "small", ++next_text_);
}

}  // namespace freshet::test
