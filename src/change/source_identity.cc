#include "change/source_identity.h"

#include <fmt/format.h>

namespace freshet::change {

std::string SourceKey(const SourceIdentity& source) {
  return fmt::format("{}/{}", source.system_id, source.database);
}

}  // namespace freshet::change
