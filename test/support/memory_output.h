#pragma once

#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "postgres/capture.h"

namespace freshet::test {

/// A CaptureOutput that keeps all it gets in memory and checks that it comes in order.
/// Threads: any.
class MemoryOutput final : public postgres::CaptureOutput {
 public:
  Status SourceKnown(const change::SourceIdentity& source) override;
  Result<bool> Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                     std::chrono::nanoseconds timeout) override;
  change::Position Durable() const override;

  /// Called with each source made known, on the capture's thread. Set before it runs.
  void OnSource(std::function<void(const change::SourceIdentity&)> on_source) {
    on_source_ = std::move(on_source);
  }

  /// False: Offer() takes nothing.
  void SetRoom(bool room);

  /// Room for so many more batches only.
  void SetRoomForBatches(int64_t batches);

  /// Claims to hold everything up to `end`, durably.
  void PretendToHave(change::Lsn end);

  /// False: what is taken becomes durable by MakeDurable() only.
  void SetDurableAtOnce(bool at_once);
  void MakeDurable();

  /// Where a capture goes on after a broken connection.
  postgres::ResumePoint resume() const;

  /// As after a crash of everything: what was not durable is gone, an open transaction too.
  void LoseWhatIsNotDurable();

  /// Waits until `reached` holds. False after 30 s.
  bool WaitUntil(const std::function<bool()>& reached);

  /// Waits until `count` events of tables and messages are there.
  bool WaitForEvents(size_t count);

  /// All changes and messages in order, one line each: "insert public.t 1 | a", unchanged columns
  /// marked "(unchanged b)", exceptions "(b = NaN)".
  std::vector<std::string> Events() const;

  std::vector<std::shared_ptr<const change::ChangeBatch>> batches() const;

  /// All transactions taken, parts included.
  std::vector<change::Transaction> transactions() const;
  std::optional<change::SourceIdentity> source() const;

  /// How often Offer() was refused for want of room.
  int64_t refused() const;

 private:
  void Rebuild();

  std::function<void(const change::SourceIdentity&)> on_source_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<const change::ChangeBatch>> batches_;
  std::optional<change::SourceIdentity> source_;
  change::Position appended_;
  std::optional<change::Transaction> open_;
  change::Position durable_;
  size_t durable_batches_ = 0;
  size_t events_ = 0;
  int64_t refused_ = 0;
  int64_t room_ = std::numeric_limits<int64_t>::max();  ///< batches
  bool durable_at_once_ = true;
};

/// The changes of a batch as lines, in the order of the stream.
std::vector<std::string> EventsOf(const change::ChangeBatch& batch);

/// A capture that runs in a thread of its own until stopped or broken.
class RunningCapture {
 public:
  /// `output` and `clock` outlive it.
  RunningCapture(const postgres::Options& options, MemoryOutput& output,
                 const Clock& clock = SystemClock());
  ~RunningCapture();

  postgres::CaptureStatus status() const { return capture_->status(); }
  postgres::Capture& capture() { return *capture_; }

  /// Waits for a state. False after 30 s, or when the run ends before.
  bool WaitForState(postgres::CaptureState state);

  bool ended() const;

  /// Waits until the run ends by itself and returns how. nullopt after 30 s.
  std::optional<Status> WaitEnd();

  /// Stops it, and returns how it ended.
  Status Stop();

 private:
  std::unique_ptr<postgres::Capture> capture_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<Status> result_;
  std::jthread thread_;
};

}  // namespace freshet::test
