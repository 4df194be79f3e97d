#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "integration/program_fixture.h"

namespace freshet::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Exit codes of docs/cli.md.
enum Code : int {
  kOk = 0,
  kUsage = 2,
  kUnavailable = 4,
  kBusy = 5,
  kDenied = 6,
  kNotFound = 7,
  kCorrupt = 10,
  kGap = 11,
  kNoSpace = 12,
};

/// What stands between a user and a running pipeline. Each case: one message that names cause and
/// repair, the documented exit code, and nothing lost once it is repaired.
class BadInputTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    Run("CREATE TABLE public.orders (id int PRIMARY KEY, status text);"
        "INSERT INTO public.orders VALUES (1, 'old')");
  }

  /// `run` ends with `code` and one line that says why and holds every part.
  void ExpectRunSays(Code code, const std::vector<std::string>& parts) {
    const Finished run = OnConfig({"run"});
    ExpectSays(run, code, parts);
  }

  static void ExpectSays(const Finished& run, Code code, const std::vector<std::string>& parts) {
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_EQ(std::count(run.message.begin(), run.message.end(), '\n'), 1) << run.err;
    for (const std::string& part : parts) EXPECT_THAT(run.message, HasSubstr(part));
    EXPECT_EQ(run.err.find(" error "), std::string::npos) << "said twice: " << run.err;
    RecordProperty("message", run.message);
  }

  /// `check` ends with `code` and its check `name` fails, with a text that holds every part.
  void ExpectCheckSays(Code code, const std::string& name, const std::vector<std::string>& parts) {
    const Finished check = OnConfig({"check", "--output", "json"});
    EXPECT_EQ(check.exit_code, code) << check.out;
    const json answer = json::parse(check.out, nullptr, false);
    std::string said;
    for (const json& one : answer["checks"]) {
      if (one["name"] != name || one["result"] != "fail") continue;
      said = one["found"].get<std::string>() + " | " + one["repair"].get<std::string>();
    }
    for (const std::string& part : parts) EXPECT_THAT(said, HasSubstr(part)) << check.out;
  }

  void ExpectCheckIsGood() {
    const Finished check = OnConfig({"check"});
    EXPECT_EQ(check.exit_code, kOk) << check.out;
  }

  /// The repaired pipeline has lost nothing: it goes on, and source and target are equal.
  void ExpectNothingLost() {
    Run("UPDATE public.orders SET status = status || '+'");
    CatchUp();
    ExpectEqual();
  }

  /// One sink of each kind that keeps rows.
  std::string EverySink() const {
    return "{ mirror: { duckdb: { path: '" + Warehouse() +
           "' }, mode: upsert }, changelog: { duckdb: { path: '" + (folder_ / "log.duckdb") +
           "' }, mode: append }, lake: { files: { url: '" + (folder_ / "lake") + "' } } }";
  }

  std::string LogPath() const { return folder_ / "log"; }

  /// The log's segments in their order.
  std::vector<std::string> Segments() const {
    std::vector<std::string> out;
    for (const std::string& file : FilesBelow(LogPath())) {
      if (file.ends_with(".segment")) out.push_back(LogPath() + "/" + file);
    }
    return out;
  }

  /// A log of several segments, and a target that has it all.
  void FillLog() {
    config_.log = "{ path: '" + LogPath() + "', segment_size: 4KiB }";
    for (int i = 0; i < 20; ++i) {
      Run("INSERT INTO public.orders SELECT 100 + " + std::to_string(i) +
          " * 10 + g, repeat('x', 100) FROM generate_series(0, 9) g");
      if (i % 5 == 0) CatchUp();
    }
    CatchUp();
    ASSERT_GE(Segments().size(), 4U);
  }
};

/// Turns one byte in the middle of a file over.
void Flip(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(fs::file_size(path) / 2);
  file.seekg(middle);
  const int byte = file.get();
  file.seekp(middle);
  file.put(static_cast<char>(~byte));
  ASSERT_TRUE(file.good());
}

// ---- configuration --------------------------------------------------------------------------

