#include "support/fake_log.h"

#include <iterator>

namespace freshet::test {

using change::Position;
using log::LogEnd;
using log::LogEntry;
using log::LogOffset;

class FakeLogReader final : public log::Reader {
 public:
  FakeLogReader(FakeLog& log, size_t next) : log_(log), next_(next) {}

  Result<std::optional<LogEntry>> Next(std::chrono::nanoseconds timeout,
                                       std::stop_token stop) override {
    std::unique_lock lock(log_.mutex_);
    log_.changed_.wait_for(lock, stop, timeout, [&] { return next_ < log_.entries_.size(); });
    if (next_ >= log_.entries_.size()) return std::optional<LogEntry>();
    return std::optional<LogEntry>(log_.entries_[next_++]);
  }

  LogOffset next() const override { return LogOffset{static_cast<int64_t>(next_)}; }

 private:
  FakeLog& log_;
  size_t next_;
};

change::SourceIdentity FakeSource() {
  return {.system_id = 7,
          .timeline = 1,
          .database = "shop",
          .database_oid = 5,
          .slot = "freshet",
          .publication = "freshet",
          .consistent_point = change::Lsn{1},
          .created_at = 1};
}

FakeLog::FakeLog(bool has_source) {
  if (has_source) source_ = FakeSource();
}

std::optional<change::SourceIdentity> FakeLog::source() const {
  const std::lock_guard lock(mutex_);
  return source_;
}

Status FakeLog::SetSource(const change::SourceIdentity& source) {
  const std::lock_guard lock(mutex_);
  source_ = source;
  return {};
}

change::SnapshotLedger FakeLog::snapshots() const {
  const std::lock_guard lock(mutex_);
  return snapshots_;
}

Result<LogEnd> FakeLog::Append(std::shared_ptr<const change::ChangeBatch> batch) {
  LogEnd end;
  {
    const std::lock_guard lock(mutex_);
    if (!append_errors_.empty()) {
      Error error = append_errors_.back();
      append_errors_.pop_back();
      return Fail(std::move(error));
    }
    Position position = entries_.empty() ? Position{} : entries_.back().end.position;
    for (const change::Transaction& t : batch->transactions) {
      if (t.ends) position = PositionBehind(t);
    }
    for (const change::SnapshotProgress& step : batch->snapshots) snapshots_.Apply(step);
    end = {LogOffset{static_cast<int64_t>(entries_.size()) + 1}, position};
    entries_.push_back({std::move(batch), end});
  }
  changed_.notify_all();
  return end;
}

Result<LogEnd> FakeLog::Sync() {
  const std::lock_guard lock(mutex_);
  durable_ = entries_.size();
  return entries_.empty() ? LogEnd{} : entries_.back().end;
}

Status FakeLog::Retain(LogOffset needed) {
  const std::lock_guard lock(mutex_);
  retained_ = needed;
  if (pause_until_.has_value() && needed >= *pause_until_) pause_until_.reset();
  return {};
}

bool FakeLog::ShouldPause() const {
  const std::lock_guard lock(mutex_);
  return pause_until_.has_value();
}

Result<std::unique_ptr<log::Reader>> FakeLog::NewReader(const Position& position) {
  const std::lock_guard lock(mutex_);
  // A part of an open transaction carries the position before it: only ended transactions count.
  size_t first = 0;
  for (size_t i = 0; i < entries_.size() && entries_[i].end.position <= position; ++i) {
    if (entries_[i].batch->ends_transaction()) first = i + 1;
  }
  return std::unique_ptr<log::Reader>(std::make_unique<FakeLogReader>(*this, first));
}

log::LogStats FakeLog::stats() const {
  const std::lock_guard lock(mutex_);
  log::LogStats out;
  if (!entries_.empty()) out.appended = entries_.back().end;
  if (durable_ > 0) out.durable = entries_[durable_ - 1].end;
  out.unfinished_snapshots = std::ssize(snapshots_.unfinished());
  out.appended_bytes_total = static_cast<int64_t>(entries_.size());
  return out;
}

void FakeLog::FailAppend(Error error) {
  const std::lock_guard lock(mutex_);
  append_errors_.push_back(std::move(error));
}

void FakeLog::PauseUntilNeeded(LogOffset until) {
  const std::lock_guard lock(mutex_);
  pause_until_ = until;
}

LogOffset FakeLog::retained() const {
  const std::lock_guard lock(mutex_);
  return retained_;
}

}  // namespace freshet::test
