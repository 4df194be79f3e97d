#pragma once

#include <string>

#include "pipeline/status.h"

namespace freshet::http {

/// The body of /status. Every part (source, slot, log, table, sink) has a state and, apart from it,
/// a health. int64, LSN and xid are JSON strings, since JSON's numbers are doubles to many readers;
/// times are ISO 8601 in UTC; durations end in `_micros`.
std::string StatusJson(const pipeline::PipelineStatus& status);

/// The body of /healthz: `healthy`, and the reports that say why not.
std::string HealthJson(const pipeline::PipelineStatus& status);

/// "2026-11-21T11:51:28.123456Z"; empty for 0.
std::string IsoTime(UnixMicros time);

/// The answer of /tables: {"tables": [{"schema", "table", "state", ...}]}; `state` is "streaming"
/// or that of a snapshot, whose figures follow as in /status.
std::string TablesJson(const std::vector<pipeline::CarriedTable>& tables);

}  // namespace freshet::http
