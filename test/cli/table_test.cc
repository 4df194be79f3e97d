#include "cli/table.h"

#include <gtest/gtest.h>

namespace freshet::cli {
namespace {

TEST(TableTest, ColumnsAreAligned) {
  Table table({{"name"}, {"rows", Table::Align::kRight}, {"note"}});
  table.Add({"a", "1,234", "x"});
  table.Add({"länger", "5"});

  EXPECT_EQ(table.Render(Style(), 2),
            "  name     rows  note\n"
            "  a       1,234  x\n"
            "  länger      5\n");
}

TEST(TableTest, ValueCannotBreakALine) {
  Table table({{"v"}});
  table.Add({"a\nb\tc\x01"});

  EXPECT_EQ(table.Render(Style()), "v\na\\nb\\tc\\x01\n");
}

}  // namespace
}  // namespace freshet::cli
