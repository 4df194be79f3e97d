#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"

namespace freshet::postgres {

/// `text` matches `pattern`, in which `*` stands for any run of characters, `?` for any one.
bool GlobMatches(std::string_view pattern, std::string_view text);

/// Chooses tables by globs over `schema.table`; both sides of the first dot are globs of their own.
/// Immutable. Threads: any.
class TableFilter {
 public:
  /// Errors: kConfig when a glob has no dot, or `tables` is empty.
  static Result<TableFilter> Create(const std::vector<std::string>& tables,
                                    const std::vector<std::string>& exclude);

  bool Matches(const change::TableName& name) const;

  /// The globs that choose, for people: "public.*, audit.log_?".
  std::string globs() const;

  /// The names without any wildcard: tables that must be there.
  std::vector<change::TableName> ExactNames() const;

 private:
  /// A glob for the schema and one for the table.
  std::vector<change::TableName> include_;
  std::vector<change::TableName> exclude_;
};

}  // namespace freshet::postgres
