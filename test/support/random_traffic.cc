#include "support/random_traffic.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <random>
#include <utility>

#include "base/clock.h"
#include "postgres/connection.h"

namespace freshet::test {
namespace {

using postgres::Connection;
using std::chrono::milliseconds;

/// Long enough to be stored out of line.
constexpr int kLargeBytes = 2100;

/// Prepared transactions that one session leaves lying.
constexpr size_t kMostPrepared = 2;

/// The tables differ in what the server sends of old rows.
std::vector<std::string> Tables(int major) {
  std::vector<std::string> tables = {"public.docs", "public.docs_full", "public.docs_index"};
  if (major >= 13) tables.emplace_back("public.docs_part");
  return tables;
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int Below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(engine_); }
  bool Percent(int chance) { return Below(100) < chance; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace

/// What the threads share.
struct RandomTraffic::State {
  Options options;
  std::vector<std::string> tables;
  bool truncates = false;  ///< published from 11 on
  std::atomic<int64_t> commits = 0;
  std::atomic<int64_t> next_text = 1;
  std::atomic<int64_t> next_code = 1'000'000;  ///< rows that were there have lower ones
  mutable std::mutex mutex;
  std::string trouble;

  void Note(const Error& error) {
    const std::lock_guard lock(mutex);
    if (trouble.empty()) trouble = error.message;
  }
};

/// One session's life.
class RandomTraffic::Writer {
 public:
  Writer(Connection session, int number, State& state)
      : session_(std::move(session)),
        number_(number),
        state_(state),
        dice_(state.options.seed * 1000 + static_cast<uint64_t>(number)) {}

  /// Errors: kUnavailable (the session is lost).
  Status Work(const std::stop_token& stop) {
    FRESHET_RETURN_IF_ERROR(session_.Execute("SET lock_timeout = '50ms'"));
    FRESHET_TRY(const postgres::Rows most, session_.Query("SHOW max_prepared_transactions"));
    prepares_ = most.integer(0, 0) > 0;
    while (!stop.stop_requested()) {
      FRESHET_RETURN_IF_ERROR(Transaction());
      if (prepared_.size() > kMostPrepared || dice_.Percent(20)) {
        FRESHET_RETURN_IF_ERROR(EndPrepared());
      }
      // Makes room in blocks that were full, so that later updates move rows there.
      if (dice_.Percent(4)) {
        FRESHET_TRY([[maybe_unused]] const bool done, Try("VACUUM " + AnyTable()));
      }
    }
    while (!prepared_.empty()) FRESHET_RETURN_IF_ERROR(EndPrepared());
    return {};
  }

 private:
  Status Transaction() {
    FRESHET_TRY(bool good, Try("BEGIN"));
    const int statements = dice_.Percent(5) ? 60 : 1 + dice_.Below(6);
    bool savepoint = false;
    for (int i = 0; i < statements && good; ++i) {
      if (dice_.Percent(10)) {
        FRESHET_TRY(good, Try("SAVEPOINT s"));
        savepoint = true;
      } else if (savepoint && dice_.Percent(20)) {
        FRESHET_TRY(good, Try("ROLLBACK TO SAVEPOINT s"));
      } else {
        FRESHET_TRY(good, Try(Statement()));
        // A statement that failed takes no more than what came since the savepoint with it.
        if (!good && savepoint && dice_.Percent(50)) {
          FRESHET_TRY(good, Try("ROLLBACK TO SAVEPOINT s"));
        }
      }
    }
    if (!good || dice_.Percent(10)) return Must("ROLLBACK");
    if (prepares_ && dice_.Percent(15)) {
      const std::string name = fmt::format("w{}-{}", number_, ++last_prepared_);
      FRESHET_TRY(good, Try("PREPARE TRANSACTION '" + name + "'"));
      if (!good) return Must("ROLLBACK");
      prepared_.push_back(name);
      return {};
    }
    FRESHET_RETURN_IF_ERROR(Must("COMMIT"));
    ++state_.commits;
    return {};
  }

  Status EndPrepared() {
    if (prepared_.empty()) return {};
    const std::string name = prepared_.front();
    prepared_.pop_front();
    if (dice_.Percent(20)) return Must("ROLLBACK PREPARED '" + name + "'");
    ++state_.commits;
    return Must("COMMIT PREPARED '" + name + "'");
  }

  std::string Statement() {
    const std::string& table = AnyTable();
    const int key = dice_.Below(state_.options.keys);
    const int choice = dice_.Below(100);
    if (choice < 35) return Update(table, "title = " + Small(), key);
    if (choice < 45) return Update(table, "body = " + Large(), key);
    if (choice < 50) {
      return Update(table, fmt::format("title = {}, notes = {}", Small(), Large()), key);
    }
    if (choice < 55) return Update(table, "body = " + Small() + ", notes = NULL", key);
    if (choice < 65) return ChangeKey(table, key);
    if (choice < 70) {
      return fmt::format("UPDATE {} SET title = {} WHERE id % 37 = {}", table, Small(), key % 37);
    }
    if (choice < 85) {
      return fmt::format(
          "INSERT INTO {} (id, code, title, body, notes) VALUES ({}, {}, {}, {}, {})"
          " ON CONFLICT DO NOTHING",
          table, key, ++state_.next_code, Small(), Large(), dice_.Percent(50) ? Large() : Small());
    }
    if (choice < 99 || !state_.truncates || !dice_.Percent(10)) {
      return fmt::format("DELETE FROM {} WHERE id = {}", table, key);
    }
    return "TRUNCATE public.docs_full";
  }

  const std::string& AnyTable() {
    return state_.tables[static_cast<size_t>(dice_.Below(static_cast<int>(state_.tables.size())))];
  }

  static std::string Update(const std::string& table, const std::string& set, int key) {
    return fmt::format("UPDATE {} SET {} WHERE id = {}", table, set, key);
  }

  std::string ChangeKey(const std::string& table, int key) {
    const bool by_index = table == "public.docs_index";
    // Also what is not the identity though it is the primary key, and what is both.
    if (by_index && dice_.Percent(70)) {
      return Update(table, fmt::format("code = {}", ++state_.next_code), key);
    }
    const int new_key = dice_.Below(state_.options.keys);
    return fmt::format(
        "UPDATE {0} SET id = {1} WHERE id = {2} AND NOT EXISTS (SELECT FROM {0} WHERE id = {1})",
        table, new_key, key);
  }

  std::string Small() { return fmt::format("'small {}'", state_.next_text++); }
  std::string Large() {
    return fmt::format("'large {}{}'", state_.next_text++, std::string(kLargeBytes, '.'));
  }

  /// False when the server refuses the statement: a lock, a deadlock, a key that is there.
  Result<bool> Try(const std::string& sql) {
    const Status done = session_.Execute(sql);
    if (done.has_value()) return true;
    if (done.error().kind != ErrorKind::kUnavailable) return false;
    // The session is lost, unless the transaction is all that the server gave up.
    const Status still = session_.Execute("SELECT 1");
    if (!still.has_value() && still.error().kind == ErrorKind::kUnavailable) {
      return Fail(done.error());
    }
    return false;
  }

  Status Must(const std::string& sql) { return session_.Execute(sql); }

  Connection session_;
  const int number_;
  State& state_;
  Dice dice_;
  bool prepares_ = false;
  std::deque<std::string> prepared_;
  int last_prepared_ = 0;
};

std::vector<std::string> RandomTraffic::Settings() {
  return {"max_prepared_transactions = 50", "deadlock_timeout = '50ms'", "fsync = off",
          "wal_writer_delay = '10ms'"};
}

Status RandomTraffic::MakeTables(const PostgresServer& server, const std::string& database,
                                 int rows) {
  const std::string columns =
      "(id int PRIMARY KEY, code int NOT NULL, title text, body text, notes text, pad text NOT NULL"
      " DEFAULT repeat('.', 400))";
  std::string sql;
  for (const std::string& table : Tables(server.major())) {
    const bool parted = table == "public.docs_part";
    sql += "CREATE TABLE " + table + columns;
    if (parted) {
      sql += " PARTITION BY HASH (id);";
      for (int i = 0; i < 3; ++i) {
        sql += fmt::format(
            "CREATE TABLE {0}_{1} PARTITION OF {0} FOR VALUES WITH (MODULUS 3, REMAINDER {1});",
            table, i);
      }
    }
    sql += ";";
    // Not compressed: one large value is out of line, whatever it says.
    const int relations = parted ? 3 : 1;
    for (int i = 0; i < relations; ++i) {
      const std::string name = parted ? fmt::format("{}_{}", table, i) : table;
      sql += fmt::format(
          "ALTER TABLE {0} ALTER body SET STORAGE EXTERNAL, ALTER notes SET STORAGE EXTERNAL,"
          " ALTER pad SET STORAGE PLAIN;",
          name);
    }
    sql += fmt::format(
        "INSERT INTO {} (id, code, title, body, notes) SELECT g * 2, g, 'first ' || g,"
        " 'first ' || g || repeat('.', {}), 'first ' || g || repeat('.', {})"
        " FROM generate_series(1, {}) g;",
        table, kLargeBytes, kLargeBytes, rows);
  }
  sql +=
      "ALTER TABLE public.docs_full REPLICA IDENTITY FULL;"
      "CREATE UNIQUE INDEX docs_index_code ON public.docs_index (code);"
      "ALTER TABLE public.docs_index REPLICA IDENTITY USING INDEX docs_index_code;";
  return server.Run(sql, database);
}

RandomTraffic::RandomTraffic(const PostgresServer& server, const std::string& database,
                             const Options& options)
    : state_(std::make_unique<State>()) {
  state_->options = options;
  state_->tables = Tables(server.major());
  state_->truncates = server.major() >= 11;
  const Secret url = server.url(database);
  for (int i = 0; i < options.sessions; ++i) {
    writers_.emplace_back([this, url, i](std::stop_token stop) {
      auto session = Connection::Connect(url, {.application_name = "traffic", .settings = {}});
      if (!session.has_value()) return state_->Note(session.error());
      const Status done = Writer(std::move(*session), i, *state_).Work(stop);
      if (!done.has_value()) state_->Note(done.error());
    });
  }
  if (!options.late_commits) return;
  late_ = std::jthread([this, &server](std::stop_token stop) {
    Dice dice(state_->options.seed);
    const Clock& clock = SystemClock();
    // With a standby asked for that is not there, commits are written and wait.
    const auto ask_for = [&](const std::string& standby) {
      for (const std::string& sql :
           {"ALTER SYSTEM SET synchronous_standby_names = '" + standby + "'",
            std::string("SELECT pg_reload_conf()")}) {
        const Status done = server.Run(sql);
        if (!done.has_value()) state_->Note(done.error());
      }
    };
    while (!stop.stop_requested()) {
      ask_for("nobody");
      clock.WaitFor(milliseconds(dice.Percent(15) ? 500 + dice.Below(500) : dice.Below(100)), stop);
      ask_for("");
      clock.WaitFor(milliseconds(50 + dice.Below(150)), stop);
    }
  });
}

RandomTraffic::~RandomTraffic() {
  for (std::jthread& writer : writers_) writer.request_stop();
  for (std::jthread& writer : writers_) writer.join();
}

int64_t RandomTraffic::commits() const { return state_->commits; }

std::string RandomTraffic::trouble() const {
  const std::lock_guard lock(state_->mutex);
  return state_->trouble;
}

}  // namespace freshet::test
