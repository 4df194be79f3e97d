#include "postgres/replication_stream.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/byte_reader.h"
#include "postgres/plugin_options.h"

namespace freshet::postgres {
namespace {

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
constexpr UnixMicros kPostgresEpoch = 946'684'800'000'000;

constexpr size_t kDataHeaderBytes = 25;  // 'w', start 8, end 8, clock 8
constexpr size_t kFeedbackBytes = 34;    // 'r', written 8, flushed 8, applied 8, clock 8, reply 1

void PutU64(std::byte* at, uint64_t value) {
  const uint64_t big_endian = __builtin_bswap64(value);
  std::memcpy(at, &big_endian, sizeof(big_endian));
}

}  // namespace

Result<ReplicationStream> ReplicationStream::Start(Connection walsender, const Request& request,
                                                   std::stop_token stop) {
  std::string options;
  for (const PluginOption& option :
       PluginOptions(walsender.server_major(), request.publication, request.streaming)) {
    options += fmt::format("{}{} {}", options.empty() ? "" : ", ", option.name,
                           Connection::QuoteLiteral(option.value));
  }
  const std::string sql = fmt::format("START_REPLICATION SLOT {} LOGICAL {} ({})",
                                      Connection::QuoteIdentifier(request.slot),
                                      change::ToString(request.start), options);
  walsender.TakeNotices();  // of the session's start: what comes from here on is the stream's
  auto started = walsender.StartCopyOut(sql, stop);
  if (!started.has_value()) return FailWhile("start the stream", started.error());
  return ReplicationStream(std::move(walsender));
}

Result<ReplicationStream::Read> ReplicationStream::Next() {
  FRESHET_TRY(const Connection::CopyRead read, connection_.NextCopyMessage(message_));
  if (read == Connection::CopyRead::kEmpty) return Read::kEmpty;
  if (read == Connection::CopyRead::kEnd) {
    // The end may be an error (terminated, slot invalidated): that is said now.
    auto last = connection_.Receive();
    if (last.has_value()) return Read::kEnd;
    if (last.error().kind != ErrorKind::kUnavailable) return Fail(std::move(last).error());
    end_reason_ = std::move(last).error().message;
    return Read::kEnd;
  }
  const std::span<const std::byte> frame = message_.bytes();
  ByteReader in(frame);
  switch (static_cast<char>(in.ReadU8())) {
    case 'w': {
      in.ReadU64();  // start: the same as end, or 0 for a Relation
      const change::Lsn end{in.ReadU64()};
      in.ReadU64();
      if (!in.ok()) break;
      server_end_ = std::max(server_end_, end);
      data_ = frame.subspan(kDataHeaderBytes);
      return Read::kData;
    }
    case 'k': {
      const change::Lsn end{in.ReadU64()};
      in.ReadU64();
      const bool reply = in.ReadU8() != 0;
      if (!in.Finished()) break;
      server_end_ = std::max(server_end_, end);
      keepalive_end_ = std::max(keepalive_end_, end);
      reply_requested_ = reply_requested_ || reply;
      return Read::kKeepalive;
    }
    default:
      break;
  }
  return Fail(ErrorKind::kMalformed,
              "the server sent a replication frame of {} bytes that is neither data nor keepalive",
              frame.size());
}

Status ReplicationStream::Acknowledge(change::Lsn flushed, UnixMicros now, std::stop_token stop,
                                      bool ask) {
  acknowledged_ = std::max(acknowledged_, std::min(flushed, server_end_));
  reply_requested_ = false;
  std::array<std::byte, kFeedbackBytes> frame{};
  frame[0] = std::byte{'r'};
  for (const size_t at : {size_t{1}, size_t{9}, size_t{17}}) {
    PutU64(&frame[at], acknowledged_.value);
  }
  PutU64(&frame[25], static_cast<uint64_t>(now - kPostgresEpoch));
  frame.back() = std::byte{ask};
  return connection_.PutCopy(frame, stop);
}

}  // namespace freshet::postgres
