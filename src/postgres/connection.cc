#include "postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/clock.h"
#include "postgres/server_error.h"

namespace freshet::postgres {

using std::chrono::nanoseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kConnectTimeout{10};
constexpr size_t kMaxNameBytes = 63;  // NAMEDATALEN - 1

/// Settings every session has. All exist since PostgreSQL 10 and may be set by anyone.
/// Source: PostgreSQL manual, "Client Connection Defaults".
constexpr std::pair<std::string_view, std::string_view> kPinned[] = {
    {"datestyle", "ISO"},
    {"intervalstyle", "postgres"},
    {"timezone", "UTC"},
    {"extra_float_digits", "3"},
    {"bytea_output", "hex"},
    {"search_path", ""},
    {"row_security", "off"},
    {"standard_conforming_strings", "on"},
    {"quote_all_identifiers", "off"},
    {"client_min_messages", "warning"},  // some warnings are all that tells of lost rows
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
};

/// libpq keywords that every connection gets unless the user's url says otherwise: a dead peer is
/// noticed within 30 s.
constexpr std::pair<std::string_view, std::string_view> kKeepalive[] = {
    {"keepalives_idle", "10"},
    {"keepalives_interval", "5"},
    {"keepalives_count", "4"},
    {"tcp_user_timeout", "30000"},
};

struct FreeInfo {
  void operator()(PQconninfoOption* info) const { PQconninfoFree(info); }
};

using Keywords = std::vector<std::pair<std::string, std::string>>;

std::string* Find(Keywords& keywords, std::string_view key) {
  const auto it = std::find_if(keywords.begin(), keywords.end(),
                               [&](const auto& pair) { return pair.first == key; });
  return it == keywords.end() ? nullptr : &it->second;
}

/// Appends `-c name=value` to a session's `options`, whose spaces and backslashes are escaped.
void AppendSetting(std::string& options, std::string_view name, std::string_view value) {
  options.append(options.empty() ? "-c " : " -c ").append(name).append("=");
  for (const char c : value) {
    if (c == ' ' || c == '\\') options.push_back('\\');
    options.push_back(c);
  }
}

/// What libpq reads in a url; null when it cannot be read.
std::unique_ptr<PQconninfoOption, FreeInfo> ParseUrl(const Secret& url) {
  char* text = nullptr;
  std::unique_ptr<PQconninfoOption, FreeInfo> info(PQconninfoParse(url.Reveal().c_str(), &text));
  PQfreemem(text);  // may repeat a piece of the url, hence of the password
  return info;
}

/// The user's keywords with ours added.
Result<Keywords> MakeKeywords(const Secret& url, const SessionOptions& session) {
  const auto info = ParseUrl(url);
  if (info == nullptr) return Fail(ErrorKind::kConfig, "the connection url {}", RejectUrl(url));
  Keywords out;
  for (const PQconninfoOption* option = info.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) out.emplace_back(option->keyword, option->val);
  }
  const auto set = [&](std::string_view key, std::string value) {
    if (std::string* old = Find(out, key); old != nullptr) {
      *old = std::move(value);
    } else {
      out.emplace_back(key, std::move(value));
    }
  };

  const std::string* given = Find(out, "options");
  std::string options = given == nullptr ? "" : *given;  // ours follow and win
  for (const auto& [name, value] : kPinned) AppendSetting(options, name, value);
  for (const auto& [name, value] : session.settings) AppendSetting(options, name, value);
  set("options", std::move(options));
  set("client_encoding", "SQL_ASCII");  // bytes as they are; a UTF8 database has checked its own
  if (session.replication) set("replication", "database");
  if (Find(out, "application_name") == nullptr) {  // a longer one draws a notice
    set("application_name", session.application_name.substr(0, kMaxNameBytes));
  }
  for (const auto& [key, value] : kKeepalive) {
    if (Find(out, key) == nullptr) set(key, std::string(value));
  }
  return out;
}

