#include "postgres/request_desk.h"

#include <gtest/gtest.h>

#include <thread>

namespace freshet::postgres {
namespace {

TEST(RequestDeskTest, WithoutAStreamItTurnsAway) {
  RequestDesk desk;

  const Status answer = desk.Ask({.table = {"public", "t"}}, 1);

  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, ErrorKind::kUnavailable);
}

TEST(RequestDeskTest, TheStreamsAnswerReachesWhoAsked) {
  RequestDesk desk;
  desk.Open();
  std::jthread stream([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      desk.Serve([](const RequestDesk::Request& request) -> Status {
        if (request.replaces) return {};
        return Fail(ErrorKind::kNotFound, "no table {}", change::ToString(request.table));
      });
      std::this_thread::yield();
    }
  });

  const Status good = desk.Ask({.table = {"public", "t"}, .replaces = true}, 1);
  const Status bad = desk.Ask({.table = {"public", "t"}}, 1);

  EXPECT_TRUE(good.has_value());
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().message, "no table public.t");
}

TEST(RequestDeskTest, AStreamThatEndsAnswersThoseWhoWait) {
  RequestDesk desk;
  desk.Open();
  std::jthread stream([&](std::stop_token stop) {
    // Closing before it was asked turns away, too.
    while (!stop.stop_requested()) {
      desk.Close();
      std::this_thread::yield();
    }
  });

  const Status answer = desk.Ask({.table = {"public", "t"}}, 1);

  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, ErrorKind::kUnavailable);
}

TEST(RequestDeskTest, NoMoreWaitThanTheLimit) {
  RequestDesk desk;
  desk.Open();

  const Status answer = desk.Ask({.table = {"public", "t"}}, 0);

  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, ErrorKind::kBusy);
}

}  // namespace
}  // namespace freshet::postgres
