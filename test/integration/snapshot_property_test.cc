#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "integration/program_fixture.h"
#include "postgres/capture.h"
#include "postgres/connection.h"
#include "support/batches.h"
#include "support/keyed_target.h"
#include "support/memory_output.h"
#include "support/postgres_server.h"
#include "support/random_traffic.h"

/// Chunks against the wildest traffic on real servers. Every run is another one; a failure prints
/// its seed, which repeats the traffic though not its timing: FRESHET_PROPERTY_SEED. How long it is
/// tried, in seconds a server: FRESHET_PROPERTY_SECONDS.
namespace freshet::postgres {
namespace {

using change::ChangeBatch;
using change::Lsn;
using std::chrono::milliseconds;
using test::KeyedTarget;
using test::MemoryOutput;
using test::PostgresServer;
using test::RandomTraffic;
using test::RunningCapture;

constexpr int kRows = 250;  ///< of each table
constexpr std::chrono::seconds kPatience{120};

uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Goes through the batches of a capture, a transaction at a time.
class Walk {
 public:
  explicit Walk(const MemoryOutput& output) : batches_(output.batches()) {}

  bool done() const { return at_ == batches_.size(); }
  const change::Transaction& next() const {
    return batches_[at_]->transactions[static_cast<size_t>(transaction_)];
  }

  /// Applies the next transaction, or part of one.
  void Step(std::set<KeyedTarget::RowId>& touched) {
    const ChangeBatch& batch = *batches_[at_];
    target_.Apply(batch, transaction_, touched);
    for (const change::SnapshotProgress& step : batch.snapshots) ledger_.Apply(step);
    if (static_cast<size_t>(++transaction_) < batch.transactions.size()) return;
    transaction_ = 0;
    ++at_;
  }

  const KeyedTarget& target() const { return target_; }

  /// Every table was begun and finished.
  bool finished() const { return !target_.tables().empty() && ledger_.unfinished().empty(); }

 private:
  std::vector<std::shared_ptr<const ChangeBatch>> batches_;
  size_t at_ = 0;
  int32_t transaction_ = 0;
  KeyedTarget target_;
  change::SnapshotLedger ledger_;
};

std::string Short(const std::optional<std::string>& value) {
  return value.has_value() ? "'" + value->substr(0, 40) + "'" : "nothing";
}

/// What of a row is wrong. Before the snapshot is `finished`, it may be missing, or values of it.
std::string Difference(const KeyedTarget& target, const KeyedTarget& truth,
                       const KeyedTarget::RowId& id, bool finished) {
  const KeyedTarget::Row* given = target.Find(id);
  const KeyedTarget::Row* wanted = truth.Find(id);
  const std::string name = fmt::format("{} row {}", id.first, fmt::join(id.second, ","));
  if (given == nullptr && (wanted == nullptr || !finished)) return "";
  if (given == nullptr) return name + " is not in the target";
  if (wanted == nullptr) return name + " is not in the source";
  for (size_t c = 0; c < wanted->size(); ++c) {
    if (!(*given)[c].has_value() && !finished) continue;
    if ((*given)[c] == (*wanted)[c]) continue;
    return fmt::format("{} has {} in column {}, the source {}", name, Short((*given)[c]), c,
                       Short((*wanted)[c]));
  }
  return "";
}

class SnapshotPropertyTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto server =
        PostgresServer::Start({.major = GetParam(), .settings = RandomTraffic::Settings()});
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = std::move(server).value();
  }

  Options OptionsOf(const std::string& slot) const {
    Options options;
    options.url = server_->url(database_);
    options.slot = slot;
    options.tables = {"public.*"};
    options.snapshot_chunk_size.bytes = 8192;  // a block
    options.snapshot_workers = 3;
    options.batch_rows = 50;
    return options;
  }

  static bool Until(const std::function<bool()>& reached) {
    const Clock& clock = SystemClock();
    const auto deadline = clock.Monotonic() + kPatience;
    while (!reached()) {
      if (clock.Monotonic() > deadline) return false;
      clock.WaitFor(milliseconds(5), {});
    }
    return true;
  }

