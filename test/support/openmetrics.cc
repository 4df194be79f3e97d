#include "support/openmetrics.h"

#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <vector>

namespace freshet::test {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

void CheckOpenMetrics(const std::string& text) {
  static const std::regex kSample(
      R"re(([a-z][a-z0-9_]*)(\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})? [0-9eE.+-]+)re");
  std::set<std::string> families;
  std::set<std::string> samples;
  std::string family;
  std::string type;
  for (const std::string& line : Lines(text)) {
    if (line == "# EOF") continue;
    std::istringstream words(line);
    std::string hash, keyword;
    if (line.starts_with("# TYPE ")) {
      words >> hash >> keyword >> family >> type;
      EXPECT_TRUE(families.insert(family).second) << family << " stands twice";
      continue;
    }
    if (line.starts_with("# HELP ")) {
      EXPECT_TRUE(line.starts_with("# HELP " + family + " ")) << line;
      continue;
    }
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, kSample)) << line;
    EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << line << " stands twice";
    const std::string suffix =
        match[1].str().substr(std::min(family.size(), match[1].str().size()));
    EXPECT_TRUE(match[1].str().starts_with(family)) << line << " is not of " << family;
    const std::map<std::string, std::set<std::string>> suffixes = {
        {"gauge", {""}},
        {"counter", {"_total"}},
        {"info", {"_info"}},
        {"histogram", {"_bucket", "_count", "_sum"}}};
    EXPECT_TRUE(suffixes.at(type).contains(suffix)) << line;
  }
  EXPECT_TRUE(text.ends_with("\n# EOF\n"));
}

}  // namespace freshet::test
