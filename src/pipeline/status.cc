#include "pipeline/status.h"

namespace freshet::pipeline {

std::string_view SinkStateName(SinkState state) {
  switch (state) {
    case SinkState::kOpening:
      return "opening";
    case SinkState::kRunning:
      return "running";
    case SinkState::kRetrying:
      return "retrying";
    case SinkState::kFailed:
      return "failed";
    case SinkState::kStopped:
      return "stopped";
  }
  return "stopped";
}

std::string_view HealthName(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kDegraded:
      return "degraded";
    case Health::kFailing:
      return "failing";
  }
  return "failing";
}

}  // namespace freshet::pipeline