  /// A position that everything committed so far is behind.
  static bool HasReached(const MemoryOutput& output, Lsn end) {
    return output.resume().appended.commit_end >= end;
  }

  static bool Finished(const MemoryOutput& output, size_t tables) {
    const ResumePoint resume = output.resume();
    std::set<change::TableId> known(resume.tables.begin(), resume.tables.end());
    return known.size() >= tables && resume.snapshots.unfinished().empty();
  }

  size_t CountTables() const {
    return std::stoul(server_
                          ->Ask("SELECT count(*) FROM pg_class WHERE relnamespace ="
                                " 'public'::regnamespace AND relkind IN ('r', 'p')"
                                " AND NOT relispartition",
                                database_)
                          .value());
  }

  void OneRun(uint64_t seed);
  std::string Compare(const MemoryOutput& output, const MemoryOutput& truth);
  std::string CompareWithSource(const KeyedTarget& target) const;

  std::unique_ptr<PostgresServer> server_;
  std::string database_;
  int64_t runs_ = 0;
  int64_t positions_ = 0;  ///< compared behind a snapshot, over all runs
  int64_t patches_ = 0;    ///< rows of chunks that the stream had changed in part
};

/// What a capture said of a key, for the one who has to find out why it was wrong.
std::string History(const MemoryOutput& output, const KeyedTarget::RowId& id) {
  std::string out;
  for (const auto& batch : output.batches()) {
    for (const change::TableChanges& changes : batch->tables) {
      if (change::ToString(changes.schema->name()) != id.first) continue;
      for (int64_t r = 0; r < changes.num_rows(); ++r) {
        const auto at = static_cast<size_t>(r);
        const auto& transaction =
            batch->transactions[static_cast<size_t>(changes.transactions[at])];
        std::string line;
        bool same_key = true;
        for (size_t k = 0; k < id.second.size(); ++k) {
          const int column = changes.schema->key_columns()[k];
          same_key = same_key && test::ValueText(*changes.rows->column(column), r) == id.second[k];
        }
        if (!same_key && changes.kinds[at] != change::ChangeKind::kTruncate) continue;
        for (int c = 0; c < changes.rows->num_columns(); ++c) {
          std::string value = test::ValueText(*changes.rows->column(c), r).substr(0, 16);
          for (const change::UnchangedRows& u : changes.unchanged) {
            if (u.column == c && std::binary_search(u.rows.begin(), u.rows.end(), r)) value = "~";
          }
          line += " " + value;
        }
        out += fmt::format("\n  {}+{} xid {} {}{}", change::ToString(transaction.end_lsn),
                           transaction.ordinal, transaction.xid.value,
                           change::ChangeKindName(changes.kinds[at]), line);
      }
    }
  }
  return out;
}

int64_t CountPatches(const MemoryOutput& output) {
  int64_t count = 0;
  for (const auto& batch : output.batches()) {
    if (batch->transactions.front().kind != change::TransactionKind::kSnapshot) continue;
    for (const change::TableChanges& changes : batch->tables) {
      std::set<int64_t> rows;
      for (const change::UnchangedRows& u : changes.unchanged) {
        rows.insert(u.rows.begin(), u.rows.end());
      }
      count += std::ssize(rows);
    }
  }
  return count;
}

/// The transaction, or the one it is a part of, ends at or before `end`, where one does.
bool EndsBy(const change::Transaction& transaction, Lsn end) {
  return transaction.ends ? transaction.end_lsn <= end : transaction.commit_lsn < end;
}

