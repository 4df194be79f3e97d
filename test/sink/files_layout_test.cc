#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sink/files/layout.h"

namespace freshet::sink::files {
namespace {

using ::testing::HasSubstr;

constexpr UnixMicros kHour = UnixMicros{3'600} * 1'000'000;
constexpr UnixMicros kDay = 24 * kHour;

Layout Make(std::string_view text) {
  auto layout = Layout::Create(text);
  EXPECT_TRUE(layout.has_value()) << layout.error();
  return *layout;
}

TEST(EncodeNameTest, PlainNamesStayAsTheyAre) {
  EXPECT_EQ(EncodeName("order_items-2"), "order_items-2");
}

TEST(EncodeNameTest, OddBytesBecomePercentCodes) {
  EXPECT_EQ(EncodeName("a.b/c d"), "a%2Eb%2Fc%20d");
  EXPECT_EQ(EncodeName("caf\xC3\xA9"), "caf%C3%A9");
  EXPECT_EQ(EncodeName("50%"), "50%25");
}

TEST(EncodeNameTest, NamesAreNeverHiddenNorOurOwnFolder) {
  EXPECT_EQ(EncodeName("_freshet"), "%5Ffreshet");
  EXPECT_EQ(EncodeName(".."), "%2E%2E");
}

TEST(EncodeNameTest, LongNamesAreCutWholeCodesOnlyAndStayApart) {
  const std::string a = EncodeName(std::string(63, '\xC3') + "a");
  const std::string b = EncodeName(std::string(63, '\xC3') + "b");

  EXPECT_LE(a.size(), kMaxEncodedName);
  EXPECT_NE(a, b);
  EXPECT_THAT(a, ::testing::MatchesRegex("(%C3)+~[0-9a-f]{16}"));
}

TEST(LayoutTest, DefaultHasTableAndDay) {
  const Layout layout = Make("{schema}.{table}/dt={dt}/{sequence}");

  EXPECT_EQ(layout.Render({"public", "orders"}, layout.PartitionOf(kDay + 1), "7"),
            "public.orders/dt=1970-01-02/7");
}

TEST(LayoutTest, HourPartitionsByHour) {
  const Layout layout = Make("{table}/{dt}/{hour}/{sequence}");

  EXPECT_NE(layout.PartitionOf(kHour - 1), layout.PartitionOf(kHour));
  EXPECT_EQ(layout.Render({"s", "t"}, layout.PartitionOf(kDay + 5 * kHour), "7"),
            "t/1970-01-02/05/7");
}

TEST(LayoutTest, TimeBefore1970FallsIntoItsDay) {
  const Layout layout = Make("{dt}/{sequence}");

  EXPECT_EQ(layout.Render({"s", "t"}, layout.PartitionOf(-1), "7"), "1969-12-31/7");
}

TEST(LayoutTest, WithoutTimeThereIsOnePartition) {
  const Layout layout = Make("{table}/{sequence}");

  EXPECT_EQ(layout.PartitionOf(0), layout.PartitionOf(400 * kDay));
}

struct BadLayout {
  const char* text;
  const char* reason;
};

class BadLayoutTest : public ::testing::TestWithParam<BadLayout> {};

TEST_P(BadLayoutTest, IsRefusedWithItsReason) {
  const auto layout = Layout::Create(GetParam().text);

  ASSERT_FALSE(layout.has_value());
  EXPECT_EQ(layout.error().kind, ErrorKind::kConfig);
  EXPECT_THAT(layout.error().message, HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(Layouts, BadLayoutTest,
                         ::testing::Values(BadLayout{"", "no {sequence}"},
                                           BadLayout{"{table}", "no {sequence}"},
                                           BadLayout{"{tabel}/{sequence}", "'{tabel}'"},
                                           BadLayout{"{sequence", "'{sequence}'"},
                                           BadLayout{"/{sequence}", "plain path"},
                                           BadLayout{"a//{sequence}", "plain path"},
                                           BadLayout{"../{sequence}", "plain path"},
                                           BadLayout{"_freshet/{sequence}", "plain path"}));

}  // namespace
}  // namespace freshet::sink::files
