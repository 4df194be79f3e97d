#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "change/change_batch.h"

namespace freshet::test {

/// Tables as a target that goes by key would have them, kept in memory as text. CHECKs that rows
/// which the log calls fresh are not there yet.
class KeyedTarget {
 public:
  using Key = std::vector<std::string>;
  using Row = std::vector<std::optional<std::string>>;  ///< nullopt: never given; in column order
  using Rows = std::map<Key, Row>;

  /// A row, by table ("public.docs") and key.
  using RowId = std::pair<std::string, Key>;

  /// Applies the steps and changes of transaction `index` of `batch`. Adds the rows it touched to
  /// `touched`.
  void Apply(const change::ChangeBatch& batch, int32_t index, std::set<RowId>& touched);

  const std::map<std::string, Rows>& tables() const { return tables_; }

  /// Null when there is none.
  const Row* Find(const RowId& id) const;

  /// Every row, as an id.
  std::set<RowId> AllRows() const;

 private:
  void Apply(const change::TableChanges& changes, int32_t index, std::set<RowId>& touched);
  void Clear(const std::string& table, std::set<RowId>& touched);

  std::map<std::string, Rows> tables_;
  std::map<change::TableId, std::string> names_;
};

}  // namespace freshet::test
