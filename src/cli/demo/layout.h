#pragma once

#include <string>

namespace freshet::cli::demo {

/// Where the parts of a demo are, all in one folder but the cluster.
struct Layout {
  std::string folder;
  std::string source_url;  ///< libpq keywords, password by file
  int http_port = 0;
  std::string lake_url;     ///< folder or s3:// URL of the Parquet files
  std::string s3_endpoint;  ///< for an S3 server other than AWS

  std::string config_path() const { return folder + "/freshet.yaml"; }
  std::string warehouse_path() const { return folder + "/shop.duckdb"; }
  std::string pipeline_output() const { return folder + "/pipeline.log"; }
  std::string generate_output() const { return folder + "/generate.log"; }
};

/// The configuration of the demo's pipeline: all tables of public, to DuckDB as they are, to
/// Parquet as a changelog.
std::string ConfigText(const Layout& layout);

}  // namespace freshet::cli::demo
