#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "sink/sink.h"

namespace freshet::sink::files {

/// What `_freshet/tables/<schema>.<table>.json` keeps of a table, for good: the Parquet field id of
/// each column and what each version's columns were. The same stands in `by_id/<oid>.json`, where
/// it is found again once the source has given the table another name.
///
/// A column whose attnum is known has that number as its id, so a rename keeps it; another gets the
/// next number from kFirstNamedId, by name.
class TableRecord {
 public:
  static constexpr int32_t kFirstNamedId = 10'001;

  /// The record of a table never seen before.
  explicit TableRecord(change::TableName name) : name_(std::move(name)) {}

  /// Errors: kCorrupt.
  static Result<TableRecord> Parse(std::string_view json);
  std::string ToJson() const;

  /// Adds a version where it is not known yet. Returns whether that changed the record.
  bool Add(const change::TableSchema& schema);

  /// The field ids of a version's columns, in their order. Every column must have been added.
  std::vector<int32_t> FieldIds(const change::TableSchema& schema) const;

  /// One way in which a version differs from the last: "column 'a' was dropped".
  struct Difference {
    SchemaChange change;
    std::string what;
  };
  /// Files that are written stay as they are, so a sink can only follow a difference or stop at it.
  /// Errors: kUnsupported, by policy.
  static Status Admit(const change::TableName& table, const Difference& difference,
                      const SchemaChangePolicies& policies);

  /// How `schema` differs from the last version; nothing when there is none.
  std::vector<Difference> Differences(const change::TableSchema& schema) const;

  /// What a sink that has followed a table through `versions` does at the last of them, a sentence
  /// each. Errors: kUnsupported where a policy says to stop.
  static Result<std::vector<std::string>> Foresee(const TableVersions& versions,
                                                  const SchemaChangePolicies& policies);

  /// The source's table: 0 in a record of an older freshet.
  change::TableId id() const { return id_; }

  /// Whether files of that version are this table's.
  bool Has(uint64_t fingerprint) const { return Find(fingerprint) != nullptr; }

  /// What a file of version `fingerprint` calls the columns of `schema`; "" where it has none.
  std::vector<std::string> NamesIn(uint64_t fingerprint, const change::TableSchema& schema) const;

  /// Former and present names of the columns of version `fingerprint` that have another in
  /// `schema`; an empty present name for one whose name another column has there.
  std::vector<std::pair<std::string, std::string>> RenamesSince(
      uint64_t fingerprint, const change::TableSchema& schema) const;

  /// What rows from before `column` was added read as, when that is not null.
  std::optional<std::string> MissingValue(const change::Column& column) const;

  /// Where the record of a table is kept, under the sink's prefix.
  static std::string PathOf(const change::TableName& name);
  static std::string PathOf(change::TableId id);

 private:
  struct ColumnRecord {
    std::string name;
    std::string type;         ///< change::ToString(LogicalType)
    std::string source_type;  ///< format_type() text, "" when unknown
    int32_t field_id = 0;
    bool key = false;
    std::optional<std::string> missing_value;
  };
  struct Version {
    uint64_t fingerprint = 0;
    std::vector<ColumnRecord> columns;
  };

  int32_t FieldId(const change::Column& column);
  std::optional<int32_t> KnownFieldId(const change::Column& column) const;
  const Version* Find(uint64_t fingerprint) const;

  change::TableName name_;
  change::TableId id_;
  std::map<std::string, int32_t, std::less<>> named_ids_;
  std::vector<Version> versions_;  ///< oldest first
};

}  // namespace freshet::sink::files
