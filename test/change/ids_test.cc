#include "change/ids.h"

#include <gtest/gtest.h>

namespace freshet::change {
namespace {

TEST(LsnTest, TextRoundTripsWithHighWord) {
  const Lsn lsn{0x16'B374'D848};

  EXPECT_EQ(ToString(lsn), "16/B374D848");
  EXPECT_EQ(ParseLsn("16/B374D848").value(), lsn);
}

TEST(LsnTest, TextThatIsNoLsnIsRefused) {
  for (const char* text : {"", "/", "16", "16/", "/1", "16/B374D8481", "1g/0", "16/0 "}) {
    EXPECT_FALSE(ParseLsn(text).has_value()) << text;
  }
}

TEST(PositionTest, TextRoundTripsWithAndWithoutAnOrdinal) {
  for (const Position& position : {Position{Lsn{0x16'B374'D848}, 0}, Position{Lsn{8}, 17}}) {
    EXPECT_EQ(ParsePosition(ToString(position)).value(), position);
  }
}

TEST(PositionTest, TextThatIsNoPositionIsRefused) {
  for (const char* text : {"", "+1", "0/8+", "0/8+x", "0/8+1 ", "0/8+-1", "0/8+1+1"}) {
    EXPECT_FALSE(ParsePosition(text).has_value()) << text;
  }
}

TEST(PositionTest, InsideATransactionComesBehindItsPredecessorsEnd) {
  EXPECT_LT((Position{Lsn{10}, 0}), (Position{Lsn{10}, 3}));
  EXPECT_LT((Position{Lsn{10}, 3}), (Position{Lsn{11}, 0}));
}

}  // namespace
}  // namespace freshet::change
