#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/remote.h"
#include "support/process.h"
#include "support/program.h"
#include "support/shared_postgres.h"
#include "support/temporary_folder.h"

namespace freshet::test {

/// What a command printed and ended with.
struct Finished {
  int exit_code = -1;
  std::string out;
  std::string err;
  std::string message;  ///< its last word, "freshet: ..."
};

/// A fixture that runs freshet itself, on a database, a slot and folders of the test's own.
class ProgramTest : public SharedPostgresTest {
 protected:
  /// The parts of a configuration, in YAML. A test changes what it is about.
  struct Config {
    std::string url;
    std::string slot;
    std::string tables = "['public.*']";
    std::string source;  ///< more keys, each with a comma before it
    std::string log;
    std::string sinks;
    std::string listen;
  };

  void SetUp() override {
    SharedPostgresTest::SetUp();
    port_ = FreePorts(1).front();
    config_ = {.url = url().Reveal(),
               .slot = name_,
               .source = "",
               .log = "{ path: '" + (folder_ / "log") + "' }",
               .sinks = "{ warehouse: { duckdb: { path: '" + Warehouse() +
                        "' }, mode: upsert, flush: { interval: 0s } } }",
               .listen = "127.0.0.1:" + std::to_string(port_)};
  }

  void TearDown() override {
    // The walsender of a program that was killed needs a moment to notice.
    EXPECT_TRUE(Eventually([&] {
      return server_
          ->Run(
              "SELECT pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) FROM "
              "pg_replication_slots WHERE slot_name = '" +
              name_ + "'")
          .has_value();
    }));
  }

  std::string Warehouse() const { return folder_ / "shop.duckdb"; }

  /// Writes the configuration as it is now and returns its path.
  std::string WriteConfig(const std::string& file = "freshet.yaml") const {
    WriteText(folder_ / file,
              "source:\n  postgres: { url: '" + config_.url + "', slot: " + config_.slot +
                  ", tables: " + config_.tables + config_.source + " }\nlog: " + config_.log +
                  "\nsinks: " + config_.sinks + "\nhttp: { listen: '" + config_.listen + "' }\n");
    return folder_ / file;
  }

  static std::unique_ptr<Program> Start(std::vector<std::string> arguments,
                                        bool obeys_file_modes = false) {
    arguments.insert(arguments.begin(), FRESHET_PROGRAM);
    return Program::Start({.arguments = std::move(arguments),
                           .environment = {"NO_COLOR=1"},
                           .obeys_file_modes = obeys_file_modes});
  }

  static Finished End(Program& program) {
    const auto code = program.WaitExit(std::chrono::minutes(2));
    EXPECT_TRUE(code.has_value()) << "still runs: " << program.err();
    return {code.value_or(-1), program.out(), program.err(), program.message()};
  }

  static Finished Freshet(std::vector<std::string> arguments, bool obeys_file_modes = false) {
    return End(*Start(std::move(arguments), obeys_file_modes));
  }

  /// Runs a command on the configuration as it is now.
  Finished OnConfig(std::vector<std::string> arguments, bool obeys_file_modes = false) {
    arguments.insert(arguments.begin() + 1, {"-c", WriteConfig()});
    return Freshet(std::move(arguments), obeys_file_modes);
  }

  std::unique_ptr<Program> StartRun() const { return Start({"run", "-c", WriteConfig()}); }

  /// Carries everything there is to the sinks.
  void CatchUp() {
    const Finished run = OnConfig({"run", "--until-caught-up"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
  }

  /// Source and targets are the same.
  void ExpectEqual() {
    const Finished verify = OnConfig({"verify"});
    EXPECT_EQ(verify.exit_code, 0) << verify.out << verify.err;
  }

  std::string Url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

  /// The body of an answer with status 200; empty for any other, or none.
  std::string Get(const std::string& path) const {
    const auto answer = cli::Ask(Url(path));
    return answer.has_value() && answer->status == 200 ? answer->body : "";
  }

  /// The answer of /status; an empty object when nobody answers.
  nlohmann::json StatusJson() const {
    auto status = nlohmann::json::parse(Get("/status"), nullptr, /*allow_exceptions=*/false);
    return status.is_object() ? status : nlohmann::json::object();
  }

  /// The first value that the running pipeline's warehouse gives; empty when it gives none.
  std::string Query(const std::string& sql) const {
    const auto answer = cli::Ask(Url("/query"), &sql);
    if (!answer.has_value() || answer->status != 200) return "";
    const auto json = nlohmann::json::parse(answer->body, nullptr, false);
    if (json["rows"].empty() || json["rows"][0].empty()) return "";
    const nlohmann::json& value = json["rows"][0][0];
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  TemporaryFolder folder_;
  Config config_;
  int port_ = 0;
};

}  // namespace freshet::test
