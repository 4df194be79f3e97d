#include "postgres/server_error.h"

#include <algorithm>
#include <cctype>
#include <span>

namespace freshet::postgres {
namespace {

/// A class of failures: how it is recognised, what it means, how it is repaired.
struct Rule {
  std::string_view match;  ///< start of an SQLSTATE, or a piece of the text
  ErrorKind kind;
  std::string_view repair;
};

/// configuration_limit_exceeded: which limit is in the text only.
constexpr std::string_view kLimitReached = "53400";

constexpr std::string_view kTooLargeAsText =
    "a value is too large to be sent as text (a bytea above 512 MiB doubles in hex, a row must "
    "stay "
    "below 1 GiB); shorten it, or leave its column or table out (column lists: 15 and newer)";

/// By SQLSTATE; the longest match wins, so special codes stand before their class.
constexpr Rule kByState[] = {
    {"28P01", ErrorKind::kDenied,
     "check user and password (in the url, PGPASSWORD, or ~/.pgpass); to set one: ALTER ROLE name "
     "PASSWORD '...'"},
    {"28", ErrorKind::kDenied,
     "check that the role exists and may log in (CREATE ROLE name LOGIN REPLICATION) and that "
     "pg_hba.conf on the server admits this role, database and address"},
    {"3D000", ErrorKind::kNotFound, "correct the database in the url, or create it"},
    {"42501", ErrorKind::kDenied,
     "grant the right, or connect as a role that has it; `freshet check` lists what is needed"},
    {"53300", ErrorKind::kBusy,
     "free connections, or raise max_connections (for replication: max_wal_senders) and restart "
     "the server"},
    {kLimitReached, ErrorKind::kConfig, "raise the limit that is named; some need a restart"},
    {"53", ErrorKind::kUnavailable, "the server is out of disk or memory; make room there"},
    {"25P03", ErrorKind::kUnavailable, "the server ended an idle transaction; freshet tries again"},
    {"25P04", ErrorKind::kUnavailable, "the server ended a long transaction; freshet tries again"},
    {"57P01", ErrorKind::kUnavailable, "the server closed this session; freshet comes back"},
    {"57P02", ErrorKind::kUnavailable, "the server crashed and recovers; freshet comes back"},
    {"57P03", ErrorKind::kUnavailable, "the server starts up or shuts down; freshet comes back"},
    {"57", ErrorKind::kUnavailable, "somebody or a timeout cancelled this; freshet tries again"},
    {"08", ErrorKind::kUnavailable, "check the network between here and the server"},
    {"40", ErrorKind::kUnavailable, "the transaction met another one; freshet tries again"},
    {"55006", ErrorKind::kBusy,
     "stop the other user, or choose another slot name (SELECT slot_name, active_pid FROM "
     "pg_replication_slots)"},
    {"55P03", ErrorKind::kBusy, "somebody holds a lock; freshet tries again"},
    {"55000", ErrorKind::kConfig, "the server is not set up for this; run `freshet check`"},
    {"58P01", ErrorKind::kGap,
     "the server no longer has the WAL or file that is needed; the tables must be taken anew"},
    {"25006", ErrorKind::kConfig,
     "this is a standby or a read-only session; connect to the primary"},
    {"42704", ErrorKind::kNotFound, ""},
    {"42P01", ErrorKind::kNotFound, ""},
    {"42703", ErrorKind::kNotFound, ""},
    {"3F000", ErrorKind::kNotFound, ""},
    {"42710", ErrorKind::kConfig, "choose another name, or drop the one that is there"},
    {"0A000", ErrorKind::kUnsupported, ""},
    {"54000", ErrorKind::kUnsupported, kTooLargeAsText},
    {"22021", ErrorKind::kUnsupported, "the database holds text that is not valid UTF-8"},
    {"22P05", ErrorKind::kUnsupported, "the database holds text that has no UTF-8 form"},
};

/// By text, of kLimitReached.
constexpr Rule kByLimit[] = {
    {"replication slots", ErrorKind::kConfig,
     "raise max_replication_slots and restart the server, or drop a slot that nobody uses (SELECT "
     "slot_name, active FROM pg_replication_slots)"},
    {"temp_file_limit", ErrorKind::kConfig,
     "raise temp_file_limit for freshet's role (a superuser: ALTER ROLE name SET temp_file_limit = "
     "'...'), or have the server keep less at a time: lower catch_up_threshold, or catch_up: off"},
};

/// By text, where no server spoke or it gave no more than "internal error" (XX000). First match
/// wins.
constexpr Rule kByText[] = {
    {"invalid memory alloc request size", ErrorKind::kUnsupported, kTooLargeAsText},
    {"no password supplied", ErrorKind::kDenied,
     "give a password in the url, PGPASSWORD or ~/.pgpass"},
    {"Connection refused", ErrorKind::kUnavailable,
     "is PostgreSQL running there, listening on that address and port (listen_addresses, port)?"},
    {"No such file or directory", ErrorKind::kUnavailable,
     "no server listens on this unix socket; check host (unix_socket_directories) and port"},
    {"could not translate host name", ErrorKind::kUnavailable, "check the host name and DNS"},
    {"timeout expired", ErrorKind::kUnavailable,
     "nothing answers there; check host, port and firewalls, or raise connect_timeout in the url"},
    {"server does not support SSL", ErrorKind::kConfig,
     "turn ssl on at the server, or lower sslmode in the url"},
    {"certificate verify failed", ErrorKind::kDenied,
     "the server's certificate is not signed by sslrootcert; give the right one in the url"},
    {"does not match host name", ErrorKind::kDenied,
     "connect by a name in the server's certificate, or use sslmode=verify-ca"},
    {"root certificate file", ErrorKind::kConfig,
     "give sslrootcert in the url, or use sslmode=require"},
    {"certificate file", ErrorKind::kConfig, "check sslcert in the url"},
    {"private key file", ErrorKind::kConfig, "check sslkey in the url"},
    {"invalid sslmode", ErrorKind::kConfig, ""},
    {"invalid port number", ErrorKind::kConfig, ""},
    {"authentication method requirement", ErrorKind::kDenied, ""},
    {"SSL error", ErrorKind::kUnavailable,
     "check TLS versions and certificates on both sides (sslmode, ssl_min_protocol_version)"},
};

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space) {
      out.push_back(c);
    } else if (!out.empty() && out.back() != ' ') {
      out.push_back(' ');
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

const Rule* FindByText(std::span<const Rule> rules, const std::string& text) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) {
    return text.find(rule.match) != std::string::npos;
  });
  return found == rules.end() ? nullptr : &*found;
}

