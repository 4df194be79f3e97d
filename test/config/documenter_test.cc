#include "config/documenter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "config/yaml_reader.h"

namespace freshet::config {
namespace {

using ::testing::HasSubstr;

TEST(DocumenterTest, KeysHaveTypeDefaultAndMeaning) {
  const std::string page = DocumentKeys([](Binder& binder) {
    static constexpr std::array<std::string_view, 2> kColors = {"red", "green"};
    bool on = true;
    int64_t count = 7;
    std::string name;
    Secret secret("hunter2");
    Duration wait = std::chrono::minutes(5);
    ByteSize size{int64_t{64} << 20};
    std::vector<std::string> list{"a", "b"};
    size_t color = 1;
    binder.Value({"on", "Whether it is on."}, on);
    binder.Value({"count", "a | b"}, count);
    binder.Value({"name", "What it is called.", true}, name);
    binder.Value({"password", "Its password."}, secret);
    binder.Value({"wait", "How long."}, wait);
    binder.Value({"size", "How much."}, size);
    binder.Value({"list", "Which."}, list);
    binder.Choice({"color", "Of the door."}, kColors, color);
    binder.Reject("on", "is never an error here");
  });

  EXPECT_EQ(page,
            "| key | type | default | meaning |\n"
            "|---|---|---|---|\n"
            "| `on` | true or false | `true` | Whether it is on. |\n"
            "| `count` | number | `7` | a \\| b |\n"
            "| `name` | text | required | What it is called. |\n"
            "| `password` | secret |  | Its password. |\n"
            "| `wait` | duration | `5m` | How long. |\n"
            "| `size` | size | `64MiB` | How much. |\n"
            "| `list` | list | `[a, b]` | Which. |\n"
            "| `color` | `red`, `green` | `green` | Of the door. |\n");
}

TEST(DocumenterTest, MappingsFollowUnderTheirPath) {
  const std::string page = DocumentKeys([](Binder& binder) {
    binder.Section({"outer", "The outer one."}, [](Binder& outer) {
      outer.Map({"things", "By name."}, [](const std::string& name, Binder& thing) {
        EXPECT_EQ(name, "NAME");
        std::string x = "y";
        thing.Value({"x", "An x."}, x);
      });
      outer.Section({"empty", "Has none."}, [](Binder&) {});
    });
  });

  EXPECT_THAT(page, HasSubstr("| `outer` | mapping, below |  | The outer one. |\n"));
  EXPECT_THAT(page, HasSubstr("\n## `outer.things.NAME`\n\nBy name.\n\n| key |"));
  EXPECT_THAT(page, HasSubstr("| `x` | text | `y` | An x. |\n"));
  EXPECT_THAT(page, HasSubstr("\n## `outer.empty`\n\nHas none.\n\nNo keys.\n"));
}

/// What the page says must be what a file may say.
TEST(DocumenterTest, FormattedValuesAreReadBack) {
  for (const int64_t micros : {0L, 1L, 250'000L, 1'000'000L, 90'000'000L, 86'400'000'000L}) {
    const auto read = ParseDuration(FormatDuration(Duration(micros)));
    ASSERT_TRUE(read.has_value()) << FormatDuration(Duration(micros));
    EXPECT_EQ(read->count(), micros);
  }
  for (const int64_t bytes : {0L, 1L, 4'095L, 4'096L, 64L << 20, 10L << 30}) {
    const auto read = ParseByteSize(FormatByteSize({bytes}));
    ASSERT_TRUE(read.has_value()) << FormatByteSize({bytes});
    EXPECT_EQ(read->bytes, bytes);
  }
}

}  // namespace
}  // namespace freshet::config
