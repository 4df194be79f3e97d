#pragma once

#include "pipeline/status.h"

namespace freshet::test {

/// The status of a pipeline at work, with one sink "warehouse" that is healthy and one "lake" that
/// retries. Numbers are fixed.
pipeline::PipelineStatus MakePipelineStatus();

}  // namespace freshet::test
