#include <arrow/record_batch.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "postgres/capture.h"
#include "postgres/connection.h"
#include "support/batches.h"
#include "support/memory_output.h"
#include "support/postgres_server.h"
#include "support/random_traffic.h"
#include "support/temporary_folder.h"

/// Tables without a key, whose rows are read while the stream goes on: as a whole, at a cut.
namespace freshet::postgres {
namespace {

using change::ChangeKind;
using change::Lsn;
using std::chrono::milliseconds;
using test::MemoryOutput;
using test::PostgresServer;
using test::RunningCapture;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr const char* kBag = "public.bag";

/// The rows of one table as a target without keys has them: how often each is there.
class Bag {
 public:
  void Apply(const change::ChangeBatch& batch, int32_t transaction) {
    for (const change::SnapshotProgress& step : batch.snapshots) {
      ledger_.Apply(step);
      if (step.step == change::SnapshotStep::kBegun && step.table == table_) rows_.clear();
    }
    for (const change::TableChanges& changes : batch.tables) {
      if (change::ToString(changes.schema->name()) != kBag) continue;
      table_ = changes.schema->id();
      for (int64_t row = 0; row < changes.num_rows(); ++row) {
        if (changes.transactions[static_cast<size_t>(row)] == transaction) Apply(changes, row);
      }
    }
  }

  /// Without rows that are there no times.
  std::map<std::string, int64_t> rows() const {
    std::map<std::string, int64_t> out = rows_;
    std::erase_if(out, [](const auto& each) { return each.second == 0; });
    return out;
  }

  /// Its rows were begun, and no table's are missing.
  bool whole() const { return table_ != change::TableId{} && ledger_.unfinished().empty(); }

 private:
  void Apply(const change::TableChanges& changes, int64_t row) {
    const ChangeKind kind = changes.kinds[static_cast<size_t>(row)];
    if (kind == ChangeKind::kTruncate) return rows_.clear();
    std::vector<std::string> values;
    for (int c = 0; c < changes.rows->num_columns(); ++c) {
      values.push_back(test::ValueText(*changes.rows->column(c), row));
    }
    if (kind == ChangeKind::kUpdatePostimage) {
      for (const change::UnchangedRows& u : changes.unchanged) {
        if (!std::binary_search(u.rows.begin(), u.rows.end(), row)) continue;
        values[static_cast<size_t>(u.column)] = preimage_.at(static_cast<size_t>(u.column));
      }
    }
    const bool removes = kind == ChangeKind::kDelete || kind == ChangeKind::kUpdatePreimage;
    rows_[fmt::format("{}", fmt::join(values, "|"))] += removes ? -1 : 1;
    preimage_ = std::move(values);
  }

  change::TableId table_;
  std::map<std::string, int64_t> rows_;
  std::vector<std::string> preimage_;
  change::SnapshotLedger ledger_;
};

/// Goes through what a capture said, a transaction at a time.
class Walk {
 public:
  explicit Walk(const MemoryOutput& output) : batches_(output.batches()) {}
  bool done() const { return at_ == batches_.size(); }
  const change::Transaction& next() const {
    return batches_[at_]->transactions[static_cast<size_t>(transaction_)];
  }
  void Step() {
    bag_.Apply(*batches_[at_], transaction_);
    if (static_cast<size_t>(++transaction_) < batches_[at_]->transactions.size()) return;
    transaction_ = 0;
    ++at_;
  }
  const Bag& bag() const { return bag_; }

 private:
  std::vector<std::shared_ptr<const change::ChangeBatch>> batches_;
  size_t at_ = 0;
  int32_t transaction_ = 0;
  Bag bag_;
};

/// Sessions that change the table at random: rows that are equal, some with values that are not
/// sent again when an update leaves them alone.
class Traffic {
 public:
  /// `truncates`: the server sends truncates (11+).
  Traffic(const Secret& url, int sessions, bool truncates) {
    for (int i = 0; i < sessions; ++i) {
      sessions_.emplace_back(
          [this, url, i, truncates](std::stop_token stop) { Write(url, i, truncates, stop); });
    }
  }
  ~Traffic() { sessions_.clear(); }

  int64_t commits() const { return commits_; }

