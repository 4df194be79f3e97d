#include "pipeline/error_policy.h"

#include <gtest/gtest.h>

namespace freshet::pipeline {
namespace {

TEST(ErrorPolicyTest, WhatOnlyAnOperatorCanMendStopsAStart) {
  EXPECT_EQ(ReactionTo(ErrorKind::kDenied, false), Reaction::kStop);
  EXPECT_EQ(ReactionTo(ErrorKind::kDenied, true), Reaction::kRetry);
}

TEST(ErrorPolicyTest, LossAndDamageAreNeverRetried) {
  for (const bool ran : {false, true}) {
    EXPECT_EQ(ReactionTo(ErrorKind::kGap, ran), Reaction::kStop);
    EXPECT_EQ(ReactionTo(ErrorKind::kCorrupt, ran), Reaction::kStop);
  }
}

TEST(BackoffTest, PausesDoubleUpToALimitAndShrinkByAQuarterAtMost) {
  Backoff backoff(7);

  int64_t full = 100;
  for (int i = 0; i < 20; ++i) {
    const int64_t pause = backoff.Next().count();
    EXPECT_LE(pause, full);
    EXPECT_GE(pause, full * 3 / 4);
    full = std::min<int64_t>(full * 2, 30'000);
  }
}

TEST(BackoffTest, SuccessBeginsSmallAgain) {
  Backoff backoff(7);
  for (int i = 0; i < 5; ++i) static_cast<void>(backoff.Next());

  backoff.Reset();

  EXPECT_LE(backoff.Next().count(), 100);
}

}  // namespace
}  // namespace freshet::pipeline