/// How long to try one host: connect_timeout of the url.
nanoseconds ConnectTimeout(Keywords& keywords) {
  const std::string* given = Find(keywords, "connect_timeout");
  if (given == nullptr) return kConnectTimeout;
  int value = 0;
  std::from_chars(given->data(), given->data() + given->size(), value);
  return value > 0 ? seconds(std::max(value, 2)) : seconds(24 * 3600);  // 0: wait for ever
}

/// The parts of "a,b,c", of which there is at least one.
std::vector<std::string> SplitList(const std::string& list) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t comma; (comma = list.find(',', begin)) != std::string::npos; begin = comma + 1) {
    out.push_back(list.substr(begin, comma - begin));
  }
  out.push_back(list.substr(begin));
  return out;
}

/// The keywords for each host of a list by itself, since libpq, used without blocking, stays for
/// ever with one that is silent. Not where it chooses among all of them.
std::vector<Keywords> EachHost(const Keywords& all) {
  Keywords keywords = all;
  const std::string* const attrs = Find(keywords, "target_session_attrs");
  if (attrs != nullptr && *attrs == "prefer-standby") return {all};
  size_t count = 1;
  for (const char* key : {"host", "hostaddr"}) {
    const std::string* const list = Find(keywords, key);
    if (list != nullptr) count = std::max(count, SplitList(*list).size());
  }
  std::vector<Keywords> out(count, all);
  for (size_t i = 0; i < count; ++i) {
    for (const char* key : {"host", "hostaddr", "port"}) {
      std::string* const value = Find(out[i], key);
      if (value == nullptr) continue;
      const std::vector<std::string> parts = SplitList(*value);
      if (parts.size() == 1) continue;          // one port for all hosts
      if (parts.size() != count) return {all};  // libpq says what is wrong
      *value = parts[i];
    }
  }
  return out;
}

void CollectNotice(void* target, const PGresult* result) {
  auto* notices = static_cast<std::vector<std::string>*>(target);
  if (notices->size() == Connection::kMaxNotices) notices->erase(notices->begin());
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  notices->emplace_back(message == nullptr ? "" : message);
}

}  // namespace

std::string RejectUrl(const Secret& url) {
  if (ParseUrl(url) != nullptr) return {};
  return "cannot be read; write postgres://user@host:5432/database or keywords like \"host=... "
         "dbname=...\", with special characters of a password percent-encoded in a url and quoted "
         "in keywords";
}

Rows::Rows(pg_result* result) : result_(result) {}
void Rows::Free::operator()(pg_result* result) const { PQclear(result); }
void CopyMessage::Free::operator()(char* data) const { PQfreemem(data); }

int Rows::size() const { return PQntuples(result_.get()); }
int Rows::columns() const { return PQnfields(result_.get()); }
bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) == 1;
}