 private:
  void Write(const Secret& url, int session, bool truncates, std::stop_token stop) {
    std::mt19937 dice(std::random_device{}());
    auto connection = Connection::Connect(url);
    ASSERT_TRUE(connection.has_value()) << connection.error();
    const auto some = [&](int n) {
      return fmt::format("ctid IN (SELECT ctid FROM public.bag ORDER BY random() LIMIT {})", n);
    };
    for (int64_t turn = 0; !stop.stop_requested(); ++turn) {
      const bool prepared = dice() % 12 == 0;
      std::string sql = "BEGIN;";
      for (uint64_t changes = 1 + dice() % 4; changes > 0; --changes) {
        const uint64_t what = dice() % 100;
        if (what < 40) {
          sql +=
              "INSERT INTO public.bag SELECT g % 7, CASE WHEN g % 5 = 0 THEN repeat('long', 900)"
              " || g % 3 END, g % 2 FROM generate_series(1, 10) g;";
        } else if (what < 65) {
          sql += "DELETE FROM public.bag WHERE " + some(7) + ";";
        } else if (what < 90) {
          sql += "UPDATE public.bag SET n = (n + 1) % 3 WHERE " + some(5) + ";";
        } else if (what < 97) {
          sql += "SAVEPOINT s; UPDATE public.bag SET k = -1 WHERE " + some(3) +
                 "; ROLLBACK TO SAVEPOINT s;";
        } else if (what < 98 && dice() % 4 == 0 && truncates) {
          sql += "TRUNCATE public.bag;";
        }
      }
      if (prepared) {
        sql += fmt::format("PREPARE TRANSACTION 'p{}_{}'", session, turn);
        if (!connection->Execute(sql).has_value()) {
          static_cast<void>(connection->Execute("ROLLBACK"));
          continue;
        }
        SystemClock().WaitFor(milliseconds(dice() % 20), {});
        sql = fmt::format("COMMIT PREPARED 'p{}_{}'", session, turn);
      } else {
        sql += dice() % 10 == 0 ? "ROLLBACK" : "COMMIT";
      }
      if (connection->Execute(sql).has_value()) {
        ++commits_;
      } else {  // a deadlock
        static_cast<void>(connection->Execute("ROLLBACK"));
      }
    }
  }

  std::atomic<int64_t> commits_{0};
  std::vector<std::jthread> sessions_;
};

class KeylessTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto server =
        PostgresServer::Start({.major = GetParam(), .settings = test::RandomTraffic::Settings()});
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = *std::move(server);
    Run("CREATE TABLE public.keyed (id int PRIMARY KEY, v text);"
        "CREATE TABLE public.bag (k int, v text, n int); ALTER TABLE public.bag ALTER v SET STORAGE"
        " EXTERNAL; ALTER TABLE public.bag REPLICA IDENTITY FULL");
  }

  void Run(const std::string& sql) {
    const Status status = server_->Run(sql);
    ASSERT_TRUE(status.has_value()) << status.error();
  }

  Lsn End() const {
    return change::ParseLsn(server_->Ask("SELECT pg_current_wal_insert_lsn()").value_or("0/0"))
        .value();
  }

  Options OptionsOf(const std::string& slot, std::vector<std::string> tables) const {
    Options options;
    options.url = server_->url();
    options.slot = options.publication = slot;
    options.tables = std::move(tables);
    options.batch_rows = 20;
    options.spool_folder = folder_ / ("spool_" + slot);
    return options;
  }

  /// A capture of the keyed table alone, which streams.
  void StartWithoutBag(const Options& options) {
    capture_ = std::make_unique<RunningCapture>(options, output_);
    ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  }

  /// Waits until its rows were read so many times.
  bool WaitUntilRead(int64_t times = 1) {
    const std::string id = server_->Ask("SELECT 'public.bag'::regclass::oid").value_or("0");
    return output_.WaitUntil([&] {
      int64_t finished = 0;
      for (const auto& batch : output_.batches()) {
        for (const change::SnapshotProgress& step : batch->snapshots) {
          const bool ends = step.step == change::SnapshotStep::kFinished;
          finished += ends && std::to_string(step.table.value) == id ? 1 : 0;
        }
      }
      return finished >= times || capture_->ended();
    }) && !capture_->ended();
  }

  std::vector<std::string> EventsOf(const std::string& table) const {
    std::vector<std::string> out;
    for (std::string& event : output_.Events()) {
      if (event.find(table + " ") != std::string::npos) out.push_back(std::move(event));
    }
    return out;
  }

