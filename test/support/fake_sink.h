#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sink/registry.h"
#include "sink/sink.h"

namespace freshet::test {

/// A target in memory that outlives the sinks that write it, and counts how often every transaction
/// arrived. Threads: any.
struct FakeTarget {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<sink::StoredPosition> position;
  std::map<uint64_t, int> transactions;  ///< end LSN -> times made durable
  std::vector<std::string> calls;   ///< "open", "prepare public.items", "write", "flush", "close"
  std::vector<std::string> images;  ///< "insert public.items" for each row image written
  std::deque<std::pair<std::string, Error>> errors;  ///< the next call of that name fails so

  /// Waits until `reached` holds for this target.
  void WaitFor(const std::function<bool(const FakeTarget&)>& reached);
  int Count(const std::string& call) const;
};

/// Writes into a FakeTarget by the sink's contract.
class FakeSink final : public sink::Sink {
 public:
  explicit FakeSink(std::shared_ptr<FakeTarget> target) : target_(std::move(target)) {}

  Result<std::optional<sink::StoredPosition>> Open(std::stop_token stop) override;
  Status Prepare(const change::TableSchema& schema) override;
  Status Write(const std::shared_ptr<const change::ChangeBatch>& batch,
               const sink::StoredPosition& behind) override;
  Result<sink::StoredPosition> Flush() override;
  Status Close() override;
  sink::Description Describe() const override;

 private:
  Status Call(const std::string& name, const std::string& shown);

  const std::shared_ptr<FakeTarget> target_;
  std::vector<uint64_t> written_;
  sink::StoredPosition behind_;
};

/// Makes FakeSinks of one target.
class FakeFactory final : public sink::Factory {
 public:
  explicit FakeFactory(std::shared_ptr<FakeTarget> target) : target_(std::move(target)) {}

  void Bind(config::Binder&) override {}
  std::string Reject(const sink::SinkOptions&) const override { return {}; }
  std::unique_ptr<sink::Sink> MakeSink(const sink::SinkOptions&, const Clock&) const override {
    return std::make_unique<FakeSink>(target_);
  }
  Result<std::unique_ptr<sink::ReadBack>> MakeReadBack(const sink::SinkOptions&) const override {
    return std::unique_ptr<sink::ReadBack>();
  }

 private:
  const std::shared_ptr<FakeTarget> target_;
};

}  // namespace freshet::test
