#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "change/ids.h"
#include "postgres/connection.h"

namespace freshet::postgres {

/// The walsender's side of a logical slot: frames of the streaming protocol in, feedback out.
///
/// Owns the session. Nothing waits but WaitReadable(). Threads: one. Errors: those of Connection;
/// kMalformed for a frame that is none.
/// Source: PostgreSQL manual, "Streaming Replication Protocol".
class ReplicationStream {
 public:
  /// What to stream, and from where: the server goes on after the later of `start` and what the
  /// slot has confirmed.
  struct Request {
    std::string slot;
    std::string publication;
    change::Lsn start;
    bool streaming = false;  ///< large transactions while they run, from servers that can (14+)
  };

  static Result<ReplicationStream> Start(Connection walsender, const Request& request,
                                         std::stop_token stop = {});

  /// Bytes on the wire around a message of the output plugin: CopyData's 5, XLogData's 25.
  static constexpr int64_t kFrameOverhead = 30;

  enum class Read : uint8_t {
    kData,       ///< data() is a message of the output plugin
    kKeepalive,  ///< the server told its end; perhaps it asks for an answer
    kEmpty,      ///< nothing more was received
    kEnd,        ///< the server ended the stream; end_reason() says why
  };

  /// Takes the next frame out of what was received.
  Result<Read> Next();

  /// Receives what the socket has, without waiting.
  Status Consume() { return connection_.Consume(); }

  Result<bool> WaitReadable(std::chrono::nanoseconds timeout, std::stop_token stop) {
    return connection_.WaitReadable(timeout, stop);
  }

  /// The message after kData; valid until the next Next().
  std::span<const std::byte> data() const { return data_; }

  /// The highest WAL position the server has announced. Nothing above it may be acknowledged.
  change::Lsn server_end() const { return server_end_; }

  /// The walEnd of the last keepalive: all before it that is published has been sent.
  change::Lsn keepalive_end() const { return keepalive_end_; }

  /// The server asked for an answer since the last Acknowledge().
  bool reply_requested() const { return reply_requested_; }

  /// Tells the server that all up to `flushed` is durable here. Never goes back, and never above
  /// server_end(): what is beyond is left out. `ask`: the server is to tell its end by a keepalive.
  Status Acknowledge(change::Lsn flushed, UnixMicros now, std::stop_token stop = {},
                     bool ask = false);

  /// The last position acknowledged.
  change::Lsn acknowledged() const { return acknowledged_; }

  /// What the server said at kEnd: why it cut us off, or nothing when it shuts down in order.
  const std::string& end_reason() const { return end_reason_; }

  Connection& connection() { return connection_; }

 private:
  explicit ReplicationStream(Connection connection) : connection_(std::move(connection)) {}

  Connection connection_;
  CopyMessage message_;
  std::span<const std::byte> data_;
  change::Lsn server_end_;
  change::Lsn keepalive_end_;
  change::Lsn acknowledged_;
  bool reply_requested_ = false;
  std::string end_reason_;
};

}  // namespace freshet::postgres
