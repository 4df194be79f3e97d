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

TEST(TerminalTest, PipeGetsNoColors) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);

  EXPECT_EQ(Style::For(ends[1]).Red("x"), "x");

  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace freshet::cli
