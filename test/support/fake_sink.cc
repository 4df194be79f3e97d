#include "support/fake_sink.h"

#include <algorithm>

namespace freshet::test {

void FakeTarget::WaitFor(const std::function<bool(const FakeTarget&)>& reached) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return reached(*this); });
}

int FakeTarget::Count(const std::string& call) const {
  return static_cast<int>(std::count(calls.begin(), calls.end(), call));
}

Status FakeSink::Call(const std::string& name, const std::string& shown) {
  target_->calls.push_back(shown);
  target_->changed.notify_all();
  if (target_->errors.empty() || target_->errors.front().first != name) return {};
  Error error = target_->errors.front().second;
  target_->errors.pop_front();
  return Fail(std::move(error));
}

Result<std::optional<sink::StoredPosition>> FakeSink::Open(std::stop_token) {
  const std::lock_guard lock(target_->mutex);
  FRESHET_RETURN_IF_ERROR(Call("open", "open"));
  written_.clear();
  return target_->position;
}

Status FakeSink::Prepare(const change::TableSchema& schema) {
  const std::lock_guard lock(target_->mutex);
  return Call("prepare", "prepare " + change::ToString(schema.name()));
}

Status FakeSink::Write(const std::shared_ptr<const change::ChangeBatch>& batch,
                       const sink::StoredPosition& behind) {
  const std::lock_guard lock(target_->mutex);
  FRESHET_RETURN_IF_ERROR(Call("write", "write"));
  for (const change::Transaction& t : batch->transactions) {
    if (t.ends) written_.push_back(t.end_lsn.value);
  }
  for (const change::TableChanges& table : batch->tables) {
    for (const change::ChangeKind kind : table.kinds) {
      target_->images.push_back(std::string(change::ChangeKindName(kind)) + " " +
                                change::ToString(table.schema->name()));
    }
  }
  behind_ = behind;
  return {};
}

Result<sink::StoredPosition> FakeSink::Flush() {
  const std::lock_guard lock(target_->mutex);
  FRESHET_RETURN_IF_ERROR(Call("flush", "flush"));
  for (const uint64_t end : written_) ++target_->transactions[end];
  written_.clear();
  target_->position = behind_;
  return behind_;
}

Status FakeSink::Close() {
  const std::lock_guard lock(target_->mutex);
  return Call("close", "close");
}

sink::Description FakeSink::Describe() const {
  return {.kind = "fake",
          .target = "memory",
          .guarantee = "exactly once",
          .limits = {},
          .counters = {}};
}

}  // namespace freshet::test