/// At every position the target is what the truth is there.
std::string SnapshotPropertyTest::Compare(const MemoryOutput& output, const MemoryOutput& truth) {
  Walk tested(output);
  Walk wanted(truth);
  bool finished = false;
  int64_t positions = 0;
  while (!tested.done()) {
    std::set<KeyedTarget::RowId> touched;
    const bool ends = tested.next().ends;
    const Lsn end = tested.next().end_lsn;
    tested.Step(touched);
    if (!ends) continue;
    while (!wanted.done() && EndsBy(wanted.next(), end)) wanted.Step(touched);
    if (!finished && tested.finished()) {
      finished = true;
      touched = wanted.target().AllRows();
      touched.merge(tested.target().AllRows());
    }
    positions += finished ? 1 : 0;
    for (const KeyedTarget::RowId& id : touched) {
      const std::string wrong = Difference(tested.target(), wanted.target(), id, finished);
      if (wrong.empty()) continue;
      return fmt::format("{} at {}, {}. It was told:{}\nThe witness was told:{}", wrong,
                         change::ToString(end), finished ? "behind the snapshot" : "in it",
                         History(output, id), History(truth, id));
    }
  }
  if (!finished) return "the snapshot did not end";
  if (positions < 10) return "hardly anything came behind the snapshot";
  positions_ += positions;
  patches_ += CountPatches(output);
  ++runs_;
  return CompareWithSource(tested.target());
}

std::string SnapshotPropertyTest::CompareWithSource(const KeyedTarget& target) const {
  for (const auto& [table, rows] : target.tables()) {
    std::string text;
    for (const auto& [key, row] : rows) {
      for (const auto& value : row) text += value.value_or("nothing") + "|";
      text += "\n";
    }
    const std::string key = table == "public.docs_index" ? "code" : "id";
    const auto source = server_->Ask(
        fmt::format("SELECT coalesce(string_agg(concat(id, '|', code, '|', coalesce(title, 'NULL'),"
                    " '|', coalesce(body, 'NULL'), '|', coalesce(notes, 'NULL'), '|', pad, '|',"
                    " E'\\n'), '' ORDER BY {}::text COLLATE \"C\"), '') FROM {}",
                    key, table),
        database_);
    if (!source.has_value()) return source.error().message;
    if (*source != text) return table + " is not what the source has at the end";
  }
  return "";
}

void SnapshotPropertyTest::OneRun(uint64_t seed) {
  SCOPED_TRACE(fmt::format("FRESHET_PROPERTY_SEED={}", seed));
  std::mt19937_64 dice(seed);
  database_ = fmt::format("run{}", seed);
  ASSERT_TRUE(server_->Run("CREATE DATABASE " + database_).has_value());
  const Status made = RandomTraffic::MakeTables(*server_, database_, kRows);
  ASSERT_TRUE(made.has_value()) << made.error();
  const size_t tables = CountTables();

  // What another capture tells that took the tables while nobody wrote.
  MemoryOutput truth;
  Options quiet = OptionsOf(database_ + "_truth");
  quiet.snapshot_chunk_size = Options().snapshot_chunk_size;
  RunningCapture witness(quiet, truth);
  ASSERT_TRUE(Until([&] { return Finished(truth, tables) || witness.ended(); }));
  ASSERT_FALSE(witness.ended()) << witness.Stop().error();

  MemoryOutput output;
  std::unique_ptr<RunningCapture> capture;
  {
    RandomTraffic traffic(*server_, database_, {.seed = seed, .keys = 2 * kRows});
    ASSERT_TRUE(Until([&] { return traffic.commits() > 20; })) << traffic.trouble();
    const int crashes = static_cast<int>(dice() % 4);
    for (int i = 0; i <= crashes; ++i) {
      capture = std::make_unique<RunningCapture>(OptionsOf(database_), output);
      if (i == crashes) break;
      const size_t more = output.batches().size() + 1 + dice() % 150;
      ASSERT_TRUE(Until([&] { return output.batches().size() > more || capture->ended(); }));
      (void)capture->Stop();
      output.LoseWhatIsNotDurable();
    }
    ASSERT_TRUE(Until([&] { return Finished(output, tables) || capture->ended(); }))
        << capture->status().reason;
    const int64_t finished_at = traffic.commits();
    ASSERT_TRUE(Until([&] { return traffic.commits() > finished_at + 60; })) << traffic.trouble();
    EXPECT_EQ(traffic.trouble(), "");
  }
  ASSERT_FALSE(capture->ended()) << capture->Stop().error();
  ASSERT_TRUE(
      server_->Run("INSERT INTO public.docs (id, code) VALUES (-1, -1)", database_).has_value());
  const auto end = change::ParseLsn(server_->Ask("SELECT pg_current_wal_flush_lsn()").value());
  ASSERT_TRUE(Until([&] { return HasReached(output, *end) && HasReached(truth, *end); }));

  (void)capture->Stop();
  (void)witness.Stop();
  const std::string wrong = Compare(output, truth);
  EXPECT_TRUE(wrong.empty()) << wrong;
  for (const std::string& slot : {database_, database_ + "_truth"}) {
    ASSERT_TRUE(Until([&] {
      return server_->Run("SELECT pg_drop_replication_slot('" + slot + "')").has_value();
    }));
  }
}

