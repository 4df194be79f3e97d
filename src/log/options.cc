#include "log/options.h"

namespace freshet::log {

void Bind(config::Binder& binder, Options& options) {
  binder.Value({"path", "Folder of the durable log. Made when absent.", true}, options.path);
  binder.Value(
      {"budget",
       "Most that the log may take on disk. When it is full and no segment can go, freshet stops "
       "reading the source and raises an alarm."},
      options.budget);
  binder.Value({"retention", "How long batches that every sink has are kept, for replay."},
               options.retention);
  binder.Value({"segment_size", "A segment file is sealed when it reaches this size."},
               options.segment_size);
  binder.Value({"memory_tail", "Newest batches kept in memory for sinks that keep up."},
               options.memory_tail);
  static constexpr std::string_view kCompressions[] = {"none", "lz4", "zstd"};
  config::BindEnum(binder,
                   {"compression",
                    "How rows are compressed: none costs least time, lz4 less space, zstd least "
                    "space. May be changed at any time."},
                   kCompressions, options.compression);
}

}  // namespace freshet::log