std::string_view Rows::at(int row, int column) const {
  CHECK(row < size() && column < columns());
  return {PQgetvalue(result_.get(), row, column),
          static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

int64_t Rows::integer(int row, int column) const {
  const std::string_view text = at(row, column);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool Rows::boolean(int row, int column) const {
  const std::string_view text = at(row, column);
  return text == "t" || text == "on";
}

/// Has the values of `result` in UTF-8.
void ConvertRows(PGresult* result, TextConverter& converter) {
  const auto is_high = [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; };
  for (int row = 0; row < PQntuples(result); ++row) {
    for (int column = 0; column < PQnfields(result); ++column) {
      const std::string_view value(PQgetvalue(result, row, column),
                                   static_cast<size_t>(PQgetlength(result, row, column)));
      if (std::none_of(value.begin(), value.end(), is_high)) continue;
      std::string text = converter.Name(value);
      CHECK(PQsetvalue(result, row, column, text.data(), static_cast<int>(text.size())) == 1);
    }
  }
}

/// What the server says to people, in UTF-8.
std::string ReadableText(std::string_view text, TextConverter& converter) {
  std::string out;
  converter.Append(text, TextConverter::Invalid::kBytes, out);
  return out;
}

/// The libpq connection, the event that ends a wait, and what the server said on the side.
struct Connection::Impl {
  PGconn* pg = nullptr;
  int stop_event = -1;
  std::vector<std::string> notices;
  std::string password;  ///< taken out of every message
  std::shared_ptr<TextConverter> converter = TextConverter::Utf8();
  nanoseconds answer_timeout = std::chrono::hours(24 * 365);
  bool timed_out = false;

  ~Impl() {
    PQfinish(pg);
    if (stop_event >= 0) ::close(stop_event);
  }

  /// Waits for `events` of the socket. False: `timeout` passed.
  Result<bool> Wait(short events, nanoseconds timeout, const std::stop_token& stop) {
    const auto arouse = [this] {
      const uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(stop_event, &one, sizeof(one));
    };
    const std::stop_callback aroused(stop, arouse);
    const nanoseconds deadline = SystemClock().Monotonic() + timeout;
    for (;;) {
      pollfd fds[2] = {{PQsocket(pg), events, 0}, {stop_event, POLLIN, 0}};
      if (fds[0].fd < 0) return Fail(ErrorKind::kUnavailable, "the connection is closed");
      const auto left = std::max(deadline - SystemClock().Monotonic(), nanoseconds(0));
      const timespec wait{static_cast<time_t>(left.count() / 1'000'000'000),
                          static_cast<long>(left.count() % 1'000'000'000)};
      const int ready = ::ppoll(fds, 2, &wait, nullptr);
      if (ready > 0 && fds[1].revents != 0) {  // of this stop or, late, of an earlier one
        uint64_t count = 0;
        [[maybe_unused]] const auto got = ::read(stop_event, &count, sizeof(count));
      }
      if (stop.stop_requested()) return Fail(ErrorKind::kCancelled, "stopped");
      if (ready == 0) return false;
      if (ready > 0 && fds[0].revents != 0) return true;
      if (ready < 0 && errno != EINTR) {
        return Fail(ErrorKind::kIo, "poll: {}", std::strerror(errno));
      }
    }
  }
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::Connect(const Secret& url, const SessionOptions& options,
                                       std::stop_token stop) {
  FRESHET_TRY(const Keywords all, MakeKeywords(url, options));
  const std::vector<Keywords> hosts = EachHost(all);
  for (size_t i = 0;; ++i) {
    auto connection = ConnectTo(hosts[i], stop);
    // As libpq does, another host is not tried after one that refused the user.
    const bool last = i + 1 == hosts.size() || connection.has_value() ||
                      connection.error().kind == ErrorKind::kDenied ||
                      connection.error().kind == ErrorKind::kCancelled;
    if (last) return connection;
  }
}

Result<Connection> Connection::ConnectTo(Keywords keywords, std::stop_token stop) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : keywords) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);

  auto impl = std::make_unique<Impl>();
  impl->stop_event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl->stop_event < 0) return Fail(ErrorKind::kIo, "eventfd: {}", std::strerror(errno));
  impl->pg = PQconnectStartParams(keys.data(), values.data(), 0);
  if (impl->pg == nullptr) return Fail(ErrorKind::kFatal, "out of memory");
  Impl& raw = *impl;
  Connection connection(std::move(impl));
  // The SQLSTATE of a refused connection is in the message's verbose form only.
  PQsetErrorVerbosity(raw.pg, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(raw.pg, CollectNotice, &raw.notices);
  if (const char* password = PQpass(raw.pg); password != nullptr) raw.password = password;

  const nanoseconds deadline = SystemClock().Monotonic() + ConnectTimeout(keywords);
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (PQstatus(raw.pg) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
    if (state == PGRES_POLLING_FAILED) break;
    const auto left = deadline - SystemClock().Monotonic();
    const short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    FRESHET_TRY(const bool ready, raw.Wait(events, left, stop));
    if (!ready) {
      const char* host = PQhost(raw.pg);
      const char* port = PQport(raw.pg);
      return Fail(FromServer(
          {.sqlstate = "",
           .message = fmt::format("connection to '{}', port {}: timeout expired",
                                  host == nullptr ? "" : host, port == nullptr ? "" : port),
           .detail = "",
           .hint = ""}));
    }
    state = PQconnectPoll(raw.pg);
  }
  if (PQstatus(raw.pg) != CONNECTION_OK) {
    Error error =
        FromServer(ParseConnectFailure(ReadableText(PQerrorMessage(raw.pg), *raw.converter)));
    const std::string& password = raw.password;
    for (size_t at; !password.empty() && password.size() > 3 &&
                    (at = error.message.find(password)) != std::string::npos;) {
      error.message.replace(at, password.size(), "***");
    }
    return Fail(std::move(error));
  }
  PQsetErrorVerbosity(raw.pg, PQERRORS_DEFAULT);
  PQsetnonblocking(raw.pg, 1);

  FRESHET_TRY(raw.converter, TextConverter::Create(connection.parameter("server_encoding")));
  if (connection.server_version() < 100'000) {
    return Fail(ErrorKind::kUnsupported,
                "the server is PostgreSQL {}.{}; freshet needs 10 or newer; upgrade the server",
                connection.server_version() / 10'000, connection.server_version() / 100 % 100);
  }
  if (connection.server_major() >= 17) {
    FRESHET_RETURN_IF_ERROR(connection.Execute("SET transaction_timeout = 0", stop));
  }
  return connection;
}

int Connection::server_version() const { return PQserverVersion(impl_->pg); }
int Connection::backend_pid() const { return PQbackendPID(impl_->pg); }

bool Connection::over_unix_socket() const {
  const char* host = PQhost(impl_->pg);
  return host != nullptr && (host[0] == '/' || host[0] == '@');
}

bool Connection::encrypted() const {
  return PQsslInUse(impl_->pg) == 1 || PQgssEncInUse(impl_->pg) == 1;
}

const std::shared_ptr<TextConverter>& Connection::converter() const { return impl_->converter; }

std::string_view Connection::parameter(const char* name) const {
  const char* value = PQparameterStatus(impl_->pg, name);
  return value == nullptr ? std::string_view() : value;
}

Error Connection::LastError(const pg_result* result) const {
  const auto field = [&](int code) -> std::string {
    const char* text = result == nullptr ? nullptr : PQresultErrorField(result, code);
    return text == nullptr ? "" : ReadableText(text, *impl_->converter);
  };
  ServerFailure failure{.sqlstate = field(PG_DIAG_SQLSTATE),
                        .message = field(PG_DIAG_MESSAGE_PRIMARY),
                        .detail = field(PG_DIAG_MESSAGE_DETAIL),
                        .hint = field(PG_DIAG_MESSAGE_HINT)};
  if (failure.message.empty()) failure.message = PQerrorMessage(impl_->pg);
  return FromServer(failure);
}

Status Connection::Flush(std::stop_token stop) {
  for (;;) {
    const int left = PQflush(impl_->pg);
    if (left == 0) return {};
    if (left < 0) return Fail(LastError(nullptr));
    // The server may itself wait for us to read: take what it sends while we wait to write.
    FRESHET_TRY(const bool ready, impl_->Wait(POLLIN | POLLOUT, seconds(3600), stop));
    if (ready && PQconsumeInput(impl_->pg) == 0) return Fail(LastError(nullptr));
  }
}

Status Connection::Send(const std::string& sql) {
  int sent = 0;
  if (impl_->converter->keeps_bytes()) {
    sent = PQsendQuery(impl_->pg, sql.c_str());
  } else {
    FRESHET_TRY(const std::string encoded, impl_->converter->Encode(sql));
    sent = PQsendQuery(impl_->pg, encoded.c_str());
  }
  if (sent == 0) return Fail(LastError(nullptr));
  return Flush({});
}

Result<bool> Connection::AnswerWithin(nanoseconds timeout, std::stop_token stop) {
  const nanoseconds deadline = SystemClock().Monotonic() + timeout;
  while (PQisBusy(impl_->pg) != 0) {
    if (encrypted()) {  // see Consume()
      if (PQconsumeInput(impl_->pg) == 0) return Fail(LastError(nullptr));
      if (PQisBusy(impl_->pg) == 0) return true;
    }
    const auto left = deadline - SystemClock().Monotonic();
    if (left <= nanoseconds(0)) return false;
    FRESHET_TRY(const bool readable, impl_->Wait(POLLIN, left, stop));
    if (!readable) return false;
    if (PQconsumeInput(impl_->pg) == 0) return Fail(LastError(nullptr));
  }
  return true;
}

/// Takes all results of the statement under way and returns the last one, or the first error.
/// `expected_copy_status`: PGRES_COPY_OUT etc. when the statement is to start a COPY, else -1.
Result<Rows> Connection::ReceiveAll(int expected_copy_status, std::stop_token stop) {
  Rows last;
  std::optional<Error> error;
  for (;;) {
    auto answer = AnswerWithin(impl_->answer_timeout, stop);
    if (!answer.has_value()) {
      if (answer.error().kind == ErrorKind::kCancelled) Cancel();
      return Fail(std::move(answer).error());
    }
    if (!*answer) {
      impl_->timed_out = true;
      return Fail(ErrorKind::kUnavailable,
                  "the server has not answered for {} s; the network between is taken for broken, "
                  "and freshet connects anew",
                  std::chrono::duration_cast<seconds>(impl_->answer_timeout).count());
    }
    PGresult* result = PQgetResult(impl_->pg);
    if (result == nullptr) break;
    Rows rows(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
      if (!error.has_value()) error = LastError(result);
      if (PQstatus(impl_->pg) == CONNECTION_BAD) break;
      continue;
    }
    if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) {
      if (status == static_cast<ExecStatusType>(expected_copy_status)) return rows;
      if (expected_copy_status == PGRES_COPY_OUT && status == PGRES_COPY_BOTH) return rows;
      return Fail(ErrorKind::kFatal, "a COPY began where none was expected");
    }
    if (status == PGRES_TUPLES_OK && !impl_->converter->is_utf8()) {
      ConvertRows(result, *impl_->converter);
    }
    last = std::move(rows);
  }
  if (error.has_value()) return Fail(std::move(*error));
  if (expected_copy_status >= 0) return Fail(ErrorKind::kFatal, "the statement began no COPY");
  return last;
}

Result<Rows> Connection::Receive(std::stop_token stop) { return ReceiveAll(-1, stop); }

Result<Rows> Connection::Query(const std::string& sql, std::stop_token stop) {
  FRESHET_RETURN_IF_ERROR(Send(sql));
  return Receive(stop);
}

Result<Rows> Connection::Query(const std::string& sql, std::span<const std::string> parameters,
                               std::stop_token stop) {
  std::vector<std::string> encoded;
  for (const std::string& parameter : parameters) {
    FRESHET_TRY(encoded.emplace_back(), impl_->converter->Encode(parameter));
  }
  FRESHET_TRY(const std::string statement, impl_->converter->Encode(sql));
  std::vector<const char*> values;
  for (const std::string& parameter : encoded) values.push_back(parameter.c_str());
  const int sent = PQsendQueryParams(impl_->pg, statement.c_str(), static_cast<int>(values.size()),
                                     nullptr, values.data(), nullptr, nullptr, 0);
  if (sent == 0) return Fail(LastError(nullptr));
  FRESHET_RETURN_IF_ERROR(Flush(stop));
  return Receive(stop);
}

Status Connection::Execute(const std::string& sql, std::stop_token stop) {
  FRESHET_TRY([[maybe_unused]] const Rows rows, Query(sql, stop));
  return {};
}

void Connection::Cancel() {
  PGcancel* cancel = PQgetCancel(impl_->pg);
  if (cancel == nullptr) return;
  char ignored[256];  // a cancel that does not arrive changes nothing: the session is closed next
  PQcancel(cancel, ignored, sizeof(ignored));
  PQfreeCancel(cancel);
}

Status Connection::StartCopyOut(const std::string& sql, std::stop_token stop) {
  FRESHET_RETURN_IF_ERROR(Send(sql));
  FRESHET_TRY([[maybe_unused]] const Rows rows, ReceiveAll(PGRES_COPY_OUT, stop));
  return {};
}

Result<Connection::CopyRead> Connection::NextCopyMessage(CopyMessage& message) {
  char* data = nullptr;
  const int size = PQgetCopyData(impl_->pg, &data, 1);
  message.data_.reset(data);
  message.size_ = size > 0 ? static_cast<size_t>(size) : 0;
  if (size > 0) return CopyRead::kMessage;
  if (size == 0) return CopyRead::kEmpty;
  if (size == -1) return CopyRead::kEnd;
  return Fail(LastError(nullptr));
}

Status Connection::Consume() {
  if (PQconsumeInput(impl_->pg) == 0) return Fail(LastError(nullptr));
  return {};
}

Result<bool> Connection::ReadCopy(CopyMessage& message, std::stop_token stop) {
  bool wait = !encrypted();
  for (;;) {
    FRESHET_TRY(const CopyRead read, NextCopyMessage(message));
    if (read == CopyRead::kMessage) return true;
    if (read == CopyRead::kEnd) {
      FRESHET_TRY([[maybe_unused]] const Rows rows, Receive(stop));
      return false;
    }
    if (wait) {
      FRESHET_TRY([[maybe_unused]] const bool ready,
                  WaitReadable(std::chrono::hours(24 * 365), stop));
    }
    FRESHET_RETURN_IF_ERROR(Consume());
    wait = !encrypted() || !wait;
  }
}

Status Connection::StartCopyIn(const std::string& sql, std::stop_token stop) {
  FRESHET_RETURN_IF_ERROR(Send(sql));
  FRESHET_TRY([[maybe_unused]] const Rows rows, ReceiveAll(PGRES_COPY_IN, stop));
  return {};
}

Status Connection::PutCopy(std::span<const std::byte> bytes, std::stop_token stop) {
  CHECK(bytes.size() <= static_cast<size_t>(INT32_MAX));
  const int sent = PQputCopyData(impl_->pg, reinterpret_cast<const char*>(bytes.data()),
                                 static_cast<int>(bytes.size()));
  if (sent < 0) return Fail(LastError(nullptr));
  FRESHET_RETURN_IF_ERROR(Flush(stop));
  if (sent == 1) return {};
  // 0: the buffer was full before; it is empty now.
  if (PQputCopyData(impl_->pg, reinterpret_cast<const char*>(bytes.data()),
                    static_cast<int>(bytes.size())) != 1) {
    return Fail(LastError(nullptr));
  }
  return Flush(stop);
}

Result<int64_t> Connection::EndCopyIn(std::stop_token stop) {
  if (PQputCopyEnd(impl_->pg, nullptr) < 0) return Fail(LastError(nullptr));
  FRESHET_RETURN_IF_ERROR(Flush(stop));
  int64_t rows = 0;
  std::optional<Error> error;
  for (;;) {
    FRESHET_TRY([[maybe_unused]] const bool answered,
                AnswerWithin(std::chrono::hours(24 * 365), stop));
    PGresult* result = PQgetResult(impl_->pg);
    if (result == nullptr) break;
    const Rows owner(result);
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
      if (!error.has_value()) error = LastError(result);
      if (PQstatus(impl_->pg) == CONNECTION_BAD) break;
      continue;
    }
    const std::string_view count = PQcmdTuples(result);
    std::from_chars(count.data(), count.data() + count.size(), rows);
  }
  if (error.has_value()) return Fail(std::move(*error));
  return rows;
}

Result<bool> Connection::WaitReadable(nanoseconds timeout, std::stop_token stop) {
  return impl_->Wait(POLLIN, timeout, stop);
}

void Connection::LimitAnswers(nanoseconds timeout) { impl_->answer_timeout = timeout; }

bool Connection::timed_out() const { return impl_->timed_out; }

bool Connection::has_notices() const { return !impl_->notices.empty(); }

std::vector<std::string> Connection::TakeNotices() {
  std::vector<std::string> out = std::exchange(impl_->notices, {});
  for (std::string& notice : out) notice = ReadableText(notice, *impl_->converter);
  return out;
}

std::string Connection::QuoteIdentifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out + "\"";
}

std::string Connection::QuoteLiteral(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out.append(c == '\'' ? 2 : 1, c);
  return out + "'";  // standard_conforming_strings is on: a backslash is itself
}

}  // namespace freshet::postgres
