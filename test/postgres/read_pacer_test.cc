#include "postgres/read_pacer.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(ReadPacerTest, ASlowStreamIsNeverPaused) {
  ReadPacer pacer(false);
  pacer.AfterEmptyRead(0, seconds(1));

  // One transaction of three messages every 10 ms.
  EXPECT_EQ(pacer.AfterEmptyRead(3, seconds(1) + milliseconds(10)), nanoseconds(0));
  EXPECT_EQ(pacer.AfterEmptyRead(3, seconds(1) + milliseconds(20)), nanoseconds(0));
}

TEST(ReadPacerTest, AFastStreamIsLeftToFillTheSocket) {
  ReadPacer tcp(false);
  ReadPacer unix_socket(true);
  tcp.AfterEmptyRead(0, seconds(1));
  unix_socket.AfterEmptyRead(0, seconds(1));

  EXPECT_EQ(tcp.AfterEmptyRead(40, seconds(1) + microseconds(200)), ReadPacer::kTcpPause);
  EXPECT_EQ(unix_socket.AfterEmptyRead(40, seconds(1) + microseconds(200)), ReadPacer::kUnixPause);
}

TEST(ReadPacerTest, TheEndOfABurstEndsThePauses) {
  ReadPacer pacer(false);
  pacer.AfterEmptyRead(0, seconds(1));
  ASSERT_GT(pacer.AfterEmptyRead(40, seconds(1) + microseconds(200)), nanoseconds(0));

  EXPECT_EQ(pacer.AfterEmptyRead(0, seconds(1) + microseconds(400)), nanoseconds(0));
}

TEST(ReadPacerTest, AChangeThatComesAloneIsCutAtOnceAndAStreamNowAndThen) {
  ReadPacer pacer(false);

  EXPECT_TRUE(pacer.ShouldCut(seconds(1)));
  pacer.HasCut(seconds(1));

  EXPECT_FALSE(pacer.ShouldCut(seconds(1) + milliseconds(1)));
  EXPECT_EQ(pacer.UntilCut(seconds(1) + milliseconds(1)), milliseconds(4));
  EXPECT_TRUE(pacer.ShouldCut(seconds(1) + milliseconds(5)));
  EXPECT_EQ(pacer.UntilCut(seconds(2)), nanoseconds(0));
}

}  // namespace
}  // namespace freshet::postgres