  std::string WaitsFor() const {
    for (const SnapshotTable& table : capture_->status().snapshot) {
      if (table.name.table == "bag") return table.waits_for;
    }
    return "";
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<PostgresServer> server_;
  MemoryOutput output_;
  std::unique_ptr<RunningCapture> capture_;
};

/// At every position where both have all rows, the tested capture says what the witness does.
std::string Compare(const MemoryOutput& tested_output, const MemoryOutput& witness_output) {
  Walk tested(tested_output);
  Walk witness(witness_output);
  int64_t compared = 0;
  while (!tested.done()) {
    const change::Transaction next = tested.next();
    tested.Step();
    if (!next.ends) continue;
    while (!witness.done()) {
      const change::Transaction& other = witness.next();
      if (other.ends ? other.end_lsn > next.end_lsn : other.commit_lsn >= next.end_lsn) break;
      witness.Step();
    }
    // Behind the same commit more pieces may come.
    if (!tested.done() && tested.next().end_lsn == next.end_lsn) continue;
    if (!tested.bag().whole()) continue;
    ++compared;
    const auto is = tested.bag().rows();
    const auto ought = witness.bag().rows();
    if (is == ought) continue;
    std::string out = fmt::format("at {}:", change::ToString(next.end_lsn));
    for (const auto& [row, times] : is) {
      const auto at = ought.find(row);
      const int64_t wanted = at == ought.end() ? 0 : at->second;
      if (wanted != times)
        out += fmt::format("\n {} times, not {}: {}", times, wanted, row.substr(0, 30));
    }
    for (const auto& [row, times] : ought) {
      if (!is.contains(row)) out += fmt::format("\n 0 times, not {}: {}", times, row.substr(0, 30));
    }
    return out;
  }
  return compared < 20 ? fmt::format("only {} positions were compared", compared) : "";
}

TEST_P(KeylessTest, RowsAndChangesJoinExactlyUnderConcurrentWritersAndCrashes) {
  Run("INSERT INTO public.bag SELECT g % 10, CASE WHEN g % 4 = 0 THEN repeat('wide', 800) END, 0"
      " FROM generate_series(1, 3000) g");
  MemoryOutput truth;
  RunningCapture witness(OptionsOf("witness", {"public.*"}), truth);
  ASSERT_TRUE(witness.WaitForState(CaptureState::kStreaming)) << witness.status().reason;
  Options options = OptionsOf("tested", {"public.keyed"});
  options.snapshot_window.bytes = 256 << 10;  // what is held goes to files
  StartWithoutBag(options);
  {
    const Traffic traffic(server_->url(), 3, GetParam() >= 11);
    ASSERT_TRUE(output_.WaitUntil([&] { return traffic.commits() > 20; }));

    const Status chosen = capture_->capture().Reload({"public.*"}, {});
    ASSERT_TRUE(chosen.has_value()) << chosen.error();
    ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf(kBag).size() > 200; }));

    // A crash in the middle: it is begun anew, with another cut.
    output_.SetDurableAtOnce(false);
    ASSERT_TRUE(capture_->Stop().has_value());
    output_.LoseWhatIsNotDurable();
    output_.SetDurableAtOnce(true);
    options.tables = {"public.*"};
    capture_ = std::make_unique<RunningCapture>(options, output_);
    ASSERT_TRUE(WaitUntilRead()) << capture_->status().reason << WaitsFor();

    // Once more, over rows that are there.
    ASSERT_TRUE(capture_->capture().RequestSnapshot({"public", "bag"}, false).has_value());
    ASSERT_TRUE(WaitUntilRead(2)) << capture_->status().reason << WaitsFor();
    const int64_t commits = traffic.commits();
    ASSERT_TRUE(output_.WaitUntil([&] { return traffic.commits() > commits + 50; }));
  }
  const Lsn end = End();
  Run("INSERT INTO public.keyed VALUES (1, 'end')");
  for (const MemoryOutput* output : {&output_, &truth}) {
    ASSERT_TRUE(output_.WaitUntil([&] { return output->resume().appended.commit_end >= end; }));
  }
  EXPECT_EQ(Compare(output_, truth), "");
}

