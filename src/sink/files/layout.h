#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::sink::files {

/// Freshet's own folder under a sink's prefix: manifest, lists, intents, temporary files.
inline constexpr std::string_view kOwnFolder = "_freshet";

/// `name` with everything but ASCII letters, digits, '-' and inner '_' as %XX, so that it is one
/// path component everywhere, never hidden and never freshet's own folder. A result above
/// kMaxEncodedName is cut and gets a hash of the whole behind '~'.
std::string EncodeName(std::string_view name);

inline constexpr size_t kMaxEncodedName = 100;

/// Turns the `layout` template into paths.
class Layout {
 public:
  /// Errors: kConfig for an unknown or missing placeholder or a path that would leave the prefix.
  static Result<Layout> Create(std::string_view text);

  /// The part of time that all changes of one file share: days, or hours when the template has
  /// {hour}, since 1970 UTC; always 0 when it has neither.
  int64_t PartitionOf(UnixMicros commit_time) const;

  /// The path of a file under the prefix, without extension. `sequence` is unique in the prefix.
  std::string Render(const change::TableName& table, int64_t partition,
                     std::string_view sequence) const;

 private:
  enum class Part : uint8_t { kLiteral, kSchema, kTable, kDate, kHour, kSequence };
  struct Piece {
    Part part;
    std::string literal;
  };

  Layout() = default;

  std::vector<Piece> pieces_;
  int64_t partition_micros_ = 0;  ///< 0: time does not matter
};

}  // namespace freshet::sink::files