TEST_P(BadInputTest, EveryErrorOfTheConfigurationIsSaidAtOnceWithItsLine) {
  const std::string path = folder_ / "bad.yaml";
  WriteText(path,
            "source:\n"
            "  postgres: { url: \"\", tables: [], slot: My-Slot, snapshto: never }\n"
            "log: { path: ./log, budget: 10XB }\n"
            "sinks: { warehouse: { duckdb: { path: '' }, mode: upsertt } }\n");

  for (const char* command : {"run", "check"}) {
    const Finished finished = Freshet({command, "-c", path});

    EXPECT_EQ(finished.exit_code, kUsage);
    for (const char* part :
         {"bad.yaml:2:20: 'source.postgres.url' is empty", "'source.postgres.tables' is empty",
          "'source.postgres.slot' must be 1 to 63 lower-case", "did you mean 'snapshot'?",
          "bad.yaml:3:29: 'log.budget' is '10XB'",
          "bad.yaml:4:39: 'sinks.warehouse.duckdb.path' is empty", "one of: upsert, append"}) {
      EXPECT_THAT(finished.message, HasSubstr(part));
    }
    EXPECT_EQ(std::count(finished.message.begin(), finished.message.end(), '\n'), 8);
  }
}

TEST_P(BadInputTest, AUrlThatCannotBeReadIsSaidWithItsLineAndNotRepeated) {
  config_.url = "postgres://me:hunter2@[::1/shop";

  const Finished run = OnConfig({"run"});

  EXPECT_EQ(run.exit_code, kUsage);
  EXPECT_THAT(run.message, AllOf(HasSubstr("freshet.yaml:2:"), HasSubstr("write postgres://")));
  EXPECT_EQ(run.err.find("hunter2"), std::string::npos);
}

// ---- server ---------------------------------------------------------------------------------

/// A server that is away and things that others hold may come back by themselves: a start waits a
/// while before it gives up. The three waits run side by side.
TEST_P(BadInputTest, WhatMayComeBackIsWaitedForAndThenNamed) {
  CatchUp();
  const Config mine = config_;
  const auto run = StartRun();
  ASSERT_TRUE(Eventually([&] {
    return Ask("SELECT active FROM pg_replication_slots WHERE slot_name = '" + name_ + "'") ==
               "t" &&
           Query("SELECT count(*) FROM public.orders") == "1";
  }));

  config_.listen = "127.0.0.1:0";
  config_.log = "{ path: '" + (folder_ / "other_log") + "' }";
  config_.source = ", snapshot: never";
  config_.sinks = "{ nothing: { discard: {} } }";
  const auto slot = Start({"run", "-c", WriteConfig("slot.yaml")});
  ExpectCheckSays(kBusy, "slot", {"in use by the walsender with pid", "choose another name"});

  config_.slot = name_ + "_2";
  config_.sinks = mine.sinks;
  config_.log = "{ path: '" + (folder_ / "third_log") + "' }";
  const auto file = Start({"run", "-c", WriteConfig("file.yaml")});
  ExpectCheckSays(kBusy, "sink warehouse", {"Conflicting lock", std::to_string(run->pid())});

  config_.url = "postgres://postgres@127.0.0.1:1/shop";
  config_.sinks = "{ nothing: { discard: {} } }";
  config_.log = "{ path: '" + (folder_ / "fourth_log") + "' }";
  const auto server = Start({"run", "-c", WriteConfig("server.yaml")});
  ExpectCheckSays(kUnavailable, "connection", {"Connection refused", "is PostgreSQL running"});

  ExpectSays(End(*slot), kBusy, {"in use by the walsender with pid", "stop the other program"});
  ExpectSays(End(*file), kBusy, {Warehouse(), "Conflicting lock", "stop that process"});
  ExpectSays(End(*server), kUnavailable, {"127.0.0.1", "Connection refused", "port"});
  EXPECT_TRUE(run->Running());
  run->Signal(SIGTERM);
  EXPECT_EQ(run->WaitExit(), 0);
  config_ = mine;
  ExpectNothingLost();
  static_cast<void>(
      server_->Run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "
                   "slot_name = '" +
                   name_ + "_2'"));
}

class BadServerTest : public BadInputTest {
 protected:
  /// Moves the test to a server of its own.
  void UseServer(const std::vector<std::string>& settings) {
    auto own = PostgresServer::Start({.major = GetParam(), .settings = settings});
    ASSERT_TRUE(own.has_value()) << own.error();
    own_ = *std::move(own);
    config_.url = own_->url().Reveal();
    Sql("CREATE TABLE public.orders (id int PRIMARY KEY, status text);"
        "INSERT INTO public.orders VALUES (1, 'old')");
  }

