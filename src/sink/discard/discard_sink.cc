#include "sink/discard/discard_sink.h"

namespace freshet::sink::discard {

Result<std::optional<StoredPosition>> DiscardSink::Open(std::stop_token) { return std::nullopt; }

Status DiscardSink::Prepare(const change::TableSchema&) { return {}; }

Status DiscardSink::Write(const std::shared_ptr<const change::ChangeBatch>& batch,
                          const StoredPosition& behind) {
  rows_ += batch->num_rows();
  for (const change::Transaction& t : batch->transactions) transactions_ += t.ends ? 1 : 0;
  written_ = behind;
  return {};
}

Result<StoredPosition> DiscardSink::Flush() { return written_; }

Status DiscardSink::Close() { return {}; }

Description DiscardSink::Describe() const {
  return {.kind = "discard",
          .target = "nowhere",
          .guarantee = "none: nothing is kept",
          .limits = {},
          .counters = {{"rows_total", "Row images thrown away.", rows_},
                       {"transactions_total", "Transactions thrown away.", transactions_}}};
}

namespace {

class DiscardFactory final : public Factory {
 public:
  void Bind(config::Binder&) override {}
  std::string Reject(const SinkOptions&) const override { return {}; }
  std::unique_ptr<Sink> MakeSink(const SinkOptions&, const Clock&) const override {
    return std::make_unique<DiscardSink>();
  }
  Result<std::unique_ptr<ReadBack>> MakeReadBack(const SinkOptions&) const override {
    return std::unique_ptr<ReadBack>();
  }
};

}  // namespace

std::unique_ptr<Factory> MakeFactory() { return std::make_unique<DiscardFactory>(); }

}  // namespace freshet::sink::discard
