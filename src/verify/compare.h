#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/table_schema.h"
#include "verify/checksum.h"
#include "verify/side.h"

namespace freshet::verify {

enum class DifferenceKind : uint8_t {
  kMissing,    ///< the source has it, the target has not
  kExtra,      ///< the target has it, the source has not
  kDifferent,  ///< both have it, with other values
  kDuplicate,  ///< the target has it more often than the source
};

/// "missing", "extra", "different", "duplicate".
std::string_view DifferenceKindName(DifferenceKind kind);

/// A key on which the sides do not agree.
struct Difference {
  DifferenceKind kind = DifferenceKind::kDifferent;
  Key key;                           ///< empty for a table without a key
  std::vector<std::string> columns;  ///< kDifferent: names of the columns that differ
  bool moving = false;  ///< the source changed it between the last two readings: the target may
                        ///< only have been late
};

/// What comparing one table came to.
struct TableReport {
  change::TableName name;
  bool has_key = true;
  Content source;  ///< each row as it was last read
  Content target;
  int64_t reread_keys = 0;              ///< keys that differed at first and agreed when read again
  int64_t differing_keys = 0;           ///< keys (rows, without a key) that never agreed
  bool more_may_differ = false;         ///< too many to look at each: there are at least so many
  std::vector<Difference> differences;  ///< the first few
  std::chrono::nanoseconds took{0};

  bool equal() const { return differing_keys == 0 && !more_may_differ; }
};

/// Bounds of a comparison. All have defaults that fit any table.
struct CompareLimits {
  std::chrono::nanoseconds deadline = std::chrono::seconds(30);  ///< for reading again, a table
  size_t differences_shown = 10;
  int64_t rows_held = 200'000;      ///< rows of differing buckets held at a time
  int64_t candidates = 100'000;     ///< differing keys looked at one by one
  size_t keys_per_reading = 2'000;  ///< more differing keys than that: the table is read whole
};

/// Called now and then with the rows read so far, of both sides and all readings.
using OnRows = std::function<void(int64_t rows)>;

/// Compares one table, while both sides may be changing.
///
/// First both sides are read once into sums by bucket of key hash. Rows of the buckets that differ
/// are read again, to find the keys that differ; and those keys are read, source first, until the
/// target shows something that the source has shown since, or the deadline passes. So a target that
/// is merely behind becomes equal, and one that stays wrong does not.
/// Memory: some 10 MB, and 100 to 200 bytes times `rows_held`.
/// Errors: those of the sides.
Result<TableReport> CompareTable(const change::TableSchema& schema, Side& source, Side& target,
                                 const CompareLimits& limits, const Clock& clock,
                                 std::stop_token stop, const OnRows& on_rows);

}  // namespace freshet::verify
