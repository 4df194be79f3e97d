#include "support/memory_output.h"

#include <arrow/record_batch.h>

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "support/batches.h"

namespace freshet::test {

using change::ChangeBatch;

namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPollInterval{2};

}  // namespace

std::vector<std::string> EventsOf(const ChangeBatch& batch) {
  std::vector<std::tuple<int32_t, int64_t, std::string>> lines;
  for (const change::TableChanges& table : batch.tables) {
    std::vector<std::string> rows = RowTexts(*table.rows);
    for (const change::UnchangedRows& unchanged : table.unchanged) {
      const auto column = static_cast<size_t>(unchanged.column);
      for (const int64_t row : unchanged.rows) {
        rows[static_cast<size_t>(row)] +=
            " (unchanged " + table.schema->columns()[column].name + ")";
      }
    }
    for (const change::ValueException& exception : table.exceptions) {
      const auto column = static_cast<size_t>(exception.column);
      rows[static_cast<size_t>(exception.row)] +=
          " (" + table.schema->columns()[column].name + " = " + exception.text + ")";
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      std::string line = std::string(change::ChangeKindName(table.kinds[i])) + " " +
                         change::ToString(table.schema->name());
      if (table.kinds[i] != change::ChangeKind::kTruncate) line += " " + rows[i];
      lines.emplace_back(table.transactions[i], table.ordinals[i], std::move(line));
    }
  }
  for (const change::LogicalMessage& message : batch.messages) {
    lines.emplace_back(message.transaction, message.ordinal,
                       "message " + message.prefix + " " + message.content +
                           (message.transactional ? "" : " (at once)"));
  }
  std::sort(lines.begin(), lines.end());
  std::vector<std::string> out;
  for (auto& [transaction, ordinal, line] : lines) out.push_back(std::move(line));
  return out;
}

Status MemoryOutput::SourceKnown(const change::SourceIdentity& source) {
  if (on_source_) on_source_(source);
  const std::lock_guard lock(mutex_);
  source_ = source;
  return {};
}

Result<bool> MemoryOutput::Offer(const std::shared_ptr<const ChangeBatch>& batch,
                                 std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return room_ > 0; });
  if (room_ == 0) {
    ++refused_;
    return false;
  }
  change::CheckInvariants(*batch);
  CHECK(source_.has_value());
  const change::Transaction& first = batch->transactions.front();
  CHECK(first.begins == !open_.has_value());
  CHECK(!first.ends || PositionBehind(first) > appended_);
  --room_;
  batches_.push_back(batch);
  Rebuild();
  if (durable_at_once_) {
    durable_batches_ = batches_.size();
    durable_ = appended_;
  }
  events_ += EventsOf(*batch).size();
  changed_.notify_all();
  return true;
}

/// Works out the end from the last batch.
void MemoryOutput::Rebuild() {
  const change::Transaction& last = batches_.back()->transactions.back();
  if (last.ends) {
    appended_ = PositionBehind(last);
    open_.reset();
    return;
  }
  if (last.begins) appended_.ordinal = 0;  // from now on it counts the open one's changes
  for (const change::TableChanges& table : batches_.back()->tables) {
    if (!table.ordinals.empty()) {
      appended_.ordinal = std::max(appended_.ordinal, table.ordinals.back() + 1);
    }
  }
  open_ = last;
}

change::Position MemoryOutput::Durable() const {
  const std::lock_guard lock(mutex_);
  return {durable_.commit_end, 0};
}

void MemoryOutput::SetRoom(bool room) {
  const std::lock_guard lock(mutex_);
  room_ = room ? std::numeric_limits<int64_t>::max() : 0;
  changed_.notify_all();
}

void MemoryOutput::SetRoomForBatches(int64_t batches) {
  const std::lock_guard lock(mutex_);
  room_ = batches;
}

