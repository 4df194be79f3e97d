#include "config/yaml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace freshet::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

/// Every kind of value there is.
struct Sample {
  bool on = false;
  int64_t count = 3;
  std::string name;
  Secret password;
  Duration interval = std::chrono::seconds(1);
  ByteSize size{5};
  std::vector<std::string> list;
  size_t color = 0;
  std::string inner;
  bool inner_there = false;
  std::vector<std::pair<std::string, int64_t>> entries;
};

void Bind(Binder& binder, Sample& sample) {
  static constexpr std::string_view kColors[] = {"red", "green"};
  binder.Value({"on", ""}, sample.on);
  binder.Value({"count", ""}, sample.count);
  binder.Value({"name", "what it is called", true}, sample.name);
  binder.Value({"password", ""}, sample.password);
  binder.Value({"interval", ""}, sample.interval);
  binder.Value({"size", ""}, sample.size);
  binder.Value({"list", ""}, sample.list);
  binder.Choice({"color", ""}, kColors, sample.color);
  sample.inner_there = binder.Section({"inner", ""}, [&](Binder& inner) {
    inner.Value({"text", ""}, sample.inner);
  });
  binder.Map({"entries", ""}, [&](const std::string& name, Binder& entry) {
    int64_t n = 0;
    entry.Value({"n", ""}, n);
    sample.entries.emplace_back(name, n);
  });
  if (sample.count < 0) binder.Reject("count", "must not be negative");
}

Result<Sample> Read(std::string_view text) {
  Sample sample;
  FRESHET_RETURN_IF_ERROR(
      ReadYaml(text, "test.yaml", [&](Binder& binder) { Bind(binder, sample); }));
  return sample;
}

std::string ErrorsOf(std::string_view text) {
  const auto read = Read(text);
  if (read.has_value()) return "no error";
  EXPECT_EQ(read.error().kind, ErrorKind::kConfig);
  return read.error().message;
}

TEST(YamlReaderTest, EveryKindOfValueIsRead) {
  const auto sample = Read(R"(
on: true
count: -0
name: "a # b"
password: hunter2
interval: 250ms
size: 64MiB
list: [a, b]
color: green
inner: { text: deep }
entries: { x: { n: 1 }, y: { n: 2 } }
)");

  ASSERT_TRUE(sample.has_value()) << sample.error();
  EXPECT_TRUE(sample->on);
  EXPECT_EQ(sample->name, "a # b");
  EXPECT_EQ(sample->password.Reveal(), "hunter2");
  EXPECT_EQ(sample->interval, std::chrono::milliseconds(250));
  EXPECT_EQ(sample->size.bytes, int64_t{64} << 20);
  EXPECT_THAT(sample->list, ElementsAre("a", "b"));
  EXPECT_EQ(sample->color, 1U);
  EXPECT_EQ(sample->inner, "deep");
  EXPECT_THAT(sample->entries, ElementsAre(::testing::Pair("x", 1), ::testing::Pair("y", 2)));
}

TEST(YamlReaderTest, LeftOutKeysKeepTheirDefaults) {
  const auto sample = Read("name: x");

  EXPECT_EQ(sample->count, 3);
  EXPECT_EQ(sample->interval, std::chrono::seconds(1));
  EXPECT_FALSE(sample->inner_there);
}

TEST(YamlReaderTest, EmptySectionIsThere) {
  EXPECT_TRUE(Read("name: x\ninner: {}")->inner_there);
  EXPECT_TRUE(Read("name: x\ninner:")->inner_there);
}

TEST(YamlReaderTest, SingleWordIsAListOfOne) {
  EXPECT_THAT(Read("name: x\nlist: public.*")->list, ElementsAre("public.*"));
}

TEST(YamlReaderTest, AllErrorsAreReportedAtOnceInTheOrderOfLines) {
  EXPECT_EQ(ErrorsOf(R"(on: yes
count: many
interval: 5
size: 5 MB
color: blue
list: { a: b }
inner: { txt: x }
entries: [ 1 ]
colour: red
)"),
            "test.yaml:1:1: 'name' is missing: what it is called\n"
            "test.yaml:1:5: 'on' is 'yes'; it must be true or false\n"
            "test.yaml:2:8: 'count' is 'many'; it must be a whole number, as 100000\n"
            "test.yaml:3:11: 'interval' is '5'; it must be a duration with its unit, as 250ms, 1s, "
            "5m, 12h or 7d\n"
            "test.yaml:4:7: 'size' is '5 MB'; it must be a size in bytes, as 4096, 64MiB or "
            "10GiB\n"
            "test.yaml:5:8: 'color' is 'blue'; it must be one of: red, green\n"
            "test.yaml:6:7: 'list' must be a list, as [a, b]\n"
            "test.yaml:7:10: unknown key 'inner.txt'; did you mean 'text'?\n"
            "test.yaml:8:10: 'entries' must be a mapping of names\n"
            "test.yaml:9:1: unknown key 'colour'; did you mean 'color'?");
}

TEST(YamlReaderTest, RejectedValueIsShownAtItsPlace) {
  EXPECT_EQ(ErrorsOf("name: x\ncount: -1"), "test.yaml:2:8: 'count' must not be negative");
}

