// What one walsender can deliver: reads a logical backlog with bare libpq and throws it away.
//
//   walsender_limit CONNINFO SLOT PUBLICATION UNTIL_LSN PAUSE_US
//
// Never acknowledges, so that the same backlog can be read again. After a read that brought nothing
// it sleeps PAUSE_US: a reader that wakes for every row slows the sender down. Prints one JSON
// object; rows are inserts, updates and deletes, seconds count from the connection to the commit
// that ends at or behind UNTIL_LSN.
//
// Source: PostgreSQL manual, "Streaming Replication Protocol", "Logical Replication Message
// Formats".
#include <fmt/core.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

constexpr int kXLogDataHeader = 25;  // 'w', start, end, send time
constexpr int kKeepaliveWalEnd = 1;  // 'k', then walEnd
constexpr int kCommitEndLsn = 10;    // 'C', flags 1, commit_lsn 8, then end_lsn

struct Tally {
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t transactions = 0;
  bool done = false;
};

uint64_t ReadU64(const char* at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(at[i]);
  return value;
}

uint64_t ParseLsn(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return 0;
  return std::strtoull(text.substr(0, slash).c_str(), nullptr, 16) << 32 |
         std::strtoull(text.substr(slash + 1).c_str(), nullptr, 16);
}

[[noreturn]] void Die(const std::string& what, PGconn* connection) {
  fmt::print(stderr, "walsender_limit: {}: {}", what, PQerrorMessage(connection));
  std::exit(1);
}

void Count(const char* message, int size, uint64_t until, Tally& tally) {
  if (message[0] == 'k') {
    // With nothing left to send, walEnd passes the target on an idle server.
    tally.done = tally.transactions > 0 && ReadU64(message + kKeepaliveWalEnd) >= until;
    return;
  }
  const char* body = message + kXLogDataHeader;
  tally.bytes += size - kXLogDataHeader;
  switch (body[0]) {
    case 'I':
    case 'U':
    case 'D':
      ++tally.rows;
      return;
    case 'C':
      ++tally.transactions;
      tally.done = ReadU64(body + kCommitEndLsn) >= until;
      return;
    default:
      return;
  }
}

Tally Drain(PGconn* connection, uint64_t until, std::chrono::microseconds pause) {
  Tally tally;
  while (!tally.done) {
    char* message = nullptr;
    const int size = PQgetCopyData(connection, &message, /*async=*/1);
    if (size > 0) {
      Count(message, size, until, tally);
      PQfreemem(message);
      continue;
    }
    if (size < 0) Die("the stream ended", connection);
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    pollfd socket{PQsocket(connection), POLLIN, 0};
    ::poll(&socket, 1, -1);
    if (PQconsumeInput(connection) == 0) Die("read", connection);
  }
  return tally;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr,
               "usage: walsender_limit CONNINFO SLOT PUBLICATION UNTIL_LSN PAUSE_US\n"
               "  CONNINFO needs replication=database\n");
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  PGconn* connection = PQconnectdb(argv[1]);
  if (PQstatus(connection) != CONNECTION_OK) Die("connect", connection);
  const std::string start = fmt::format(
      "START_REPLICATION SLOT \"{}\" LOGICAL 0/0 (proto_version '1', publication_names '\"{}\"')",
      argv[2], argv[3]);
  PGresult* result = PQexec(connection, start.c_str());
  if (PQresultStatus(result) != PGRES_COPY_BOTH) Die("START_REPLICATION", connection);
  PQclear(result);

  const Tally tally =
      Drain(connection, ParseLsn(argv[4]), std::chrono::microseconds(std::atoll(argv[5])));

  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  PQfinish(connection);
  fmt::print(
      "{{\"rows\": {}, \"transactions\": {}, \"bytes\": {}, \"seconds\": {:.3f}, "
      "\"cpu_seconds\": {:.3f}}}\n",
      tally.rows, tally.transactions, tally.bytes, wall.count(), CpuSeconds());
  return 0;
}
