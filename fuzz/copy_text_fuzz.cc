// Any COPY text is read or refused. The first byte counts the columns, all of type text.

#include <arrow/record_batch.h>
#include <arrow/status.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "postgres/copy_text.h"

namespace freshet::postgres {
namespace {

void Run(std::span<const char> file) {
  if (file.empty()) return;
  constexpr int kMaxColumns = 32;
  std::vector<change::Column> columns(static_cast<size_t>(file[0] & (kMaxColumns - 1)));
  for (size_t i = 0; i < columns.size(); ++i) {
    columns[i].name = std::to_string(i);
    columns[i].type.kind = change::LogicalKind::kText;
  }
  CopyTextReader reader(std::make_shared<const change::TableSchema>(
      change::TableId{1}, change::TableName{"public", "t"}, change::ReplicaIdentity::kDefault,
      std::move(columns)));
  file = file.subspan(1);
  while (!file.empty()) {
    const auto newline = std::find(file.begin(), file.end(), '\n');
    const auto size = static_cast<size_t>(newline - file.begin()) + (newline != file.end() ? 1 : 0);
    if (!reader.Add(file.first(size)).has_value()) return;
    file = file.subspan(size);
  }
  const int64_t rows = reader.rows();
  const auto changes = reader.Finish(0);
  if (!changes.has_value()) return;
  CHECK(changes->num_rows() == rows && changes->rows->ValidateFull().ok());
}

}  // namespace
}  // namespace freshet::postgres

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  freshet::postgres::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
