#include "postgres/slot.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

using change::Lsn;

constexpr std::string_view kHistory =
    "# comment\n"
    "1\t0/3000158\tno recovery target specified\n"
    "\n"
    "12\t1A/0\tbefore 2000-01-01 00:00:00+00\n";

TEST(TimelineHistoryTest, EveryTimelineEndsWhereItsLineSays) {
  EXPECT_EQ(FindTimelineEnd(kHistory, 1), Lsn{0x3000158});
  EXPECT_EQ(FindTimelineEnd(kHistory, 12), Lsn{0x1A'0000'0000});
}

TEST(TimelineHistoryTest, TimelinesThatAreNotInItHaveNoEnd) {
  EXPECT_EQ(FindTimelineEnd(kHistory, 2), std::nullopt);
  EXPECT_EQ(FindTimelineEnd("", 1), std::nullopt);
  EXPECT_EQ(FindTimelineEnd("1", 1), std::nullopt);
  EXPECT_EQ(FindTimelineEnd("1\tnonsense\tx\n1 0/10 y", 1), Lsn{0x10});
}

}  // namespace
}  // namespace freshet::postgres
