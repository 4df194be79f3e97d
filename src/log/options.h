#pragma once

#include <string>

#include "config/binder.h"

namespace freshet::log {

/// The `log:` section of a configuration.
struct Options {
  std::string path;
  config::ByteSize budget{int64_t{10} << 30};
  config::Duration retention = std::chrono::hours(24 * 7);
  config::ByteSize segment_size{int64_t{256} << 20};
  config::ByteSize memory_tail{int64_t{32} << 20};
};

void Bind(config::Binder& binder, Options& options);

}  // namespace freshet::log