TEST_P(SnapshotPropertyTest, TheTargetIsTheSourceAtEveryPositionBehindTheSnapshot) {
  const Clock& clock = SystemClock();
  const auto enough = clock.Monotonic() +
                      std::chrono::seconds(NumberFromEnvironment("FRESHET_PROPERTY_SECONDS", 1));
  uint64_t seed = NumberFromEnvironment("FRESHET_PROPERTY_SEED", std::random_device()());
  do {
    OneRun(seed++);
  } while (!HasFailure() && clock.Monotonic() < enough);
  fmt::print("{} runs, {} positions compared, {} rows of chunks patched\n", runs_, positions_,
             patches_);
}

/// What was streamed before a restart is not remembered. If it waits in its commit, readers do not
/// see it yet, and their rows would undo it.
TEST_P(SnapshotPropertyTest, ATransactionStreamedBeforeARestartIsWaitedForUntilItIsVisible) {
  database_ = "postgres";
  const auto run = [&](const std::string& sql) {
    const Status done = server_->Run(sql);
    ASSERT_TRUE(done.has_value()) << done.error();
  };
  const auto ask_for_standby = [&](const std::string& name) {
    run("ALTER SYSTEM SET synchronous_standby_names = '" + name + "'");
    run("SELECT pg_reload_conf()");
  };
  run("CREATE TABLE public.t (id int PRIMARY KEY, v text);"
      "CREATE TABLE public.other (id int PRIMARY KEY)");
  run("INSERT INTO public.t VALUES (1, 'old'), (2, 'old')");
  auto blocker = Connection::Connect(server_->url());
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(blocker.has_value() && writer.has_value());
  MemoryOutput output;
  // So that the snapshot does not begin before the restart.
  bool blocks = false;
  output.OnSource([&](const change::SourceIdentity& source) {
    if (source.consistent_point == Lsn{} || std::exchange(blocks, true)) return;
    EXPECT_TRUE(blocker->Execute("BEGIN; INSERT INTO public.other VALUES (1)").has_value());
  });
  {
    RunningCapture capture(OptionsOf("late"), output);
    ASSERT_TRUE(Until([&] { return output.resume().snapshots.unfinished().size() == 2; }));
    ask_for_standby("nobody");
    // The server takes the setting up in its own time: updates go through until it has.
    ASSERT_TRUE(Until([&] {
      if (!writer->Send("UPDATE public.t SET v = v || '.' WHERE id = 1").has_value()) return true;
      const auto answered = writer->AnswerWithin(milliseconds(300), {});
      if (!answered.value_or(false)) return true;
      return !writer->Receive().has_value();
    }));
    ASSERT_EQ(server_
                  ->Ask("SELECT wait_event FROM pg_stat_activity WHERE pid = " +
                        std::to_string(writer->backend_pid()))
                  .value(),
              "SyncRep");
    ASSERT_TRUE(Until([&] {
      const auto xid = server_->Ask("SELECT backend_xid FROM pg_stat_activity WHERE pid = " +
                                    std::to_string(writer->backend_pid()));
      const auto all = output.transactions();
      return std::any_of(all.begin(), all.end(), [&](const change::Transaction& each) {
        return std::to_string(each.xid.value) == xid.value_or("");
      });
    }));
    (void)capture.Stop();
  }
  ASSERT_TRUE(blocker->Execute("ROLLBACK").has_value());

  RunningCapture capture(OptionsOf("late"), output);
  EXPECT_TRUE(Until([&] {
    const auto tables = capture.status().snapshot;
    return capture.ended() || std::any_of(tables.begin(), tables.end(), [](const auto& table) {
             return !table.waits_for.empty();
           });
  }));
  ask_for_standby("");
  EXPECT_TRUE(writer->Receive().has_value());
  ASSERT_TRUE(Until([&] { return capture.ended() || Finished(output, 2); }));
  (void)capture.Stop();

  Walk walk(output);
  std::set<KeyedTarget::RowId> touched;
  while (!walk.done()) walk.Step(touched);
  const auto value = [&](const char* key) {
    return walk.target().Find({"public.t", {key}})->at(1).value_or("nothing");
  };
  EXPECT_EQ(value("1"), server_->Ask("SELECT v FROM public.t WHERE id = 1").value())
      << testing::PrintToString(output.Events());
  EXPECT_EQ(value("2"), "old");
}

