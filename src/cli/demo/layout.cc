#include "cli/demo/layout.h"

#include <fmt/format.h>

namespace freshet::cli::demo {

std::string ConfigText(const Layout& layout) {
  std::string s3;
  if (!layout.s3_endpoint.empty()) {
    s3 = fmt::format("\n      s3: {{ endpoint: \"{}\" }}", layout.s3_endpoint);
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
                     layout.source_url, layout.folder, layout.warehouse_path(), layout.lake_url, s3,
                     layout.http_port);
}

}  // namespace freshet::cli::demo
