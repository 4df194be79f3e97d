#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "change/change_batch.h"

namespace freshet::sink {

/// What a sink stores in its target, in the same atomic act as the rows.
struct StoredPosition {
  std::string source;  ///< change::SourceKey(): a target filled from another source is refused
  std::string log_id;
  int64_t log_offset = 0;  ///< batches of that log applied; informative, `position` decides
  change::Position position;

  bool operator==(const StoredPosition&) const = default;
};

/// What a target's table is.
enum class WriteMode : uint8_t {
  kUpsert,  ///< equal to the source's table
  kAppend,  ///< a changelog: one row a row image, with `_cdc_*` columns
};

/// What happens to a value that the target's column type cannot hold (ValueException).
enum class ExceptionPolicy : uint8_t {
  kKeepText,  ///< the column is null, the exact text stands in `_cdc_exceptions` (JSON, by column)
  kNull,      ///< the column is null, counted
  kFail,      ///< the sink stops
};

/// What a changelog's row holds in a column whose value was not sent (unchanged TOAST).
enum class UnchangedPolicy : uint8_t {
  kFill,  ///< the row's last value, where the target can be read; else as kMark
  kMark,  ///< null, and the column is named in `_cdc_unchanged`
};

/// In what way a table version may differ from the one before it.
enum class SchemaChange : uint8_t {
  kAddColumn,
  kDropColumn,
  kRenameColumn,
  kChangeType,
  kChangeKey,      ///< other columns identify a row
  kRenameTable,    ///< renamed, or moved to another schema
  kRecreateTable,  ///< dropped, and another made under its name
};
inline constexpr size_t kSchemaChanges = 7;

/// "add_column", ... as in a configuration.
std::string_view SchemaChangeName(SchemaChange change);

/// What a sink does about a SchemaChange. What evolve and ignore mean for each class stands in
/// docs/schema_changes.md.
enum class SchemaChangePolicy : uint8_t {
  kEvolve,  ///< the target follows
  kIgnore,  ///< the target stays as it is
  kFail,    ///< the sink stops before the first row of the new version
};

/// The policy of each class.
struct SchemaChangePolicies {
  std::array<SchemaChangePolicy, kSchemaChanges> of = {};

  /// One policy for all. Under kFail columns may still be added, which harms no reader.
  static SchemaChangePolicies All(SchemaChangePolicy policy);

  SchemaChangePolicy Of(SchemaChange change) const { return of[static_cast<size_t>(change)]; }
};

/// Versions of one table, oldest first; never empty.
using TableVersions = std::vector<std::shared_ptr<const change::TableSchema>>;

/// What every sink is told of its place in a pipeline.
struct SinkOptions {
  std::string name;  ///< key under `sinks:`
  WriteMode mode = WriteMode::kUpsert;
  ExceptionPolicy exceptions = ExceptionPolicy::kKeepText;
  SchemaChangePolicies schema_changes = {};
  UnchangedPolicy unchanged = UnchangedPolicy::kFill;
};

/// A figure a sink counts for itself, shown in status, and in metrics as
/// `freshet_sink_<kind>_<name>`.
struct Counter {
  std::string name;  ///< lower_snake_case, with unit
  std::string help;
  int64_t value = 0;
};

/// What a sink says of itself.
struct Description {
  std::string kind;                 ///< "duckdb"
  std::string target;               ///< where it writes, without secrets
  std::string guarantee;            ///< "exactly once"
  std::vector<std::string> limits;  ///< what it cannot represent, a sentence each
  std::vector<Counter> counters;
};

/// Carries batches into one target, exactly once.
///
/// The contract, with the reasons: docs/sink_contract.md. A sink knows neither slot, log nor other
/// sinks, holds no position outside its target, and neither retries nor waits on its own: it
/// classifies an error and returns it (pipeline/error_policy.cc decides).
/// After any error of Write, Prepare or Flush the caller calls Open again and starts over at the
/// position it returns; a sink drops what it had buffered. Threads: every call from the sink's own
/// thread, except Describe(), which may come from any.
class Sink {
 public:
  virtual ~Sink() = default;

  /// Connects, fences a predecessor that may still run, cleans what it left unfinished, and returns
  /// the position that is durable in the target; none when the target is new. May be called again
  /// after errors. Errors: kUnavailable, kBusy, kDenied, kNotFound, kCorrupt.
  virtual Result<std::optional<StoredPosition>> Open(std::stop_token stop) = 0;

  /// Puts a table version in force: creates or evolves its target by policy. Called before the
  /// first rows of that version, and again after a restart. Part of the next Flush where the target
  /// can do DDL in a transaction. Errors: kUnsupported (policy fail), and those of Open.
  virtual Status Prepare(const change::TableSchema& schema) = 0;

  /// Takes `batch`, which begins behind all taken before. May buffer, bounded. `behind` is the
  /// place to store once everything up to and including the batch is durable; it changes at the end
  /// of transactions only.
  virtual Status Write(const std::shared_ptr<const change::ChangeBatch>& batch,
                       const StoredPosition& behind) = 0;

  /// Makes all written durable, rows and position in one act, and returns the position. Never
  /// called while a transaction is open (the last batch has ends_transaction()).
  virtual Result<StoredPosition> Flush() = 0;

  /// Lets go of the target. What was not flushed is dropped; it comes again.
  virtual Status Close() = 0;

  virtual Description Describe() const = 0;

  /// A new target may begin at the oldest change the log still holds, whatever came before.
  virtual bool StartsAnywhere() const { return false; }
};

}  // namespace freshet::sink
