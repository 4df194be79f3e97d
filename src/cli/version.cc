#include "cli/version.h"

#include <arrow/util/config.h>
#include <duckdb.h>
#include <fmt/format.h>
#include <libpq-fe.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "cli/commands.h"

namespace freshet::cli {
namespace {

/// libpq's number, 150018, as people write it: 15.18.
std::string LibpqVersion() {
  const int number = PQlibVersion();
  return fmt::format("{}.{}", number / 10'000, number % 10'000);
}

Result<ExitCode> PrintVersion(const Context& context) {
  const std::vector<std::pair<std::string, std::string>> parts = {
      {"freshet", std::string(kVersion)},     {"arrow", ARROW_VERSION_STRING},
      {"duckdb", duckdb_library_version()},   {"libpq", LibpqVersion()},
      {"postgresql", "10 to 18 as a source"},
  };
  if (context.output == Output::kJson) {
    nlohmann::ordered_json out;
    for (const auto& [name, version] : parts) out[name] = version;
    context.out << out.dump(2) << '\n';
  } else {
    for (const auto& [name, version] : parts) {
      context.out << fmt::format("{:<12}{}\n", name, version);
    }
  }
  return ExitCode::kOk;
}

}  // namespace

Action AddVersion(CLI::App&) { return PrintVersion; }

}  // namespace freshet::cli
