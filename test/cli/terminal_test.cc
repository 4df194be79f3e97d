#include "cli/terminal.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace freshet::cli {
namespace {

TEST(TerminalTest, WidthCountsCharactersNotBytesOrColors) {
  EXPECT_EQ(DisplayWidth("abc"), 3U);
  EXPECT_EQ(DisplayWidth("Käse €"), 6U);
  EXPECT_EQ(DisplayWidth("日本"), 4U);
  EXPECT_EQ(DisplayWidth("\x1b[31mred\x1b[0m"), 3U);
  EXPECT_EQ(DisplayWidth("\xe2\x82"), 1U);  // a character that is cut off
}

TEST(TerminalTest, NumbersAreForPeople) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-1'234'567), "-1,234,567");
  EXPECT_EQ(Grouped(-123), "-123");
  EXPECT_EQ(HumanBytes(1'023), "1023 B");
  EXPECT_EQ(HumanBytes(int64_t{10} << 30), "10.0 GiB");
  EXPECT_EQ(HumanDuration(999), "999 us");
  EXPECT_EQ(HumanDuration(3'200), "3.2 ms");
  EXPECT_EQ(HumanDuration(61'000'000), "1 m 01 s");
  EXPECT_EQ(HumanDuration(int64_t{3'900} * 1'000'000), "1 h 05 m");
}

TEST(TerminalTest, PipeGetsNoColors) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);

  EXPECT_EQ(Style::For(ends[1]).Red("x"), "x");

  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace freshet::cli
