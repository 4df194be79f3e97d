// What capture can take: reads a logical backlog through postgres::Capture and throws it away.
//
//   capture_limit URL SLOT PUBLICATION TABLES UNTIL_LSN
//
// The slot must be there. Nothing is called durable, so nothing is acknowledged and the same
// backlog can be read again. Prints one JSON object; compare with walsender_limit.
#include <fmt/core.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>

#include "postgres/capture.h"

namespace {

using namespace freshet;  // NOLINT: a program of one file

/// Counts, and stops the run at the end.
class Discard final : public postgres::CaptureOutput {
 public:
  explicit Discard(change::Lsn until) : until_(until) {}

  Status SourceKnown(const change::SourceIdentity&) override { return {}; }

  Result<bool> Offer(const std::shared_ptr<const change::ChangeBatch>& batch,
                     std::chrono::nanoseconds) override {
    rows_ += batch->num_rows();
    ++batches_;
    if (batch->ends_transaction() && batch->transactions.back().end_lsn >= until_) {
      stop_.request_stop();
    }
    return true;
  }

  change::Position Durable() const override { return {}; }

  int64_t rows() const { return rows_; }
  int64_t batches() const { return batches_; }
  std::stop_token stop() const { return stop_.get_token(); }

 private:
  const change::Lsn until_;
  std::stop_source stop_;
  int64_t rows_ = 0;
  int64_t batches_ = 0;
};

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr, "usage: capture_limit URL SLOT PUBLICATION TABLES UNTIL_LSN\n");
    return 2;
  }
  const auto until = change::ParseLsn(argv[5]);
  if (!until.has_value()) return 2;
  postgres::Options options;
  options.url = Secret(argv[1]);
  options.slot = argv[2];
  options.publication = argv[3];
  options.tables = {argv[4]};
  options.snapshot = postgres::SnapshotMode::kNever;
  Discard output(*until);
  const auto capture = postgres::Capture::Create(options, SystemClock());

  const auto began = std::chrono::steady_clock::now();
  const Status status = capture->Run({}, output, output.stop());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;

  if (!status.has_value()) {
    fmt::print(stderr, "capture_limit: {}\n", status.error().message);
    return 1;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double cpu = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  const auto rows = static_cast<double>(output.rows());
  fmt::print(
      "{{\"rows\": {}, \"batches\": {}, \"seconds\": {:.3f}, \"rows_per_second\": {:.0f}, "
      "\"cpu_us_per_row\": {:.3f}, \"user_us_per_row\": {:.3f}, \"peak_mib\": {:.1f}}}\n",
      output.rows(), output.batches(), seconds.count(), rows / seconds.count(), cpu * 1e6 / rows,
      Seconds(usage.ru_utime) * 1e6 / rows, static_cast<double>(usage.ru_maxrss) / 1024);
  return 0;
}