  void Sql(const std::string& sql) {
    const Status done = own_->Run(sql);
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  void ExpectNothingLostThere() {
    Sql("UPDATE public.orders SET status = status || '+'");
    CatchUp();
    ExpectEqual();
  }

  std::unique_ptr<PostgresServer> own_;
};

TEST_P(BadServerTest, RefusalsOfTheServerAreNamed) {
  UseServer({});
  Sql("CREATE ROLE unwanted LOGIN REPLICATION; CREATE ROLE knowing LOGIN SUPERUSER PASSWORD "
      "'right'");
  WriteText(own_->folder() + "/data/pg_hba.conf",
            "local all all trust\nhost all unwanted 127.0.0.1/32 reject\n"
            "host all knowing 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n");
  Sql("SELECT pg_reload_conf()");

  config_.url = own_->url("postgres", "unwanted").Reveal();
  ExpectRunSays(kDenied, {"unwanted", "pg_hba.conf"});
  ExpectCheckSays(kDenied, "connection", {"pg_hba.conf"});

  config_.url = "postgres://knowing:wrong@127.0.0.1:" + std::to_string(own_->port()) + "/postgres";
  ExpectRunSays(kDenied, {"knowing", "check user and password"});
  ExpectCheckSays(kDenied, "connection", {"check user and password"});

  config_.url = own_->url("nowhere").Reveal();
  ExpectRunSays(kNotFound, {"nowhere", "correct the database in the url"});

  config_.url = "postgres://knowing:right@127.0.0.1:" + std::to_string(own_->port()) + "/postgres";
  ExpectNothingLostThere();
}

TEST_P(BadServerTest, WalLevelIsNamedAndTheRestartRepairsIt) {
  UseServer({"wal_level = replica"});

  ExpectRunSays(kUsage, {"wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical'"});
  ExpectCheckSays(kUsage, "wal_level", {"must be logical", "restart the server"});

  Sql("ALTER SYSTEM SET wal_level = 'logical'");
  ASSERT_TRUE(own_->Stop().has_value());
  ASSERT_TRUE(own_->Resume().has_value());
  ExpectNothingLostThere();
}

/// The server took the WAL back: that is a gap, and the tables are taken anew.
TEST_P(BadServerTest, ALostSlotIsAGapAndTheRepairMakesAllEqual) {
  UseServer({"max_slot_wal_keep_size = '1MB'", "min_wal_size = '32MB'", "max_wal_size = '32MB'"});
  Sql("INSERT INTO public.orders VALUES (2, 'gone while nobody looked')");
  CatchUp();
  Sql("DELETE FROM public.orders WHERE id = 2");
  ASSERT_TRUE(Eventually([&] {
    Sql("CREATE TABLE public.fill AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    Sql("DROP TABLE public.fill");
    Sql("SELECT pg_switch_wal()");
    Sql("CHECKPOINT");
    return own_->Ask("SELECT wal_status FROM pg_replication_slots").value_or("") == "lost";
  }));

  ExpectRunSays(kGap, {"slot '" + name_ + "' is lost", "max_slot_wal_keep_size",
                       "pg_drop_replication_slot", "new log folder"});
  ExpectCheckSays(kGap, "slot", {"is lost", "pg_drop_replication_slot"});

  Sql("SELECT pg_drop_replication_slot('" + name_ + "')");
  fs::rename(LogPath(), folder_ / "old_log");
  ExpectCheckIsGood();
  ExpectNothingLostThere();  // the row deleted in the gap, too
}

// ---- rights ---------------------------------------------------------------------------------

TEST_P(BadInputTest, ARoleWithoutReplicationIsNamedWithItsGrant) {
  const std::string role = name_.substr(0, 40) + "_r";
  Run("CREATE ROLE " + role + " LOGIN; GRANT SELECT ON public.orders TO " + role +
      "; CREATE PUBLICATION freshet FOR TABLE public.orders");
  config_.url = url(role).Reveal();

  ExpectRunSays(kDenied, {role, "no right to replicate", "ALTER ROLE"});
  ExpectCheckSays(kDenied, "replication_right", {role, "REPLICATION"});

  Run("ALTER ROLE " + role + " REPLICATION");
  ExpectCheckIsGood();
  ExpectNothingLost();
}

TEST_P(BadInputTest, ARoleWithoutSelectIsNamedWithTheTable) {
  const std::string role = name_.substr(0, 40) + "_r";
  Run("CREATE ROLE " + role +
      " LOGIN REPLICATION; CREATE PUBLICATION freshet FOR TABLE "
      "public.orders");
  config_.url = url(role).Reveal();

  ExpectRunSays(kDenied, {"no right to read \"public\".\"orders\"", "GRANT SELECT ON"});
  ExpectCheckSays(kDenied, "select_right", {"GRANT SELECT ON \"public\".\"orders\" TO \"" + role});

  Run("GRANT SELECT ON public.orders TO " + role);
  ExpectCheckIsGood();
  ExpectNothingLost();
}

// ---- slot -----------------------------------------------------------------------------------

TEST_P(BadInputTest, ADroppedSlotIsAGapAndTheRepairMakesAllEqual) {
  config_.sinks = EverySink();
  Run("INSERT INTO public.orders VALUES (2, 'gone while nobody looked')");
  CatchUp();
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
  Run("DELETE FROM public.orders WHERE id = 2");

  ExpectRunSays(kGap, {"slot '" + name_ + "' is gone", "new log folder"});
  ExpectCheckSays(kGap, "continuity", {"is gone", "new log folder"});

  fs::rename(LogPath(), folder_ / "old_log");
  ExpectCheckIsGood();
  ExpectNothingLost();
}

TEST_P(BadInputTest, ASlotOfAnotherKindOrDatabaseIsRefused) {
  Run("SELECT pg_create_physical_replication_slot('" + name_ + "')");
  ExpectRunSays(kUsage, {"is not one of pgoutput", "choose another name"});
  ExpectCheckSays(kUsage, "slot", {"is not one of pgoutput", "choose another name"});
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");

  const Status made =
      server_->Run("SELECT pg_create_logical_replication_slot('" + name_ + "', 'pgoutput')");
  ASSERT_TRUE(made.has_value()) << made.error();
  ExpectRunSays(kUsage, {"belongs to database 'postgres'", "choose another name"});
  ExpectCheckSays(kUsage, "slot", {"belongs to database 'postgres'", "choose another name"});
  ASSERT_TRUE(server_->Run("SELECT pg_drop_replication_slot('" + name_ + "')").has_value());

  ExpectNothingLost();
}

TEST_P(BadInputTest, ASlotThatIsThereBeforeTheLogIsNotTakenOver) {
  Run("SELECT pg_create_logical_replication_slot('" + name_ + "', 'pgoutput')");

  ExpectRunSays(kUsage, {"is there already, but the log is new", "pg_drop_replication_slot"});
  ExpectCheckSays(kUsage, "continuity", {"is there already", "pg_drop_replication_slot"});

  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
  ExpectNothingLost();
}

// ---- tables ---------------------------------------------------------------------------------

TEST_P(BadInputTest, TablesThatAreNotThereAreNamed) {
  config_.tables = "[public.orders, public.missing]";
  ExpectRunSays(kNotFound, {"public.missing"});
  ExpectCheckSays(kNotFound, "tables", {"public.missing"});

  config_.tables = "['nothing.*']";
  ExpectRunSays(kNotFound, {"nothing.*"});
  ExpectCheckSays(kNotFound, "tables", {"nothing.*"});

  config_.tables = "['public.*']";
  ExpectNothingLost();
}

TEST_P(BadInputTest, ATableWithoutReplicaIdentityIsNamedWithItsRepair) {
  Run("CREATE TABLE public.keyless (id int); INSERT INTO public.keyless VALUES (1)");

  ExpectRunSays(kUsage, {"keyless", "ADD PRIMARY KEY"});
  ExpectCheckSays(kUsage, "replica_identity", {"keyless", "REPLICA IDENTITY FULL"});

  Run("ALTER TABLE public.keyless ADD PRIMARY KEY (id)");
  ExpectCheckIsGood();
  ExpectNothingLost();
}

// ---- the log's folder -------------------------------------------------------------------------

TEST_P(BadInputTest, AFlippedByteInTheLogNamesItsPlaceAndIsNeverSkipped) {
  FillLog();
  const std::string segment = Segments().at(1);
  const std::string good = ReadText(segment);
  Flip(segment);
  const std::string old_sinks = config_.sinks;
  // A new target reads the log from its start.
  config_.sinks = "{ warehouse: { duckdb: { path: '" + (folder_ / "second.duckdb") + "' } } }";

  ExpectRunSays(kCorrupt, {segment, "is damaged at byte", "Restore this file", "new snapshot"});
  const Finished inspect = OnConfig({"log", "inspect"});
  EXPECT_EQ(inspect.exit_code, kCorrupt);
  EXPECT_THAT(inspect.out, HasSubstr("is damaged at byte"));

  WriteText(segment, good);
  ExpectNothingLost();
  config_.sinks = old_sinks;
  ExpectNothingLost();
}

TEST_P(BadInputTest, AMissingSegmentIsNamed) {
  FillLog();
  const std::string segment = Segments().at(2);
  fs::rename(segment, folder_ / "copy");

  ExpectRunSays(kCorrupt, {"is missing", fs::path(segment).filename().string(), "Restore"});
  ExpectCheckSays(kCorrupt, "log", {"is missing", fs::path(segment).filename().string()});

  fs::rename(folder_ / "copy", segment);
  ExpectCheckIsGood();
  ExpectNothingLost();
}

/// What a crash leaves half written was never acknowledged: it comes again.
TEST_P(BadInputTest, ATornTailIsCutAndItsChangesComeAgain) {
  FillLog();
  std::ofstream(Segments().back(), std::ios::app | std::ios::binary) << std::string(100, 'x');

  ExpectCheckIsGood();
  ExpectNothingLost();
}

/// The end of the log was acknowledged and is gone: the server will not send it again.
TEST_P(BadInputTest, ALogThatLostItsEndIsAGap) {
  FillLog();
  const std::string segment = Segments().back();
  const std::string good = ReadText(segment);
  fs::resize_file(segment, good.size() / 2);

  ExpectCheckSays(kGap, "continuity", {"lost its end", "new log folder"});
  ExpectRunSays(kGap, {"lost its end", "new log folder"});

  fs::rename(LogPath(), folder_ / "old_log");
  Run("SELECT pg_drop_replication_slot('" + name_ + "')");
  ExpectNothingLost();
}

TEST_P(BadInputTest, FoldersThatMayNotBeWrittenAreNamed) {
  const std::string shut = folder_ / "shut";
  fs::create_directory(shut);
  fs::permissions(shut, fs::perms(0555));
  const Config mine = config_;
  const auto refused = [&](const std::string& check_name, const std::string& path) {
    const Finished run = OnConfig({"run"}, /*obeys_file_modes=*/true);
    ExpectSays(run, kDenied, {path, "Permission denied", "freshet"});
    const Finished check = OnConfig({"check"}, /*obeys_file_modes=*/true);
    EXPECT_EQ(check.exit_code, kDenied) << check.out;
    EXPECT_THAT(check.out, AllOf(HasSubstr(check_name), HasSubstr(path)));
  };

  config_.log = "{ path: '" + shut + "/log' }";
  refused("log folder", shut);
  config_ = mine;
  config_.sinks = "{ warehouse: { duckdb: { path: '" + shut + "/a.duckdb' } } }";
  refused("sink warehouse", shut);
  config_.sinks = "{ lake: { files: { url: '" + shut + "' } } }";
  refused("sink lake", shut);

  config_ = mine;
  ExpectNothingLost();
}

TEST_P(BadInputTest, AFileThatIsNoDatabaseIsNamedAndLeftAlone) {
  WriteText(Warehouse(), std::string(8192, 'x'));

  ExpectRunSays(kUsage, {Warehouse(), "not a valid DuckDB database", "choose another path"});
  ExpectCheckSays(kUsage, "sink warehouse", {Warehouse(), "choose another path"});

  EXPECT_EQ(ReadText(Warehouse()), std::string(8192, 'x'));
  fs::remove(Warehouse());
  ExpectNothingLost();
}

// ---- full disks -------------------------------------------------------------------------------

/// A disk of its own that can be filled: a small tmpfs, which only root can mount.
class FullDiskTest : public BadInputTest {
 protected:
  void SetUp() override {
    BadInputTest::SetUp();
    fs::create_directory(Disk());
    // In a view of the file system of our own, a mount goes with us, however we end.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "cannot have mounts of our own (needs root): " << std::strerror(errno);
    }
    if (::mount("tmpfs", Disk().c_str(), "tmpfs", 0, "size=48m") != 0) {
      GTEST_SKIP() << "cannot mount a small disk (needs root): " << std::strerror(errno);
    }
    mounted_ = true;
  }

  void TearDown() override {
    if (mounted_) ::umount2(Disk().c_str(), MNT_DETACH);
    BadInputTest::TearDown();
  }

  std::string Disk() const { return folder_ / "disk"; }

  /// Takes all room but `left` bytes.
  void Fill(uintmax_t left) {
    const uintmax_t free = fs::space(Disk()).available;
    std::ofstream filler(Disk() + "/filler", std::ios::app | std::ios::binary);
    for (uintmax_t done = 0; done + left < free; done += 4096) filler << std::string(4096, 'x');
  }

  void MakeRoom() { fs::remove(Disk() + "/filler"); }

  /// Rows that need about so much wherever they go.
  void InsertMany(int mebibytes) {
    Run("INSERT INTO public.orders SELECT g, (SELECT string_agg(md5(g::text || i), '') FROM "
        "generate_series(1, 32) i) FROM generate_series(1000, 1000 * (1 + " +
        std::to_string(mebibytes) + ")) g");
  }

  /// Fills the disk under a running pipeline, waits until `told()` says so, makes room, and sees
  /// that all arrives and the pipeline ends well.
  void FillAndMakeRoom(int mebibytes, const std::function<bool()>& told) {
    const auto run = StartRun();
    ASSERT_TRUE(Eventually([&] {
      return StatusJson().value("/source/state"_json_pointer, "") == "streaming";
    })) << run->err();
    Run("INSERT INTO public.orders VALUES (2, 'before')");
    ASSERT_TRUE(Eventually(
        [&] { return StatusJson().value("/sinks/0/lag_bytes"_json_pointer, "") == "0"; }));
    Fill(256 << 10);
    InsertMany(mebibytes);

    EXPECT_TRUE(Eventually(told)) << Get("/status") << run->err();
    EXPECT_TRUE(run->Running()) << run->err();
    MakeRoom();

    ExpectEqual();
    Run("INSERT INTO public.orders VALUES (3, 'after')");
    ExpectEqual();
    run->Signal(SIGTERM);
    EXPECT_EQ(run->WaitExit(), 0) << run->err();
  }

  /// Whether the only sink says that it has no room and tries again.
  bool SinkWaitsForRoom() {
    const json status = StatusJson();
    if (!status.contains("sinks")) return false;
    const json& sink = status["sinks"][0];
    return sink.value("/last_error/kind"_json_pointer, "") == "no_space" &&
           sink.value("/health/code"_json_pointer, "") == "sink_retrying";
  }

 private:
  bool mounted_ = false;
};

TEST_P(FullDiskTest, AFullDiskUnderTheLogIsWaitedOut) {
  config_.log = "{ path: '" + Disk() + "/log', budget: 40MiB, segment_size: 1MiB }";

  // More than the 16 MiB that it has asked the disk for ahead of its writes.
  FillAndMakeRoom(24, [&] {
    const json log = StatusJson().value("log", json::object());
    return log.value("/health/code"_json_pointer, "") == "log_blocked" &&
           log.value("/health/reason"_json_pointer, "").find("No space") != std::string::npos;
  });
}

TEST_P(FullDiskTest, AFullDiskUnderDuckDbIsWaitedOut) {
  config_.sinks = "{ warehouse: { duckdb: { path: '" + Disk() +
                  "/shop.duckdb' }, mode: upsert, flush: { interval: 0s } } }";

  FillAndMakeRoom(8, [&] { return SinkWaitsForRoom(); });
}

TEST_P(FullDiskTest, AFullDiskUnderFilesIsWaitedOut) {
  config_.sinks = "{ lake: { files: { url: '" + Disk() +
                  "/lake', rotate: { age: 0s } }, flush: { interval: 0s } } }";

  FillAndMakeRoom(8, [&] { return SinkWaitsForRoom(); });
}

TEST_P(FullDiskTest, AStartOnAFullDiskSaysSo) {
  config_.log = "{ path: '" + Disk() + "/log', segment_size: 1MiB }";
  Fill(0);

  ExpectRunSays(kNoSpace, {"No space left", Disk(), "free space"});
  ExpectCheckSays(kNoSpace, "log folder", {"No space left", "free space"});

  MakeRoom();
  ExpectNothingLost();
}

const auto kName = [](const auto& tested) { return std::to_string(tested.param); };
INSTANTIATE_TEST_SUITE_P(Majors, BadInputTest, ::testing::Values(15), kName);
INSTANTIATE_TEST_SUITE_P(Majors, BadServerTest, ::testing::Values(15), kName);
INSTANTIATE_TEST_SUITE_P(Majors, FullDiskTest, ::testing::Values(15), kName);

}  // namespace
}  // namespace freshet::test