/// The same traffic on the program, which is killed at bad moments, and on targets on disk.
class KilledSnapshotTest : public test::ProgramTest {};

TEST_P(KilledSnapshotTest, GoesOnAndEndsEqual) {
  const uint64_t seed = NumberFromEnvironment("FRESHET_PROPERTY_SEED", std::random_device()());
  SCOPED_TRACE(fmt::format("FRESHET_PROPERTY_SEED={}", seed));
  std::mt19937_64 dice(seed);
  const Status made = RandomTraffic::MakeTables(*server_, name_, kRows);
  ASSERT_TRUE(made.has_value()) << made.error();
  config_.source = ", snapshot_chunk_size: 8KiB";
  config_.sinks = fmt::format(
      "{{ mirror: {{ duckdb: {{ path: '{0}' }}, mode: upsert, flush: {{ interval: 50ms }} "
      "}}, changelog: {{ duckdb: {{ path: '{1}' }}, mode: append }} }}",
      folder_ / "mirror.duckdb", folder_ / "changelog.duckdb");
  const char* const failpoints[] = {"after_append", "after_fsync", "before_sink_commit",
                                    "after_sink_commit"};
  {
    const RandomTraffic traffic(*server_, name_, {.seed = seed, .keys = 2 * kRows});
    for (int i = 0; i < 3; ++i) {
      const auto program = test::Program::Start(
          {.arguments = {FRESHET_PROGRAM, "run", "-c", WriteConfig()},
           .environment = {
               fmt::format("FRESHET_FAILPOINT={}:{}", failpoints[dice() % 4], 1 + dice() % 20)}});
      const auto code = program->WaitExit(std::chrono::seconds(5));
      if (!code.has_value()) program->Signal(SIGKILL);
      ASSERT_EQ(program->WaitExit(), 128 + SIGKILL) << program->err();
    }
    EXPECT_EQ(traffic.trouble(), "");
  }

  CatchUp();
  ExpectEqual();
}

std::vector<int> OldestAndNewest() {
  std::vector<int> majors = PostgresServer::InstalledMajors();
  if (majors.size() > 2) majors.erase(majors.begin() + 1, majors.end() - 1);
  return majors;
}

INSTANTIATE_TEST_SUITE_P(Majors, KilledSnapshotTest, ::testing::ValuesIn(OldestAndNewest()),
                         [](const auto& tested) { return std::to_string(tested.param); });

INSTANTIATE_TEST_SUITE_P(Majors, SnapshotPropertyTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
