#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "support/memory_output.h"
#include "support/shared_postgres.h"

namespace freshet::test {

/// A fixture with a database of its own and one capture of the tables t* of its schema public.
class SharedCaptureTest : public SharedPostgresTest {
 protected:
  void SetUp() override {
    SharedPostgresTest::SetUp();
    options_.url = url();
    options_.slot = name_;
    options_.tables = {"public.t*"};
    options_.status_interval = std::chrono::milliseconds(500);
  }

  void TearDown() override {
    capture_.reset();
    EXPECT_TRUE(output_.WaitUntil([&] {
      return server_
          ->Run(
              "SELECT pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) FROM "
              "pg_replication_slots WHERE slot_name = '" +
              name_ + "'")
          .has_value();
    }));
  }

  /// Starts the capture and waits until it streams.
  void Stream() {
    capture_ = std::make_unique<RunningCapture>(options_, output_);
    ASSERT_TRUE(capture_->WaitForState(postgres::CaptureState::kStreaming))
        << capture_->status().reason;
  }

  /// Waits until so many events are there.
  void Expect(size_t events) {
    ASSERT_TRUE(output_.WaitForEvents(events))
        << output_.Events().size() << " events; " << capture_->status().reason;
  }

  /// Waits until the status names something about the source that holds `text`.
  void ExpectWarning(const std::string& text) {
    EXPECT_TRUE(output_.WaitUntil([&] {
      const auto& warnings = capture_->status().warnings;
      return std::ranges::any_of(
          warnings, [&](const std::string& w) { return w.find(text) != std::string::npos; });
    })) << testing::PrintToString(capture_->status().warnings);
  }

  /// Waits until a table was read again by itself, and its rows are there.
  void ExpectReadAgain(const std::string& table, const std::string& why) {
    EXPECT_TRUE(output_.WaitUntil([&] {
      const auto& tables = capture_->status().snapshot;
      return std::ranges::any_of(tables, [&](const postgres::SnapshotTable& each) {
        return each.done && each.name.table == table && each.why.find(why) != std::string::npos;
      });
    })) << capture_->status().reason;
  }

  /// How often targets were to empty a table.
  int Replaced() const {
    int replaced = 0;
    for (const auto& batch : output_.batches()) {
      for (const auto& step : batch->snapshots) {
        replaced += step.step == change::SnapshotStep::kBegun && step.replaces ? 1 : 0;
      }
    }
    return replaced;
  }

  postgres::Options options_;
  MemoryOutput output_;
  std::unique_ptr<RunningCapture> capture_;
};

}  // namespace freshet::test