TEST_P(KeylessTest, OtherTablesGoOnWhileARunningWriterHoldsTheCutUpAndIsNamed) {
  Run("INSERT INTO public.bag VALUES (1, 'a', 1), (1, 'a', 1)");
  StartWithoutBag(OptionsOf("tested", {"public.keyed"}));
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.bag VALUES (2, 'b', 2)").has_value());

  ASSERT_TRUE(capture_->capture().Reload({"public.*"}, {}).has_value());

  const std::string pid = "pid " + std::to_string(writer->backend_pid());
  if (GetParam() > 12) {  // before, joining the publication waits for writers, too
    ASSERT_TRUE(output_.WaitUntil([&] { return WaitsFor().find(pid) != std::string::npos; }))
        << WaitsFor();
  }
  Run("INSERT INTO public.keyed VALUES (1, 'meanwhile')");
  ASSERT_TRUE(output_.WaitUntil([&] { return EventsOf("public.keyed").size() == 1; }));
  EXPECT_THAT(EventsOf(kBag), testing::IsEmpty());
  ASSERT_TRUE(writer->Execute("INSERT INTO public.bag VALUES (3, 'c', 3); COMMIT").has_value());
  ASSERT_TRUE(WaitUntilRead()) << WaitsFor();
  Run("DELETE FROM public.bag WHERE k = 2");
  ASSERT_TRUE(output_.WaitUntil([&] { return !EventsOf("delete public.bag").empty(); }));
  Walk walk(output_);
  while (!walk.done()) walk.Step();
  EXPECT_EQ(walk.bag().rows(), (std::map<std::string, int64_t>{{"1|a|1", 2}, {"3|c|3", 1}}));
  EXPECT_EQ(capture_->status().reconnects_total, 0);
}

TEST_P(KeylessTest, AFullSlotTableIsNamedWithItsRepairAndWaitedFor) {
  Run("INSERT INTO public.bag VALUES (1, 'a', 1)");
  StartWithoutBag(OptionsOf("tested", {"public.keyed"}));
  int made = 0;
  while (server_->Run(fmt::format("SELECT pg_create_physical_replication_slot('full_{}')", made))
             .has_value()) {
    ++made;
  }

  ASSERT_TRUE(capture_->capture().Reload({"public.*"}, {}).has_value());

  ASSERT_TRUE(output_.WaitUntil([&] {
    return WaitsFor().find("max_replication_slots") != std::string::npos;
  })) << WaitsFor();
  Run("SELECT pg_drop_replication_slot('full_0')");
  ASSERT_TRUE(WaitUntilRead()) << WaitsFor();
  EXPECT_THAT(EventsOf(kBag), Contains("snapshot public.bag 1 | a | 1"));
  EXPECT_EQ(server_->Ask("SELECT count(*) FROM pg_replication_slots WHERE temporary"), "0");
  EXPECT_FALSE(capture_->ended());
}

/// Rewritten after it was looked at it would look empty.
TEST_P(KeylessTest, ATableRewrittenWhileTheCutIsMadeIsReadAnew) {
  Run("INSERT INTO public.bag VALUES (1, 'a', 1)");
  StartWithoutBag(OptionsOf("tested", {"public.keyed"}));
  auto writer = Connection::Connect(server_->url());
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(writer->Execute("BEGIN; INSERT INTO public.keyed VALUES (2, 'b')").has_value());
  ASSERT_TRUE(capture_->capture().Reload({"public.*"}, {}).has_value());
  const std::string pid = "pid " + std::to_string(writer->backend_pid());
  ASSERT_TRUE(output_.WaitUntil([&] { return WaitsFor().find(pid) != std::string::npos; }))
      << WaitsFor();

  Run("ALTER TABLE public.bag ALTER n TYPE bigint");
  ASSERT_TRUE(writer->Execute("COMMIT").has_value());

  ASSERT_TRUE(WaitUntilRead()) << WaitsFor();
  EXPECT_EQ(EventsOf(kBag), std::vector<std::string>{"snapshot public.bag 1 | a | 1"});
}

TEST_P(KeylessTest, ATableThatJoinedIsNotReadAgainAfterARestart) {
  Run("INSERT INTO public.bag VALUES (1, 'a', 1)");
  StartWithoutBag(OptionsOf("tested", {"public.keyed"}));
  ASSERT_TRUE(capture_->capture().Reload({"public.*"}, {}).has_value());
  ASSERT_TRUE(WaitUntilRead()) << WaitsFor();
  ASSERT_TRUE(capture_->Stop().has_value());
  const size_t events = output_.Events().size();

  capture_ = std::make_unique<RunningCapture>(OptionsOf("tested", {"public.*"}), output_);
  ASSERT_TRUE(capture_->WaitForState(CaptureState::kStreaming)) << capture_->status().reason;
  Run("DELETE FROM public.bag");

  ASSERT_TRUE(output_.WaitUntil([&] { return output_.Events().size() > events; }));
  EXPECT_EQ(output_.Events().back(), "delete public.bag 1 | a | 1");
}

INSTANTIATE_TEST_SUITE_P(Majors, KeylessTest,
                         ::testing::ValuesIn(PostgresServer::InstalledMajors()),
                         [](const auto& tested) { return std::to_string(tested.param); });

}  // namespace
}  // namespace freshet::postgres