TEST(YamlReaderTest, KeyThatStandsTwiceIsAnError) {
  EXPECT_THAT(ErrorsOf("name: x\nname: y"), HasSubstr("test.yaml:2:1: 'name' stands here twice"));
}

TEST(YamlReaderTest, KeyWithoutValueIsAnError) {
  EXPECT_EQ(ErrorsOf("name:"), "test.yaml:1:1: 'name' has no value");
}

TEST(YamlReaderTest, RequiredKeyMustNotBeEmpty) {
  EXPECT_EQ(ErrorsOf("name: \"\""), "test.yaml:1:7: 'name' is empty: what it is called");
  ::setenv("FRESHET_TEST_EMPTY", "", 1);
  EXPECT_THAT(ErrorsOf("name: ${env:FRESHET_TEST_EMPTY}"), HasSubstr("'name' is empty"));
  EXPECT_TRUE(Read("name: x\npassword: \"\"").has_value());
}

TEST(YamlReaderTest, TextThatIsNoYamlNamesThePlace) {
  EXPECT_THAT(ErrorsOf("name: x\n  bad: : y"), HasSubstr("test.yaml:2:"));
  EXPECT_THAT(ErrorsOf(""), HasSubstr("not a mapping"));
  EXPECT_THAT(ErrorsOf("just text"), HasSubstr("not a mapping"));
}

TEST(YamlReaderTest, ReferencesAreReplaced) {
  setenv("FRESHET_TEST_PASSWORD", "s3cret", 1);
  const auto file = std::filesystem::temp_directory_path() / "freshet_yaml_reader_test_secret";
  std::ofstream(file) << "from file\n";

  const auto sample =
      Read("name: x${env:FRESHET_TEST_PASSWORD}y\npassword: ${file:" + file.string() + "}\n");

  std::filesystem::remove(file);
  ASSERT_TRUE(sample.has_value()) << sample.error();
  EXPECT_EQ(sample->name, "xs3crety");
  EXPECT_EQ(sample->password.Reveal(), "from file");
}

TEST(YamlReaderTest, BrokenReferencesSayWhy) {
  unsetenv("FRESHET_TEST_UNSET");
  EXPECT_THAT(ErrorsOf("name: ${env:FRESHET_TEST_UNSET}"),
              HasSubstr("the environment variable FRESHET_TEST_UNSET is not set"));
  EXPECT_THAT(ErrorsOf("name: ${file:/nowhere/at/all}"), HasSubstr("cannot read"));
  EXPECT_THAT(ErrorsOf("name: ${vault:x}"), HasSubstr("use ${env:NAME} or ${file:/path}"));
  EXPECT_THAT(ErrorsOf("name: ${env:X"), HasSubstr("no closing '}'"));
}

TEST(YamlReaderTest, ReferencedValueIsNeverShown) {
  setenv("FRESHET_TEST_PASSWORD", "s3cret", 1);

  EXPECT_THAT(ErrorsOf("name: x\ncount: ${env:FRESHET_TEST_PASSWORD}"), Not(HasSubstr("s3cret")));
}

TEST(ReadYamlKeysTest, ValuesStandUnderTheirPathsAsTheyAreWritten) {
  const std::string path = ::testing::TempDir() + "freshet_keys.yaml";
  std::ofstream(path) << "source:\n  postgres: { url: '${env:URL}', tables: [a.*, b.c] }\n"
                         "sinks: { lake: { files: { url: /lake } } }\n";

  const auto keys = ReadYamlKeys(path);

  ASSERT_TRUE(keys.has_value()) << keys.error();
  EXPECT_THAT(*keys, ElementsAre(Pair("sinks.lake.files.url", "/lake"),
                                 Pair("source.postgres.tables", HasSubstr("b.c")),
                                 Pair("source.postgres.url", "${env:URL}")));
  std::filesystem::remove(path);
  EXPECT_EQ(ReadYamlKeys(path).error().kind, ErrorKind::kConfig);
}

TEST(ParseDurationTest, UnitsAreExactAndLimitsHold) {
  EXPECT_EQ(ParseDuration("0s").value(), Duration(0));
  EXPECT_EQ(ParseDuration("30m").value(), std::chrono::minutes(30));
  EXPECT_EQ(ParseDuration("7d").value(), std::chrono::hours(24 * 7));
  for (const char* bad : {"", "5", "s", "-1s", "1.5s", "1 s", "9223372036854775807d"}) {
    EXPECT_FALSE(ParseDuration(bad).has_value()) << bad;
  }
}

TEST(ParseByteSizeTest, BinaryAndDecimalUnitsDiffer) {
  EXPECT_EQ(ParseByteSize("4096")->bytes, 4096);
  EXPECT_EQ(ParseByteSize("1GB")->bytes, 1'000'000'000);
  EXPECT_EQ(ParseByteSize("1GiB")->bytes, 1'073'741'824);
  for (const char* bad : {"", "MiB", "-1", "1 GiB", "9999999999TiB"}) {
    EXPECT_FALSE(ParseByteSize(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace freshet::config
