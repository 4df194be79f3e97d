#pragma once

#include <cstdint>
#include <string>

#include "config/binder.h"

namespace freshet::log {

/// How the rows in the log are compressed.
enum class Compression : uint8_t { kNone, kLz4, kZstd };

/// The `log:` section of a configuration.
struct Options {
  std::string path;
  config::ByteSize budget{int64_t{10} << 30};
  config::Duration retention = std::chrono::hours(24 * 7);
  config::ByteSize segment_size{int64_t{256} << 20};
  config::ByteSize memory_tail{int64_t{32} << 20};
  Compression compression = Compression::kNone;
};

void Bind(config::Binder& binder, Options& options);

}  // namespace freshet::log
