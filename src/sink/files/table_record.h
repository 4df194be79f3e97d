#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::sink::files {

/// What `_freshet/tables/<schema>.<table>.json` keeps of a table, for good: the Parquet field id of
/// each column and what each version's columns were.
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

  /// How `schema` differs from the last version in more than added columns: "column 'a' was
  /// dropped". Empty when it does not, or there is no last version.
  std::string BreakingChange(const change::TableSchema& schema) const;

  /// Where the record of a table is kept, under the sink's prefix.
  static std::string PathOf(const change::TableName& name);

 private:
  struct ColumnRecord {
    std::string name;
    std::string type;         ///< change::ToString(LogicalType)
    std::string source_type;  ///< format_type() text, "" when unknown
    int32_t field_id = 0;
    bool key = false;
  };
  struct Version {
    uint64_t fingerprint = 0;
    std::vector<ColumnRecord> columns;
  };

  int32_t FieldId(const change::Column& column);

  change::TableName name_;
  std::map<std::string, int32_t, std::less<>> named_ids_;
  std::vector<Version> versions_;  ///< oldest first
};

}  // namespace freshet::sink::files