void MemoryOutput::PretendToHave(change::Lsn end) {
  const std::lock_guard lock(mutex_);
  appended_ = durable_ = {end, 0};
}

void MemoryOutput::SetDurableAtOnce(bool at_once) {
  const std::lock_guard lock(mutex_);
  durable_at_once_ = at_once;
}

void MemoryOutput::MakeDurable() {
  const std::lock_guard lock(mutex_);
  durable_batches_ = batches_.size();
  durable_ = appended_;
}

postgres::ResumePoint MemoryOutput::resume() const {
  const std::lock_guard lock(mutex_);
  std::vector<change::TableId> tables;
  for (const auto& batch : batches_) {
    for (const change::TableChanges& table : batch->tables) tables.push_back(table.schema->id());
  }
  change::SnapshotLedger snapshots;
  for (const auto& batch : batches_) {
    for (const change::SnapshotProgress& step : batch->snapshots) snapshots.Apply(step);
  }
  return {.source = source_,
          .appended = appended_,
          .tables = std::move(tables),
          .snapshots = std::move(snapshots),
          .open = open_};
}

void MemoryOutput::LoseWhatIsNotDurable() {
  const std::lock_guard lock(mutex_);
  batches_.resize(durable_batches_);
  while (!batches_.empty() && !batches_.back()->transactions.back().ends) batches_.pop_back();
  appended_ = {};
  open_.reset();
  if (!batches_.empty()) Rebuild();
  durable_ = appended_;
  durable_batches_ = batches_.size();
  events_ = 0;
  for (const auto& batch : batches_) events_ += EventsOf(*batch).size();
}

bool MemoryOutput::WaitUntil(const std::function<bool()>& reached) {
  const auto deadline = SystemClock().Monotonic() + kPatience;
  while (!reached()) {
    if (SystemClock().Monotonic() > deadline) return false;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPollInterval);
  }
  return true;
}

bool MemoryOutput::WaitForEvents(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return events_ >= count; });
}

std::vector<std::string> MemoryOutput::Events() const {
  std::vector<std::string> out;
  for (const auto& batch : batches()) {
    for (std::string& line : EventsOf(*batch)) out.push_back(std::move(line));
  }
  return out;
}

std::vector<std::shared_ptr<const ChangeBatch>> MemoryOutput::batches() const {
  const std::lock_guard lock(mutex_);
  return batches_;
}

std::vector<change::Transaction> MemoryOutput::transactions() const {
  std::vector<change::Transaction> out;
  for (const auto& batch : batches()) {
    out.insert(out.end(), batch->transactions.begin(), batch->transactions.end());
  }
  return out;
}

std::optional<change::SourceIdentity> MemoryOutput::source() const {
  const std::lock_guard lock(mutex_);
  return source_;
}

int64_t MemoryOutput::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

RunningCapture::RunningCapture(const postgres::Options& options, MemoryOutput& output,
                               const Clock& clock)
    : capture_(postgres::Capture::Create(options, clock)),
      thread_([this, &output](std::stop_token stop) {
        Status result = capture_->Run(output.resume(), output, stop);
        const std::lock_guard lock(mutex_);
        result_ = std::move(result);
        ended_.notify_all();
      }) {}

RunningCapture::~RunningCapture() = default;

bool RunningCapture::WaitForState(postgres::CaptureState state) {
  const auto deadline = SystemClock().Monotonic() + kPatience;
  std::unique_lock lock(mutex_);
  while (status().state != state) {
    if (result_.has_value() || SystemClock().Monotonic() > deadline) return false;
    ended_.wait_for(lock, kPollInterval);
  }
  return true;
}

bool RunningCapture::ended() const {
  const std::lock_guard lock(mutex_);
  return result_.has_value();
}

std::optional<Status> RunningCapture::WaitEnd() {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, kPatience, [&] { return result_.has_value(); });
  return result_;
}

Status RunningCapture::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  return *result_;
}

}  // namespace freshet::test
