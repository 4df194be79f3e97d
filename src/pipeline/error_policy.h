#pragma once

#include <chrono>
#include <cstdint>

#include "base/result.h"

namespace freshet::pipeline {

/// What a pipeline does about an error.
enum class Reaction : uint8_t {
  kRetry,  ///< try again after a pause that grows
  kStop,   ///< trying again cannot help: stop this part and say so
};

/// The one place that decides by kind of error.
///
/// `ran_before`: the part has worked since the process started. At a start the operator is
/// watching, and what only an operator can mend (rights, names, configuration) ends the process
/// with its exit code; once it has worked, the same error is likely to be mended behind our back,
/// so it is tried again.
Reaction ReactionTo(ErrorKind kind, bool ran_before);

/// Pauses between tries: doubles from 100 ms to 30 s, with up to a quarter of jitter taken off, so
/// that many pipelines do not return at the same moment.
class Backoff {
 public:
  explicit Backoff(uint64_t seed) : state_(seed | 1) {}

  /// The pause before the next try.
  std::chrono::milliseconds Next();

  /// After a success: begin small again.
  void Reset() { tries_ = 0; }

  int tries() const { return tries_; }

 private:
  uint64_t state_;
  int tries_ = 0;
};

/// How long a start waits for a peer that is away or holds what we need (a slot whose old
/// connection the server has not noticed is gone) before it gives up.
inline constexpr std::chrono::seconds kStartGrace{15};

}  // namespace freshet::pipeline
