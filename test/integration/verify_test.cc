#include "verify/verify.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/file_system.h"
#include "config/yaml_reader.h"
#include "generate/generator.h"
#include "pipeline/pipeline.h"
#include "sink/duckdb/database.h"
#include "support/postgres_server.h"
#include "support/temporary_folder.h"
#include "verify/report.h"

namespace freshet::verify {
namespace {

/// Values of every kind of type, ordinary and extreme, under a key with more than one column.
constexpr const char* kTypes = R"sql(
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE DOMAIN public.positive AS numeric(12,3) CHECK (value > 0);
CREATE TABLE public.types (
  a integer, b text, bool boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
  n numeric, n2 numeric(10,2), domain public.positive, t text, vc varchar(20), bp char(8), j json,
  jb jsonb, by bytea, d date, ti time, titz timetz, ts timestamp, tstz timestamptz, iv interval,
  u uuid, mood public.mood, ip inet, r int4range, p point, bits bit varying(9), x xml, o oid,
  ia integer[], ta text[], na numeric(10,2)[], tsa timestamptz[], ba bytea[], fa float8[],
  PRIMARY KEY (a, b));
INSERT INTO public.types VALUES
 (1, 'x', true, -32768, 9223372036854775807, 1.5, 0.1, 1.500, 12345678.90, 1.5, 'text', 'vc', 'pad',
  '{"a":  1}', '{"b": [1, null]}', '\x00ff', '2024-02-29', '12:34:56.7', '12:34:56+05:30',
  '2024-02-29 12:34:56.000001', '2024-02-29 12:34:56+02', '1 year 2 mons -3 days 04:05:06',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'it''s "fine"', '10.0.0.1/8', '[1,10)', '(1.5,2)',
  '10110', '<a/>', 4294967295, '{1,NULL,3}', '{a,"","null",NULL,"x,y","q\"z"}', '{1.50,NULL}',
  '{2024-02-29 12:00:00+00}', '{"\\x00ff"}', '{1e300,NaN,0.1}'),
 (2, E'tab\there', NULL, NULL, NULL, 'NaN', '-Infinity', 'NaN', 'NaN', NULL, '', NULL, NULL, NULL,
  'null', '', 'infinity', '24:00:00', NULL, '-infinity', 'infinity', NULL, NULL, NULL, NULL,
  'empty', NULL, '', NULL, NULL, '{{1,2},{3,4}}', '{}', '{NaN}', '{infinity}', NULL, NULL),
 (3, '\N', false, 0, 0, -0.0, 5e-324, 123456789012345678901234567890.123456789, -0.01, 0.001,
  E'line\nfeed\\ and "quotes"', 'ünï', '', '[]', '{}', '\x', '0044-03-15 BC', '00:00:00',
  '00:00:00-12', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '00:00:00',
  '00000000-0000-0000-0000-000000000000', 'sad', '::1', '(,)', NULL, '1', NULL, 0, '[5:6]={5,6}',
  NULL, NULL, NULL, NULL, '{}');
)sql";

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = test::PostgresServer::Start();
    ASSERT_TRUE(server.has_value()) << server.error();
    server_ = std::move(server).value();
    const std::string yaml = fmt::format(
        "source: {{ postgres: {{ url: '{}', tables: ['public.*'] }} }}\n"
        "log: {{ path: '{}' }}\n"
        "sinks:\n"
        "  mirror: {{ duckdb: {{ path: '{}' }}, mode: upsert, flush: {{ interval: 0s }} }}\n"
        "  changelog: {{ duckdb: {{ path: '{}' }}, mode: append, flush: {{ interval: 0s }} }}\n"
        "  nothing: {{ discard: {{}} }}\n",
        server_->url().Reveal(), folder_ / "log", MirrorPath(), folder_ / "changelog.duckdb");
    const Status read = config::ReadYaml(
        yaml, "test.yaml", [&](config::Binder& binder) { pipeline::Bind(binder, pipeline_); });
    ASSERT_TRUE(read.has_value()) << read.error();
    options_.limits.deadline = std::chrono::nanoseconds(0);
  }

  std::string MirrorPath() const { return folder_ / "mirror.duckdb"; }

  void Sql(const std::string& sql) {
    const Status done = server_->Run(sql);
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  void CatchUp() {
    pipeline::Pipeline pipeline(pipeline_, LocalFileSystem(), SystemClock(), "test");
    const Status ran = pipeline.Run({.until_caught_up = true}, {});
    ASSERT_TRUE(ran.has_value()) << ran.error();
  }

  Report Compare() {
    auto report = Verify(pipeline_, options_, SystemClock(), {}, [](const Progress&) {});
    EXPECT_TRUE(report.has_value()) << report.error();
    return report.value_or(Report{});
  }

  /// Changes a target behind the pipeline's back.
  void Damage(const std::string& sql) { Damage(sql, MirrorPath()); }
  static void Damage(const std::string& sql, const std::string& path) {
    auto database = sink::duckdb::Database::Open(path, sink::duckdb::Access::kReadWrite);
    ASSERT_TRUE(database.has_value()) << database.error();
    auto connection = (*database)->Connect();
    ASSERT_TRUE(connection.has_value()) << connection.error();
    const Status done = (*connection)->Execute(sql);
    ASSERT_TRUE(done.has_value()) << done.error();
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<test::PostgresServer> server_;
  pipeline::Options pipeline_;
  Options options_;
};

/// What the message about a lost slot tells to do, with the targets left as they are.
TEST_F(VerifyTest, TablesTakenAnewWithANewLogReplaceWhatTheTargetsHeld) {
  Sql("CREATE TABLE public.t (id integer PRIMARY KEY, v text); "
      "INSERT INTO public.t SELECT i, 'old' FROM generate_series(1, 10) i");
  CatchUp();
  Sql("DELETE FROM public.t WHERE id = 3; UPDATE public.t SET v = 'new' WHERE id = 4");
  Sql("SELECT pg_drop_replication_slot('freshet')");
  std::filesystem::remove_all(folder_ / "log");

  CatchUp();

  const Report report = Compare();
  EXPECT_TRUE(report.equal()) << ToText(report);
}

TEST_F(VerifyTest, EveryTypeArrivesAsTheServerWritesIt) {
  Sql(kTypes);
  CatchUp();
  // The second half through the stream, not the snapshot.
  Sql("UPDATE public.types SET a = a + 10; "
      "CREATE TEMP TABLE again AS SELECT * FROM public.types; UPDATE again SET a = a + 10; "
      "INSERT INTO public.types SELECT * FROM again");
  CatchUp();

  const Report report = Compare();

  EXPECT_TRUE(report.equal()) << ToText(report);
  ASSERT_EQ(report.sinks.size(), 2U);
  EXPECT_EQ(report.sinks[0].tables.at(0).target.rows, 6);
  EXPECT_EQ(report.skipped, std::vector<std::string>{"nothing"});
}

TEST_F(VerifyTest, OneChangedByteMissingAndExtraRowsAreFound) {
  Sql("CREATE TABLE public.t (id int PRIMARY KEY, name text, amount numeric(12,2));"
      "INSERT INTO public.t SELECT i, 'name ' || i, i FROM generate_series(1, 5000) i");
  CatchUp();
  options_.sinks = {"mirror"};
  EXPECT_TRUE(Compare().equal());

  Damage(
      "UPDATE public.t SET name = 'name 1233' WHERE id = 1234;"
      "DELETE FROM public.t WHERE id = 77;"
      "INSERT INTO public.t (id, name) VALUES (9999, 'ghost');"
      "UPDATE public.t SET amount = amount + 0.01 WHERE id = 5000");
  const Report report = Compare();

  EXPECT_FALSE(report.equal());
  const TableReport& table = report.sinks.at(0).tables.at(0);
  EXPECT_EQ(table.differing_keys, 4) << ToText(report);
  const std::string text = ToText(report);
  EXPECT_NE(text.find("different  key (1234)  columns: name\n"), std::string::npos) << text;
  EXPECT_NE(text.find("missing    key (77)"), std::string::npos) << text;
  EXPECT_NE(text.find("extra      key (9999)"), std::string::npos) << text;
  EXPECT_NE(text.find("different  key (5000)  columns: amount\n"), std::string::npos) << text;
}

TEST_F(VerifyTest, ATableWithoutAKeyIsComparedAsAMultiset) {
  Sql("CREATE TABLE public.log (line text, n int); ALTER TABLE public.log REPLICA IDENTITY FULL;"
      "INSERT INTO public.log SELECT 'same', i % 3 FROM generate_series(1, 100) i");
  CatchUp();
  Sql("DELETE FROM public.log WHERE ctid IN (SELECT ctid FROM public.log WHERE n = 1 LIMIT 5)");
  CatchUp();

  const Report report = Compare();

  EXPECT_TRUE(report.equal()) << ToText(report);
  EXPECT_FALSE(report.sinks.at(0).tables.at(0).has_key);
  EXPECT_EQ(report.sinks.at(0).tables.at(0).target.rows, 95);
}

/// Its rows pass through states in which two have one key: no sink may take it for one.
TEST_F(VerifyTest, ADeferrablePrimaryKeyIsNoKey) {
  Sql("CREATE TABLE public.t (id int PRIMARY KEY DEFERRABLE, name text);"
      "ALTER TABLE public.t REPLICA IDENTITY FULL;"
      "INSERT INTO public.t SELECT i, 'name ' || i FROM generate_series(1, 10) i");
  CatchUp();
  Sql("UPDATE public.t SET id = id + 1");
  CatchUp();

  const Report report = Compare();

  EXPECT_TRUE(report.equal()) << ToText(report);
  EXPECT_FALSE(report.sinks.at(0).tables.at(0).has_key);
}

TEST_F(VerifyTest, AChangeThatAChangelogHasTwiceIsFound) {
  Sql("CREATE TABLE public.t (id int PRIMARY KEY, name text)");
  CatchUp();
  Sql("INSERT INTO public.t SELECT i, 'name ' || i FROM generate_series(1, 100) i");
  CatchUp();
  options_.sinks = {"changelog"};
  EXPECT_TRUE(Compare().equal());

  Damage("INSERT INTO public.t FROM public.t WHERE id = 7", folder_ / "changelog.duckdb");
  const Report report = Compare();

  EXPECT_FALSE(report.equal());
  EXPECT_NE(ToText(report).find("duplicate  key (7)"), std::string::npos) << ToText(report);
}

TEST_F(VerifyTest, BecomesEqualWhileTrafficRuns) {
  generate::Options traffic;
  traffic.url = server_->url();
  traffic.initial_rows = 1'000;
  traffic.rate = 200;
  traffic.duration = std::chrono::seconds(600);
  std::stop_source stop;
  std::atomic<bool> filled = false;
  std::jthread writer([&] {
    auto done = generate::Generate(traffic, SystemClock(), stop.get_token(),
                                   [&](const generate::Progress& at) {
                                     if (!at.filling) filled = true;
                                   });
    EXPECT_TRUE(done.has_value()) << done.error();
  });
  while (!filled) std::this_thread::yield();
  pipeline::Pipeline pipeline(pipeline_, LocalFileSystem(), SystemClock(), "test");
  std::jthread runner([&] {
    const Status ran = pipeline.Run({}, stop.get_token());
    EXPECT_TRUE(ran.has_value()) << ran.error();
  });
  options_.sinks = {"mirror"};
  options_.limits.deadline = std::chrono::seconds(60);

  const Report report = Compare();
  stop.request_stop();

  EXPECT_TRUE(report.equal()) << ToText(report);
  EXPECT_EQ(report.sinks.at(0).tables.size(), 6U);
}

TEST_F(VerifyTest, UnknownNamesAreExplained) {
  Sql("CREATE TABLE public.t (id int PRIMARY KEY)");
  CatchUp();

  options_.sinks = {"lake"};
  auto report = Verify(pipeline_, options_, SystemClock(), {}, [](const Progress&) {});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().kind, ErrorKind::kConfig);

  options_.sinks = {};
  options_.tables = {"public.nope"};
  report = Verify(pipeline_, options_, SystemClock(), {}, [](const Progress&) {});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().kind, ErrorKind::kNotFound) << report.error();
}

}  // namespace
}  // namespace freshet::verify
