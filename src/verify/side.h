#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/table_schema.h"
#include "verify/row.h"

namespace freshet::verify {

/// The texts of a row's key columns, in the order of TableSchema::key_columns().
using Key = std::vector<std::string>;

/// One table as one of the two sides holds it. Each call reads what is committed at its time.
/// Threads: one.
class Side {
 public:
  /// Gets the rows, one by one. An error ends the reading.
  using Visit = std::function<Status(const Row& row)>;

  virtual ~Side() = default;

  virtual Status ReadAll(const Visit& visit) = 0;

  /// Rows with one of `keys`; call for tables with a key only.
  virtual Status ReadKeys(const std::vector<Key>& keys, const Visit& visit) = 0;
};

}  // namespace freshet::verify
