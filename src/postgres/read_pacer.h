#pragma once

#include <chrono>
#include <cstdint>

namespace freshet::postgres {

/// Says how long to leave the socket alone after it was read empty, and when to end a batch.
///
/// A walsender sends one row at a time. A reader that is woken for each makes every send dearer, so
/// while rows come fast it is left to fill the socket for a moment; while they come slowly there is
/// no pause at all, since that would only add latency. Pure: time is passed in.
class ReadPacer {
 public:
  using Nanos = std::chrono::nanoseconds;

  /// Messages that come closer together than this, seen over kWindow, are "fast".
  static constexpr Nanos kFastInterval = std::chrono::microseconds(50);
  static constexpr Nanos kWindow = std::chrono::milliseconds(1);

  /// TCP: the best of 0, 50, 100, 200 us on loopback. Unix sockets hold some 280 messages only.
  static constexpr Nanos kTcpPause = std::chrono::microseconds(100);
  static constexpr Nanos kUnixPause = std::chrono::microseconds(50);

  /// A stream that keeps coming is cut into batches at least this far apart, so that each is worth
  /// its fixed costs. A change that comes alone is never held back.
  static constexpr Nanos kCutInterval = std::chrono::milliseconds(5);

  explicit ReadPacer(bool over_unix_socket) : pause_(over_unix_socket ? kUnixPause : kTcpPause) {}

  /// The socket was read empty at `now`, `messages` after it last was. Returns how long to pause;
  /// zero: wait until there is something to read.
  Nanos AfterEmptyRead(int64_t messages, Nanos now) {
    window_messages_ += messages;
    const Nanos elapsed = now - window_began_;
    if (elapsed >= kWindow) {
      fast_ = elapsed < window_messages_ * kFastInterval;
      window_began_ = now;
      window_messages_ = 0;
    }
    return fast_ ? pause_ : Nanos(0);
  }

  /// Whether to end the batch under construction now that the socket is empty.
  bool ShouldCut(Nanos now) const { return now - last_cut_ >= kCutInterval; }

  /// How long until ShouldCut().
  Nanos UntilCut(Nanos now) const {
    const Nanos left = last_cut_ + kCutInterval - now;
    return left > Nanos(0) ? left : Nanos(0);
  }

  void HasCut(Nanos now) { last_cut_ = now; }

 private:
  const Nanos pause_;
  Nanos window_began_{};
  int64_t window_messages_ = 0;
  bool fast_ = false;
  Nanos last_cut_{-kCutInterval};
};

}  // namespace freshet::postgres
