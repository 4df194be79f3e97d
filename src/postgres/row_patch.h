#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "change/change_batch.h"

namespace freshet::postgres {

/// A row of a piece of a snapshot, and what of it is wanted.
struct PatchedRow {
  int64_t row = 0;
  const std::vector<int32_t>* only = nullptr;  ///< besides the key, these columns; null: all
  std::string_view new_key = {};               ///< as RowKeyReader writes it; empty: the key it has
};

/// The wanted rows, in their order. Columns that are not wanted are null and marked unchanged.
/// `rows` has no unchanged values. Its kinds and ordinals stay with the rows.
change::TableChanges Patch(const change::TableChanges& rows, const std::vector<PatchedRow>& wanted);

}  // namespace freshet::postgres
