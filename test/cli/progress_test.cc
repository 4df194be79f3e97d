#include "cli/progress.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/logging.h"
#include "support/manual_clock.h"

namespace freshet::cli {
namespace {

struct Streams {
  std::ostringstream out;
  std::ostringstream err;

  Context MakeContext(bool terminal, Output output = Output::kText) {
    return {.out = out, .err = err, .output = output, .redraws_progress = terminal};
  }
};

TEST(ProgressTest, PipeGetsPlainLinesNowAndThen) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/false);
  test::ManualClock clock;
  Progress progress(context, clock);

  progress.Update("drain", 0, 10, "0 rows");
  progress.Update("copy", 3, 10, "3 rows");
  clock.Advance(Progress::kLineInterval);
  progress.Update("drain", 5, 10, "5 rows");
  progress.Update("drain", 6, 10, "6 rows");
  progress.Finish("done");

  EXPECT_EQ(streams.err.str(),
            "drain  [############------------]  50 %  5 rows\n"
            "done\n");
  EXPECT_EQ(streams.out.str(), "");
}

TEST(ProgressTest, TerminalIsRedrawnInPlaceAndLeftClean) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/true);
  test::ManualClock clock;
  {
    Progress progress(context, clock);
    progress.Update("copy", 1, 0, "1 row");
    progress.Update("copy", 2, 0, "2 rows");
  }

  EXPECT_EQ(streams.err.str(), "\r\x1b[Kcopy  1 row\r\x1b[K");
}

TEST(ProgressTest, LineOfLoggingStandsAboveTheProgress) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/true);
  test::ManualClock clock;
  Progress progress(context, clock);

  logging::Info("before anything is drawn");
  progress.Update("copy", 1, 0, "1 row");
  streams.err.str("");
  testing::internal::CaptureStderr();
  logging::Info("in between");

  EXPECT_NE(testing::internal::GetCapturedStderr().find("in between\n"), std::string::npos);
  EXPECT_EQ(streams.err.str(), "\r\x1b[K\r\x1b[Kcopy  1 row");  // taken away, and drawn again
}

TEST(ProgressTest, NewWorkIsShownAtOnceOnATerminal) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/true);
  test::ManualClock clock;
  Progress progress(context, clock);

  progress.Update("snapshot", 1, 0, "");
  progress.Update("stream", 1, 0, "");

  EXPECT_EQ(streams.err.str(), "\r\x1b[Ksnapshot\r\x1b[Kstream");
}

TEST(ProgressTest, JsonOutputHasNone) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/true, Output::kJson);
  test::ManualClock clock;
  Progress progress(context, clock);

  progress.Update("drain", 1, 2, "x");
  progress.Finish("done");

  EXPECT_EQ(streams.err.str(), "");
}

TEST(ProgressTest, MoreThanTheTotalIsFull) {
  Streams streams;
  const Context context = streams.MakeContext(/*terminal=*/true);
  test::ManualClock clock;
  Progress progress(context, clock);

  progress.Update("drain", 30, 10, "");

  EXPECT_EQ(streams.err.str(), "\r\x1b[Kdrain  [########################] 100 %");
}

}  // namespace
}  // namespace freshet::cli
