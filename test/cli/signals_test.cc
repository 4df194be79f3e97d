#include "cli/signals.h"

#include <gtest/gtest.h>

#include <csignal>
#include <semaphore>

#include "base/clock.h"

namespace freshet::cli {
namespace {

using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

/// Handlers belong to a process, so each case has one of its own.
class SignalsTest : public ::testing::Test {
 protected:
  SignalsTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  /// Waits for the stop and exits with 0 when it came.
  [[noreturn]] static void ExitWhenStopped(const std::stop_token& stop) {
    const bool waited = SystemClock().WaitFor(std::chrono::minutes(1), stop);
    std::exit(waited ? 1 : 0);
  }
};

TEST_F(SignalsTest, EitherSignalRequestsAStop) {
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EXIT(
        {
          const std::stop_token stop = StopOnSignals();
          std::raise(signal);
          ExitWhenStopped(stop);
        },
        ExitedWithCode(0), "");
  }
}

TEST_F(SignalsTest, TheSecondSignalEndsTheProcessWith130) {
  EXPECT_EXIT(
      {
        StopOnSignals();
        std::raise(SIGINT);
        std::raise(SIGTERM);
      },
      ExitedWithCode(130), "");
}

TEST_F(SignalsTest, EveryCallGivesTheSameStop) {
  EXPECT_EXIT(
      {
        StopOnSignals();
        const std::stop_token second = StopOnSignals();
        std::raise(SIGTERM);
        ExitWhenStopped(second);
      },
      ExitedWithCode(0), "");
}

/// However many reloads: they are no step towards the signal that ends the process.
TEST_F(SignalsTest, HangupsReloadAndDoNotStop) {
  EXPECT_EXIT(
      {
        const std::stop_token stop = StopOnSignals();
        std::counting_semaphore<> reloads(0);
        const OnHangup hangup([&] { reloads.release(); });
        for (int i = 0; i < 3; ++i) {
          std::raise(SIGHUP);
          reloads.acquire();
        }
        if (stop.stop_requested()) std::exit(2);
        std::raise(SIGTERM);
        ExitWhenStopped(stop);
      },
      ExitedWithCode(0), "");
}

TEST_F(SignalsTest, StopDoesNotWaitForAReload) {
  EXPECT_EXIT(
      {
        const std::stop_token stop = StopOnSignals();
        std::binary_semaphore reloading(0);
        std::binary_semaphore go_on(0);
        const OnHangup hangup([&] {
          reloading.release();
          go_on.acquire();
        });
        std::raise(SIGHUP);
        reloading.acquire();
        std::raise(SIGTERM);
        const bool stopped = !SystemClock().WaitFor(std::chrono::minutes(1), stop);
        go_on.release();
        std::exit(stopped ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST_F(SignalsTest, OnceNobodyReloadsAHangupEndsTheProcess) {
  EXPECT_EXIT(
      {
        {
          const OnHangup hangup([] {});
        }
        std::raise(SIGHUP);
      },
      KilledBySignal(SIGHUP), "");
}

TEST_F(SignalsTest, ACommandThatDoesNotAskIsEndedByTheFirst) {
  EXPECT_EXIT(std::raise(SIGTERM), KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace freshet::cli
