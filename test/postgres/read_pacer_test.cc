#include "postgres/read_pacer.h"

#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int64_t kMessageBytes = 140;

/// Feeds a pacer reads of `messages` every `interval` for two windows. Returns the last pause.
nanoseconds PauseOf(ReadPacer& pacer, int64_t messages, nanoseconds interval,
                    int64_t message_bytes = kMessageBytes) {
  nanoseconds pause{};
  nanoseconds now = seconds(1);
  for (const nanoseconds end = now + 2 * ReadPacer::kWindow + interval; now < end;
       now += interval) {
    pause = pacer.AfterRead(messages, messages * message_bytes, now);
  }
  return pause;
}

TEST(ReadPacerTest, ASlowStreamIsNeverPaused) {
  ReadPacer pacer(false);

  EXPECT_EQ(PauseOf(pacer, 3, milliseconds(10)), nanoseconds(0));
  EXPECT_FALSE(pacer.fast());
}

TEST(ReadPacerTest, AFastStreamIsLeftToFillTheSocket) {
  ReadPacer tcp(false);
  ReadPacer unix_socket(true);

  EXPECT_EQ(PauseOf(tcp, 40, microseconds(200)), ReadPacer::kTcpPause);
  EXPECT_EQ(PauseOf(unix_socket, 40, microseconds(200)), ReadPacer::kUnixPause);
  EXPECT_TRUE(tcp.fast());
}

/// A reader that is woken for every single row is what the pause is there to end.
TEST(ReadPacerTest, RowsThatComeOneByOneAreAFastStreamToo) {
  ReadPacer pacer(false);

  EXPECT_GT(PauseOf(pacer, 1, microseconds(10)), nanoseconds(0));
}

/// However wide rows are, the reader must not become what limits their rate.
TEST(ReadPacerTest, AFullReadOfFewWideMessagesIsFollowedByTheNextAtOnce) {
  ReadPacer narrow(false);
  ReadPacer wide(false);
  ReadPacer huge(false);

  EXPECT_EQ(PauseOf(narrow, 100, microseconds(400)), 100 * ReadPacer::kFastestSend);
  EXPECT_EQ(PauseOf(wide, 12, microseconds(100), 1'300), 12 * ReadPacer::kFastestSend);
  EXPECT_EQ(PauseOf(huge, 1, microseconds(20), 1 << 20), nanoseconds(0));
}

TEST(ReadPacerTest, TheEndOfABurstEndsThePauses) {
  ReadPacer pacer(false);
  ASSERT_GT(PauseOf(pacer, 40, microseconds(200)), nanoseconds(0));

  pacer.AfterRead(0, 0, seconds(2));

  EXPECT_EQ(pacer.AfterRead(3, 3 * kMessageBytes, seconds(2) + milliseconds(10)), nanoseconds(0));
  EXPECT_FALSE(pacer.fast());
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
