#include "cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/commands.h"
#include "cli/run_freshet.h"
#include "cli/status.h"
#include "http/status_json.h"
#include "support/pipeline_status.h"
#include "support/temporary_folder.h"

namespace freshet::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// The two pages are printed by the program; `./build/dev/freshet docs cli > docs/cli.md` renews
/// one.
TEST(DocsTest, GeneratedPagesAreUpToDate) {
  EXPECT_EQ(RunFreshet({"docs", "cli"}).out, test::ReadText("docs/cli.md"));
  EXPECT_EQ(RunFreshet({"docs", "configuration"}).out, test::ReadText("docs/configuration.md"));
}

TEST(CliTest, EveryCommandHasHelpWithAnExample) {
  for (const Command& command : Commands()) {
    const Outcome help = RunFreshet({std::string(command.name), "--help"});

    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Example:\n  freshet " + std::string(command.name)));
    EXPECT_THAT(help.out, HasSubstr("--output text|json"));
  }
}

TEST(CliTest, HelpListsCommandsThatAreNotHidden) {
  const Outcome help = RunFreshet({"--help"});

  EXPECT_EQ(help.code, 0);
  for (const Command& command : Commands()) {
    const bool listed =
        help.out.find("\n  " + std::string(command.name) + " ") != std::string::npos;
    EXPECT_EQ(listed, !command.hidden) << command.name;
  }
}

TEST(CliTest, WrongCommandLinesExitWith2AndSayWhereHelpIs) {
  const std::vector<std::vector<std::string>> wrong = {
      {}, {"no-such"}, {"run", "--no-such"}, {"query"}, {"log"}, {"version", "--output", "csv"}};
  for (const auto& arguments : wrong) {
    const Outcome outcome = RunFreshet(arguments);

    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, StartsWith("freshet: "));
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_THAT(RunFreshet({"no-such"}).err, HasSubstr("there are: run, check"));
}

TEST(CliTest, JsonErrorsAreProblemDetailsOnStandardOutput) {
  const Outcome outcome = RunFreshet({"check", "-c", "/nonexistent.yaml", "--output", "json"});

  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["kind"], "config");
  EXPECT_THAT(outcome.err, HasSubstr("-c FILE"));
}

TEST(CliTest, EveryErrorOfAConfigurationIsShownAtOnce) {
  test::TemporaryFolder folder;
  test::WriteText(folder / "bad.yaml",
                  "source:\n  postgres: { urll: x, tables: public.*, snapshot: often }\n"
                  "log: { path: x, budget: 10XB }\n"
                  "sinks: { lake: { files: { url: ./x }, mode: upsert, flush: { rows: 0 } } }\n"
                  "htp: {}\n");

  const Outcome outcome = RunFreshet({"run", "-c", folder / "bad.yaml"});

  EXPECT_EQ(outcome.code, 2);
  for (const char* part :
       {"bad.yaml:2:", "'source.postgres.url' is missing", "did you mean 'url'?",
        "it must be one of: initial, never, only", "bad.yaml:3:25: ", "10XB", "use mode append",
        "must be at least 1", "bad.yaml:5:1: unknown key 'htp'; did you mean 'http'?"}) {
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
}

TEST(CliTest, PipelineThatDoesNotAnswerIsUnavailable) {
  const Outcome outcome = RunFreshet({"status", "--url", "http://127.0.0.1:1"});

  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("is `freshet run` up"));
}

TEST(CliTest, VersionNamesTheLibraries) {
  const auto version = nlohmann::json::parse(RunFreshet({"version", "--output", "json"}).out);
  EXPECT_EQ(RunFreshet({"--version"}).out, RunFreshet({"version"}).out);

  for (const char* name : {"freshet", "arrow", "duckdb", "libpq", "postgresql"}) {
    EXPECT_FALSE(version[name].get<std::string>().empty()) << name;
  }
}

TEST(StatusTest, PeopleSeeWhatTheJsonSays) {
  const std::string text = RenderStatus(http::StatusJson(test::MakePipelineStatus()), Style());

  EXPECT_EQ(text,
            "freshet 0.1.0  degraded, running since 2023-11-14 21:13:20 UTC\n"
            "\n"
            "source  ok\n"
            "  state          streaming since 2023-11-14 21:15:00 UTC\n"
            "  database       shop\n"
            "  slot           freshet (reserved, holds back 4.0 KiB)\n"
            "  received       16/B374D900, acknowledged 16/B374D848\n"
            "  rows           1,234,567 in 1,234 transactions\n"
            "  newest commit  2023-11-14 22:13:18 UTC\n"
            "\n"
            "snapshot  2 of 3 tables to do\n"
            "  table            state     rows     read       of  rows/s      left\n"
            "  public.orders    reading  1,200  1.0 MiB  4.0 MiB     600  1 m 35 s\n"
            "  public.later<b>  wanted       0      0 B  8.0 KiB       0         -\n"
            "  public.later<b> waits: transactions that ran when it joined: pid 17 (UPDATE)\n"
            "\n"
            "log  ok\n"
            "  durable        0/0\n"
            "  size           12.0 MiB of 10.0 GiB in 1 segment\n"
            "  commit to log  p50 831 us, p95 40.0 ms, p99 40.0 ms\n"
            "\n"
            "sinks  (p50, p95, p99: commit to durable in the target)\n"
            "  name       kind    mode    state                     rows    lag     p50      p95   "
            "   p99\n"
            "  warehouse  duckdb  upsert  running              1,234,567      -  831 us  40.0 ms  "
            "40.0 ms\n"
            "  lake       files   upsert  retrying (degraded)  1,234,567  5.0 s  831 us  40.0 ms  "
            "40.0 ms\n"
            "\n"
            "attention\n"
            "  sink lake: bucket <lake> is \"away\" (since 2023-11-14 22:13:19 UTC)\n");
}

TEST(StatusTest, AnswerOfAnotherVersionIsStillShown) {
  EXPECT_THAT(RenderStatus("{}", Style()), StartsWith("freshet"));
  EXPECT_THAT(RenderStatus(R"({"sinks": [{}], "snapshot": [{"state": "copying"}]})", Style()),
              HasSubstr("sinks"));
}

}  // namespace
}  // namespace freshet::cli
