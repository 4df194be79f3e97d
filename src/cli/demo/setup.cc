#include "cli/demo/setup.h"

#include <fmt/format.h>

namespace freshet::cli::demo {

std::string ConfigText(const Setup& setup) {
  std::string s3;
  if (!setup.s3_endpoint.empty()) {
    s3 = fmt::format("\n      s3: {{ endpoint: \"{}\" }}", setup.s3_endpoint);
  }
  return fmt::format(R"(source:
  postgres:
    url: "{}"
    tables: [public.*]
log: {{ path: "{}/log", budget: 2GiB }}
sinks:
  warehouse:
    duckdb: {{ path: "{}" }}
    mode: upsert
    flush: {{ interval: 100ms }}
  lake:
    files:
      url: "{}"
      format: parquet{}
    mode: append
    flush: {{ interval: 1s }}
http: {{ listen: "127.0.0.1:{}" }}
)",
                     setup.source_url, setup.folder, setup.warehouse_path(), setup.lake_url, s3,
                     setup.http_port);
}

}  // namespace freshet::cli::demo
