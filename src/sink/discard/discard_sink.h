#pragma once

#include <atomic>
#include <memory>

#include "sink/registry.h"
#include "sink/sink.h"

namespace freshet::sink::discard {

/// Counts what it is given and throws it away: for benchmarks, and for pipelines that only keep the
/// log.
///
/// It has no target, so it has no position: every Open begins at the oldest change the log holds.
class DiscardSink final : public Sink {
 public:
  Result<std::optional<StoredPosition>> Open(std::stop_token stop) override;
  Status Prepare(const change::TableSchema& schema) override;
  Status Write(const std::shared_ptr<const change::ChangeBatch>& batch,
               const StoredPosition& behind) override;
  Result<StoredPosition> Flush() override;
  Status Close() override;
  Description Describe() const override;
  bool StartsAnywhere() const override { return true; }

 private:
  StoredPosition written_;
  std::atomic<int64_t> rows_{0};
  std::atomic<int64_t> transactions_{0};
};

std::unique_ptr<Factory> MakeFactory();

}  // namespace freshet::sink::discard