const Rule* Find(const ServerFailure& failure) {
  if (failure.sqlstate.empty() || failure.sqlstate == "XX000") {
    return FindByText(kByText, failure.message);
  }
  if (failure.sqlstate == kLimitReached) {
    const Rule* rule = FindByText(kByLimit, failure.message);
    if (rule != nullptr) return rule;
  }
  const Rule* best = nullptr;
  for (const Rule& rule : kByState) {
    const bool longer = best == nullptr || rule.match.size() > best->match.size();
    if (failure.sqlstate.starts_with(rule.match) && longer) best = &rule;
  }
  return best;
}

bool IsSqlState(std::string_view text) {
  return text.size() == 5 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isdigit(c) != 0 || std::isupper(c) != 0;
         });
}

}  // namespace

Error FromServer(const ServerFailure& failure) {
  const Rule* rule = Find(failure);
  // Without an SQLSTATE nobody answered: the connection is gone or was never there.
  const ErrorKind other = failure.sqlstate.empty() ? ErrorKind::kUnavailable : ErrorKind::kFatal;
  std::string message = OneLine(failure.message);
  if (!failure.sqlstate.empty()) message += " (SQLSTATE " + failure.sqlstate + ")";
  if (!failure.detail.empty()) message += "; " + OneLine(failure.detail);
  if (rule != nullptr && !rule->repair.empty()) {
    message.append("; ").append(rule->repair);
  } else if (!failure.hint.empty()) {
    message += "; " + OneLine(failure.hint);
  }
  return Error{rule == nullptr ? other : rule->kind, std::move(message)};
}

ServerFailure ParseConnectFailure(std::string_view text) {
  // With several hosts, one failure follows another: the last one is why libpq gave up.
  ServerFailure out;
  const size_t location = text.rfind("\nLOCATION:");
  std::string_view body = text.substr(0, location);
  constexpr std::string_view kMark = ":  ";  // after the severity, whatever its language
  for (size_t at = body.rfind(kMark); at != std::string_view::npos && at > 0;
       at = body.rfind(kMark, at - 1)) {
    const std::string_view state = body.substr(at + kMark.size(), 5);
    const size_t rest = at + kMark.size() + 5;
    if (!IsSqlState(state) || body.substr(rest, 2) != ": ") continue;
    out.sqlstate = std::string(state);
    std::string_view message = body.substr(rest + 2);
    out.message = std::string(message.substr(0, message.find('\n')));
    return out;
  }
  out.message = OneLine(body);
  return out;
}

}  // namespace freshet::postgres
