#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::log {

/// One table version as the payload of a schema record. Bytes: docs/log_format.md, "Schema".
std::vector<std::byte> EncodeSchema(const change::TableSchema& schema);

/// Errors: kMalformed.
Result<std::shared_ptr<const change::TableSchema>> DecodeSchema(std::span<const std::byte> payload);

}  // namespace freshet::log
