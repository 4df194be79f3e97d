#pragma once

#include <cstdint>
#include <string>

#include "config/binder.h"

namespace freshet::sink::files {

/// What a file holds.
enum class Format : uint8_t {
  kParquet,
  kJsonLines,
};

/// How a file's bytes are packed.
enum class Compression : uint8_t {
  kZstd,
  kGzip,
  kSnappy,  ///< Parquet only
  kNone,
};

/// When a file is closed and the next one begun. The same limits, over all tables, make a flush due
/// unless the sink's `flush:` says otherwise.
struct Rotation {
  int64_t rows = 1'000'000;
  config::ByteSize bytes{int64_t{128} << 20};
  config::Duration age = std::chrono::seconds(60);
};

/// How to reach an S3-compatible store. All empty: AWS itself, with its usual credentials chain.
struct S3Access {
  std::string endpoint;  ///< http://host:port or https://host; empty: AWS
  std::string region;    ///< empty: the bucket's, as AWS reports it
  Secret access_key;
  Secret secret_key;
  Secret session_token;
  bool path_style = true;  ///< http://host/bucket/key instead of http://bucket.host/key
  std::string ca_file;     ///< PEM file of certificates to trust; empty: the system's
  config::Duration connect_timeout = std::chrono::seconds(3);
  config::Duration request_timeout = std::chrono::seconds(30);
};

inline constexpr const char* kDefaultLayout = "{schema}.{table}/dt={dt}/{sequence}";

/// The `files:` section of a sink.
struct Options {
  std::string url;  ///< a local folder, file:///folder or s3://bucket/prefix
  Format format = Format::kParquet;
  Compression compression = Compression::kZstd;
  std::string layout = kDefaultLayout;
  Rotation rotate;
  S3Access s3;
};

void Bind(config::Binder& binder, Options& options);

}  // namespace freshet::sink::files
