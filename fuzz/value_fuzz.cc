// Any text of a value becomes a value, an exception or an error. The first byte picks the type.

#include <arrow/array/array_base.h>
#include <arrow/array/util.h>
#include <arrow/status.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "postgres/column_builder.h"

namespace freshet::postgres {
namespace {

using change::LogicalKind;

/// Add at the end: the seeds count on the order.
constexpr change::LogicalType kTypes[] = {
    {.kind = LogicalKind::kBool},
    {.kind = LogicalKind::kInt16},
    {.kind = LogicalKind::kInt32},
    {.kind = LogicalKind::kInt64},
    {.kind = LogicalKind::kUInt32},
    {.kind = LogicalKind::kFloat32},
    {.kind = LogicalKind::kFloat64},
    {.kind = LogicalKind::kDecimal, .precision = 12, .scale = 2},
    {.kind = LogicalKind::kDecimal, .precision = 38, .scale = 10},
    {.kind = LogicalKind::kText},
    {.kind = LogicalKind::kBytes},
    {.kind = LogicalKind::kDate},
    {.kind = LogicalKind::kTime},
    {.kind = LogicalKind::kTimestamp},
    {.kind = LogicalKind::kTimestampTz},
    {.kind = LogicalKind::kUuid},
    {.kind = LogicalKind::kList, .element = LogicalKind::kInt32},
    {.kind = LogicalKind::kList, .element = LogicalKind::kText},
    {.kind = LogicalKind::kList, .precision = 12, .scale = 2, .element = LogicalKind::kDecimal},
};

void Run(std::string_view file) {
  if (file.empty()) return;
  const auto builder =
      ColumnBuilder::Create(kTypes[static_cast<uint8_t>(file[0]) % std::size(kTypes)]);
  const Cell value{.offset = 1, .size = static_cast<int32_t>(file.size() - 1)};
  const Cell cells[] = {value, {}, value};
  std::vector<change::ValueException> exceptions;
  if (!builder->Append({.base = file.data(), .first = cells, .count = 3}, exceptions)) return;
  const auto column = builder->Finish();
  CHECK(column.has_value());
  const auto array = arrow::MakeArray(column->values);
  CHECK(array->ValidateFull().ok() && array->length() == 3 && array->IsNull(1));
  CHECK(exceptions.empty() ? array->IsValid(0) && array->IsValid(2) : exceptions.size() == 2);
}

}  // namespace
}  // namespace freshet::postgres

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  freshet::postgres::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
