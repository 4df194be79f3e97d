#include "sink/sink.h"

namespace freshet::sink {

std::string_view SchemaChangeName(SchemaChange change) {
  static constexpr std::string_view kNames[kSchemaChanges] = {
      "add_column", "drop_column",  "rename_column", "change_type",
      "change_key", "rename_table", "recreate_table"};
  return kNames[static_cast<size_t>(change)];
}

SchemaChangePolicies SchemaChangePolicies::All(SchemaChangePolicy policy) {
  SchemaChangePolicies all;
  all.of.fill(policy);
  if (policy == SchemaChangePolicy::kFail) {
    all.of[static_cast<size_t>(SchemaChange::kAddColumn)] = SchemaChangePolicy::kEvolve;
  }
  return all;
}

}  // namespace freshet::sink
