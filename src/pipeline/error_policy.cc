#include "pipeline/error_policy.h"

#include <algorithm>

namespace freshet::pipeline {

Reaction ReactionTo(ErrorKind kind, bool ran_before) {
  switch (kind) {
    case ErrorKind::kUnavailable:
    case ErrorKind::kBusy:
    case ErrorKind::kNoSpace:
      return Reaction::kRetry;
    case ErrorKind::kDenied:
    case ErrorKind::kNotFound:
    case ErrorKind::kIo:
      return ran_before ? Reaction::kRetry : Reaction::kStop;
    case ErrorKind::kConfig:
    case ErrorKind::kUnsupported:
    case ErrorKind::kMalformed:
    case ErrorKind::kCorrupt:
    case ErrorKind::kGap:
    case ErrorKind::kCancelled:
    case ErrorKind::kFatal:
      return Reaction::kStop;
  }
  return Reaction::kStop;
}

std::chrono::milliseconds Backoff::Next() {
  constexpr int64_t kFirstMs = 100;
  constexpr int64_t kMostMs = 30'000;
  constexpr int kMostDoublings = 9;
  const int64_t full = std::min(kMostMs, kFirstMs << std::min(tries_, kMostDoublings));
  ++tries_;
  state_ ^= state_ << 13;  // xorshift64: any scatter will do
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return std::chrono::milliseconds(full - static_cast<int64_t>(state_ % 1024) * full / 4096);
}

}  // namespace freshet::pipeline
