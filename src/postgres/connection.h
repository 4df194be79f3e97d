#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "postgres/text_encoding.h"

struct pg_conn;
struct pg_result;

namespace freshet::postgres {

/// The answer to a query: rows of text, as the server wrote them, in UTF-8.
class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* result);

  int size() const;
  int columns() const;
  bool is_null(int row, int column) const;

  /// The value, empty for NULL. Valid as long as this object.
  std::string_view at(int row, int column) const;

  /// The value as a number; 0 for NULL or text that is none.
  int64_t integer(int row, int column) const;

  /// 't', or 'on' of a setting.
  bool boolean(int row, int column) const;

 private:
  struct Free {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Free> result_;
};

/// One message of a COPY stream, in libpq's memory until this object goes.
class CopyMessage {
 public:
  CopyMessage() = default;
  std::span<const std::byte> bytes() const {
    return {reinterpret_cast<const std::byte*>(data_.get()), size_};
  }

 private:
  friend class Connection;
  struct Free {
    void operator()(char* data) const;
  };
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0;
};

/// How a session is opened.
struct SessionOptions {
  bool replication = false;  ///< walsender session (replication=database): simple queries only
  std::string application_name = "freshet";

  /// Server settings of this session, beside those every session pins.
  std::vector<std::pair<std::string, std::string>> settings;
};

/// Why `url` is neither a postgres:// URL nor libpq keywords, and how to write one; empty when it
/// is. Repeats nothing of it, since a part may be a password.
std::string RejectUrl(const Secret& url);

/// One session with a PostgreSQL server.
///
/// Every setting that leaks into output is pinned, so that values have the same text whatever role,
/// database or server defaults say: datestyle ISO, intervalstyle postgres, timezone UTC,
/// extra_float_digits 3, bytea_output hex, empty search_path, row_security off,
/// client_min_messages warning, no timeouts. Name objects with their schema, therefore.
///
/// SQL is given, and answers come, in UTF-8; names that are no text in the database's encoding come
/// in their exact form (ExactForm()). Messages of a COPY are the server's own bytes, in the
/// encoding of converter(): the server converts nothing, since it would break off where it cannot.
///
/// Waiting calls end early with kCancelled when their `stop` is requested; a statement under way is
/// then cancelled at the server. Threads: one at a time.
/// Errors: those of FromServer(), and kUnsupported for an encoding that TextConverter does not
/// know.
class Connection {
 public:
  /// `url` is a postgres:// URL or libpq keywords; what it leaves open comes from libpq's
  /// environment (PGPASSWORD, ~/.pgpass, service files). Its connect_timeout counts; 10 s else.
  static Result<Connection> Connect(const Secret& url, const SessionOptions& options = {},
                                    std::stop_token stop = {});

  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// 150020 for 15.20.
  int server_version() const;
  int server_major() const { return server_version() / 10'000; }
  int backend_pid() const;
  bool over_unix_socket() const;

  /// By TLS or GSSAPI: the library may then hold bytes that the socket does not show.
  bool encrypted() const;

  /// A startup-reported setting ("server_encoding"); empty when the server does not report it.
  std::string_view parameter(const char* name) const;

  /// How the database's bytes become text. To be used where this connection is.
  const std::shared_ptr<TextConverter>& converter() const;

  /// Runs one statement, or several divided by semicolons: the last one's rows.
  Result<Rows> Query(const std::string& sql, std::stop_token stop = {});

  /// Runs one statement with text parameters $1, $2, ... Not in walsender sessions.
  Result<Rows> Query(const std::string& sql, std::span<const std::string> parameters,
                     std::stop_token stop = {});
  Result<Rows> Query(const std::string& sql, std::initializer_list<std::string> parameters,
                     std::stop_token stop = {}) {
    return Query(sql, std::span<const std::string>(parameters.begin(), parameters.size()), stop);
  }

  /// Query() without the rows.
  Status Execute(const std::string& sql, std::stop_token stop = {});

  /// @name A statement in two halves, for those that may take long.
  /// Send(), then WaitReadable() until Receive() would not wait, or Cancel().
  /// @{
  Status Send(const std::string& sql);
  Result<bool> AnswerWithin(std::chrono::nanoseconds timeout, std::stop_token stop);
  Result<Rows> Receive(std::stop_token stop = {});
  void Cancel();
  /// @}

  /// @name COPY ... TO STDOUT, and the same after START_REPLICATION
  /// @{
  enum class CopyRead : uint8_t { kMessage, kEmpty, kEnd };

  /// Starts a COPY TO STDOUT or a replication stream.
  Status StartCopyOut(const std::string& sql, std::stop_token stop = {});

  /// Takes the next message out of what was received, without touching the socket.
  Result<CopyRead> NextCopyMessage(CopyMessage& message);

  /// Receives what the socket has, without waiting. Under TLS one call may leave a part of a record
  /// inside the library, where WaitReadable() does not see it: when no whole message was there
  /// after a call, call once more before waiting.
  Status Consume();

  /// Waits for the next message of a COPY. False at its end, when the statement has succeeded.
  Result<bool> ReadCopy(CopyMessage& message, std::stop_token stop = {});
  /// @}

  /// @name COPY ... FROM STDIN, and feedback in a replication stream
  /// @{
  Status StartCopyIn(const std::string& sql, std::stop_token stop = {});
  Status PutCopy(std::span<const std::byte> bytes, std::stop_token stop = {});

  /// Ends a COPY FROM STDIN. Returns the rows taken.
  Result<int64_t> EndCopyIn(std::stop_token stop = {});
  /// @}

  /// From now on an answer that does not come within `timeout` is kUnavailable, and ends the
  /// session: on a network that lost its way nothing else would.
  void LimitAnswers(std::chrono::nanoseconds timeout);

  /// Whether that has happened.
  bool timed_out() const;

  /// Waits until the socket has something to read. False when `timeout` passed first.
  Result<bool> WaitReadable(std::chrono::nanoseconds timeout, std::stop_token stop);

  /// What the server said outside of answers (NOTICE, WARNING) since the last call, oldest first;
  /// the newest kMaxNotices of them.
  std::vector<std::string> TakeNotices();
  bool has_notices() const;
  static constexpr size_t kMaxNotices = 32;

  /// "name" and 'text', quoted for SQL.
  static std::string QuoteIdentifier(std::string_view name);
  static std::string QuoteLiteral(std::string_view text);

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);

  /// Connects by libpq's keywords and their values.
  static Result<Connection> ConnectTo(std::vector<std::pair<std::string, std::string>> keywords,
                                      std::stop_token stop);

  /// The error that libpq holds for this connection, with `result`'s fields where there are any.
  Error LastError(const pg_result* result) const;
  Status Flush(std::stop_token stop);
  Result<Rows> ReceiveAll(int expected_copy_status, std::stop_token stop);

  std::unique_ptr<Impl> impl_;
};

}  // namespace freshet::postgres
