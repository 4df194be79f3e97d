#include "sink/registry.h"

#include "sink/discard/discard_sink.h"
#include "sink/duckdb/duckdb_sink.h"
#include "sink/files/files_sink.h"

namespace freshet::sink {

std::span<const Registration> Registrations() {
  static constexpr Registration kRegistrations[] = {
      {"discard", "Counts changes and throws them away.", WriteMode::kAppend,
       &discard::MakeFactory},
      {"duckdb", "Tables of a DuckDB file, the embedded warehouse.", WriteMode::kUpsert,
       [] { return duckdb::MakeFactory(); }},
      {"files", "Parquet or JSON lines files in a folder or a bucket.", WriteMode::kAppend,
       &files::MakeFactory},
  };
  return kRegistrations;
}

}  // namespace freshet::sink
