#pragma once

#include <string>

#include "pipeline/status.h"

namespace freshet::http {

/// The body of /metrics. Labels are sink, kind of error and part: few by configuration.
/// Source: OpenMetrics 1.0 text format (docs/adr/0060).
std::string MetricsText(const pipeline::PipelineStatus& status);

inline constexpr const char* kMetricsContentType =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

}  // namespace freshet::http
