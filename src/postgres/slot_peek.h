#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "change/ids.h"
#include "postgres/plugin_options.h"

namespace freshet::postgres {

/// The COPY that reads a slot's messages up to `upto` without moving it.
/// Source: PostgreSQL manual, "Replication Management Functions".
std::string PeekSql(const std::string& slot, change::Lsn upto,
                    const std::vector<PluginOption>& options);

/// Takes the one `bytea` column out of the rows of a binary COPY, one CopyData message at a time.
///
/// Source: PostgreSQL manual, COPY, "Binary Format". Threads: one. Errors: kMalformed.
class BinaryCopyColumn {
 public:
  /// The value in `message`; empty at the trailer, and where there is a header only.
  Result<std::span<const std::byte>> Next(std::span<const std::byte> message);

 private:
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace freshet::postgres
