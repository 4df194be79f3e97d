#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "base/clock.h"
#include "base/file_system.h"
#include "config/yaml_reader.h"
#include "pipeline/pipeline.h"
#include "support/shared_postgres.h"
#include "support/temporary_folder.h"
#include "verify/report.h"
#include "verify/verify.h"

namespace freshet::test {

/// A fixture whose pipeline carries every table of `public` into a target of each kind.
class AllSinksTest : public SharedPostgresTest {
 protected:
  void Configure() {
    options_ = {};
    const std::string yaml = fmt::format(
        "source: {{ postgres: {{ url: '{0}', slot: {1}, tables: ['public.*'] }} }}\n"
        "log: {{ path: '{2}/log' }}\n"
        "sinks:\n"
        "  mirror: {{ duckdb: {{ path: '{3}' }}, mode: upsert }}\n"
        "  changelog: {{ duckdb: {{ path: '{2}/c.duckdb' }}, mode: append }}\n"
        "  parquet: {{ files: {{ url: '{2}/parquet' }} }}\n"
        "  lines: {{ files: {{ url: '{2}/lines', format: jsonl }} }}\n",
        url().Reveal(), name_, folder_.path().string(), Mirror());
    const Status read = config::ReadYaml(
        yaml, "test.yaml", [&](config::Binder& binder) { pipeline::Bind(binder, options_); });
    ASSERT_TRUE(read.has_value()) << read.error();
  }

  void TearDown() override { DropSlot(); }

  void DropSlot() {
    Run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = "
        "current_database()");
  }

  /// Runs statements on the tables of `public`: each line in a transaction of its own.
  void Sql(const std::string& lines) {
    std::istringstream rest(lines);
    for (std::string line; std::getline(rest, line);) Run("SET search_path = public; " + line);
  }

  /// A new beginning: nothing in the source, no slot, no targets.
  void StartOver() {
    DropSlot();
    Run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP PUBLICATION IF EXISTS freshet");
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directories(folder_.path());
    Configure();
  }

  std::string Mirror() const { return folder_ / "m.duckdb"; }

  void CatchUp() {
    pipeline::Pipeline pipeline(options_, LocalFileSystem(), SystemClock(), "test");
    const Status ran = pipeline.Run({.until_caught_up = true}, {});
    ASSERT_TRUE(ran.has_value()) << ran.error();
  }

  /// Every target equals the source, or the one named does.
  void ExpectEqual(const std::string& sink = "") {
    verify::Options options;
    options.limits.deadline = std::chrono::nanoseconds(0);
    if (!sink.empty()) options.sinks = {sink};
    const auto report =
        verify::Verify(options_, options, SystemClock(), {}, [](const verify::Progress&) {});
    ASSERT_TRUE(report.has_value()) << report.error();
    EXPECT_TRUE(report->equal()) << verify::ToText(*report);
  }

  TemporaryFolder folder_;
  pipeline::Options options_;
};

}  // namespace freshet::test
