#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "cli/demo/view.h"

namespace freshet::cli::demo {
namespace {

View MakeView() {
  View view;
  view.elapsed_seconds = 15;
  view.total_seconds = 30;
  view.postgres_version = "15.20";
  view.written_rows = 12'345;
  view.written_per_second = 250;
  view.pipeline_state = "streaming";
  view.lag_bytes = 2048;
  view.sinks = {{.name = "warehouse", .kind = "duckdb", .rows = 12'000, .p99_ms = 1'234},
                {.name = "lake", .kind = "files", .rows = 11'000}};
  return view;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

TEST(PictureTest, ShowsSourcePipelineAndEverySink) {
  const std::string picture = Joined(Picture(MakeView(), Style()));

  EXPECT_NE(picture.find("15 of 30 s"), std::string::npos);
  EXPECT_NE(picture.find("12,345 rows by the application"), std::string::npos);
  EXPECT_NE(picture.find("streaming"), std::string::npos);
  EXPECT_NE(picture.find("├── warehouse"), std::string::npos);
  EXPECT_NE(picture.find("└── lake"), std::string::npos);
  EXPECT_NE(picture.find("1.2 s"), std::string::npos);
  EXPECT_EQ(picture.find('\033'), std::string::npos);
}

TEST(PictureTest, FitsInEightyColumns) {
  View view = MakeView();
  view.restarts = 1;
  view.written_rows = 123'456'789;
  view.written_per_second = 123'456;
  view.sinks[0] = {.name = "warehouse",
                   .kind = "discard",
                   .rows = 123'456'789,
                   .rows_per_second = 123'456,
                   .p50_ms = 999,
                   .p95_ms = 12'345,
                   .p99_ms = 123'456};

  for (const std::string& line : Picture(view, Style())) EXPECT_LE(DisplayWidth(line), 80U) << line;
}

TEST(PictureTest, AKillIsSurvivedOnceItIsCaughtUpAgain) {
  View view = MakeView();
  view.restarts = 1;
  EXPECT_NE(Joined(Picture(view, Style())).find("kill -9, catching up"), std::string::npos);

  view.recovered = true;

  EXPECT_NE(Joined(Picture(view, Style())).find("kill -9 survived"), std::string::npos);
}

TEST(PictureTest, AKilledPipelineIsShownAsThat) {
  View view = MakeView();
  view.running = false;

  const std::string picture = Joined(Picture(view, Style()));

  EXPECT_NE(picture.find("killed"), std::string::npos);
  EXPECT_EQ(picture.find("streaming"), std::string::npos);
}

TEST(ScreenTest, OutsideATerminalEverythingIsAPlainLineNowAndThen) {
  std::ostringstream out;
  {
    Screen screen(out, false, Style());
    screen.Step("started");
    screen.Doing("something");
    View view = MakeView();
    for (int tenths = 0; tenths < 40; ++tenths) {
      view.elapsed_seconds = tenths / 10.0;
      screen.Show(view);
    }
  }
  const std::string text = out.str();

  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_EQ(text.find("something"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
}

/// Whatever is drawn, the terminal is left as it was: cursor visible, the picture gone.
TEST(ScreenTest, ATerminalGetsItsCursorBack) {
  std::ostringstream out;
  {
    Screen screen(out, true, Style());
    screen.Show(MakeView());
    screen.Event("killed");
    screen.Show(MakeView());
  }
  const std::string text = out.str();
  const auto lines = Picture(MakeView(), Style()).size();

  EXPECT_TRUE(text.ends_with("\033[?25h"));
  EXPECT_NE(text.find("\033[" + std::to_string(lines) + "A"), std::string::npos);
}

}  // namespace
}  // namespace freshet::cli::demo
