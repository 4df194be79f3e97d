#include "postgres/read_pacer.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// Feeds a pacer `messages` every `interval` for two windows. Returns the last pause.
nanoseconds PauseOf(ReadPacer& pacer, int64_t messages, nanoseconds interval) {
  nanoseconds pause{};
  nanoseconds now = seconds(1);
  for (const nanoseconds end = now + 2 * ReadPacer::kWindow + interval; now < end;
       now += interval) {
    pause = pacer.AfterEmptyRead(messages, now);
  }
  return pause;
}

TEST(ReadPacerTest, ASlowStreamIsNeverPaused) {
  ReadPacer pacer(false);

  EXPECT_EQ(PauseOf(pacer, 3, milliseconds(10)), nanoseconds(0));
}

TEST(ReadPacerTest, AFastStreamIsLeftToFillTheSocket) {
  ReadPacer tcp(false);
  ReadPacer unix_socket(true);

  EXPECT_EQ(PauseOf(tcp, 40, microseconds(200)), ReadPacer::kTcpPause);
  EXPECT_EQ(PauseOf(unix_socket, 40, microseconds(200)), ReadPacer::kUnixPause);
}

/// A reader that is woken for every single row is what the pause is there to end.
TEST(ReadPacerTest, RowsThatComeOneByOneAreAFastStreamToo) {
  ReadPacer pacer(false);

  EXPECT_GT(PauseOf(pacer, 1, microseconds(10)), nanoseconds(0));
}

TEST(ReadPacerTest, TheEndOfABurstEndsThePauses) {
  ReadPacer pacer(false);
  ASSERT_GT(PauseOf(pacer, 40, microseconds(200)), nanoseconds(0));

  pacer.AfterEmptyRead(0, seconds(2));

  EXPECT_EQ(pacer.AfterEmptyRead(3, seconds(2) + milliseconds(10)), nanoseconds(0));
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
