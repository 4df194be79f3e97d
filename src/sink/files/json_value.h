#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "change/logical_type.h"

namespace arrow {
class Array;
}

namespace freshet::sink::files {

/// Appends one value of `array`, a column of `type`, as JSON: the mapping of docs/files_layout.md.
///
/// Integers are JSON numbers; decimals, whose exact value most readers would lose, are strings, as
/// are NaN and the infinities; bytes are base64; times ISO 8601.
void AppendJsonValue(const change::LogicalType& type, const arrow::Array& array, int64_t row,
                     std::string& out);

/// ISO 8601 texts. Years outside 0000 to 9999 have a sign and at least five digits; year 0 is 1 BC.
void AppendDate(int64_t days, std::string& out);
void AppendTime(int64_t micros_of_day, std::string& out);
void AppendTimestamp(int64_t unix_micros, bool utc, std::string& out);

/// Read those texts again, to the microsecond. False when `text` is none.
bool ParseDate(std::string_view text, int32_t& days);
bool ParseTime(std::string_view text, int64_t& micros_of_day);
bool ParseTimestamp(std::string_view text, int64_t& unix_micros);

void AppendBase64(std::string_view bytes, std::string& out);
bool ParseBase64(std::string_view text, std::string& bytes);

/// "00112233-4455-6677-8899-aabbccddeeff" of 16 bytes, and back.
void AppendUuid(std::string_view bytes, std::string& out);
bool ParseUuid(std::string_view text, std::string& bytes);

}  // namespace freshet::sink::files
