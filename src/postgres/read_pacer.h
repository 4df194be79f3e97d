#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace freshet::postgres {

/// Says how long to leave the socket alone after a read, and when to end a batch.
///
/// A walsender sends one row at a time. A reader that is there for each makes every send dearer, so
/// while rows come fast it reads once, then lets the socket fill; while they come slowly there is
/// no pause at all, since that would only add latency. Pure: time is passed in.
class ReadPacer {
 public:
  using Nanos = std::chrono::nanoseconds;

  /// Messages that come closer together than this, seen over kWindow, are "fast".
  static constexpr Nanos kFastInterval = std::chrono::microseconds(50);
  static constexpr Nanos kWindow = std::chrono::milliseconds(1);

  /// Over TCP the rest waits in the sender's socket, which makes few and large segments of it.
  /// A unix socket holds some 280 messages only, and then stops the sender.
  static constexpr Nanos kTcpPause = std::chrono::microseconds(300);
  static constexpr Nanos kUnixPause = std::chrono::microseconds(100);

  /// A read of this many bytes filled libpq's buffer (16 KiB), but for a message cut in two: more
  /// is there already. The pause is then no longer than no sender could send in as many messages.
  static constexpr int64_t kFullRead = 12 << 10;
  static constexpr Nanos kFastestSend = std::chrono::nanoseconds(2500);

  /// A pause shorter than this is not worth the timer.
  static constexpr Nanos kShortestPause = std::chrono::microseconds(20);

  /// A stream that keeps coming is cut into batches at least this far apart, so that each is worth
  /// its fixed costs. A change that comes alone is never held back.
  static constexpr Nanos kCutInterval = std::chrono::milliseconds(5);

  explicit ReadPacer(bool over_unix_socket) : pause_(over_unix_socket ? kUnixPause : kTcpPause) {}

  /// Whether rows come fast: then one read at a time, and AfterRead().
  bool fast() const { return fast_; }

  /// What was read, `messages` of `bytes` with their frames, has been taken by `now`. Returns how
  /// long to pause; zero: read again, or wait until there is something to read.
  Nanos AfterRead(int64_t messages, int64_t bytes, Nanos now) {
    window_messages_ += messages;
    const Nanos elapsed = now - window_began_;
    if (elapsed >= kWindow) {
      fast_ = elapsed < window_messages_ * kFastInterval;
      window_began_ = now;
      window_messages_ = 0;
    }
    if (!fast_) return Nanos(0);
    if (bytes < kFullRead) return pause_;
    const Nanos pause = std::min(pause_, messages * kFastestSend);
    return pause < kShortestPause ? Nanos(0) : pause;
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
