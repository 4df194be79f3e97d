#include "base/figures.h"

#include <gtest/gtest.h>

namespace freshet {
namespace {

TEST(FiguresTest, NumbersAreForPeople) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-1'234'567), "-1,234,567");
  EXPECT_EQ(Grouped(-123), "-123");
  EXPECT_EQ(HumanBytes(1'023), "1023 B");
  EXPECT_EQ(HumanBytes(int64_t{10} << 30), "10.0 GiB");
  EXPECT_EQ(HumanDuration(999), "999 us");
  EXPECT_EQ(HumanDuration(3'200), "3.2 ms");
  EXPECT_EQ(HumanDuration(123'456), "123 ms");
  EXPECT_EQ(HumanDuration(61'000'000), "1 m 01 s");
  EXPECT_EQ(HumanDuration(int64_t{3'900} * 1'000'000), "1 h 05 m");
}

}  // namespace
}  // namespace freshet
