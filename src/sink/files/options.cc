#include "sink/files/options.h"

#include <array>
#include <string_view>

#include "sink/files/layout.h"

namespace freshet::sink::files {
namespace {

constexpr std::array<std::string_view, 2> kFormatNames = {"parquet", "jsonl"};
constexpr std::array<std::string_view, 4> kCompressionNames = {"zstd", "gzip", "snappy", "none"};

void Bind(config::Binder& binder, Rotation& rotate) {
  binder.Value({"rows", "Rows that close a file."}, rotate.rows);
  binder.Value({"bytes", "Bytes that close a file."}, rotate.bytes);
  binder.Value({"age", "Longest time before changes stand in a closed file."}, rotate.age);
  if (rotate.rows <= 0) binder.Reject("rows", "must be at least 1");
  if (rotate.bytes.bytes <= 0) binder.Reject("bytes", "must be at least 1");
  if (rotate.age.count() < 0) binder.Reject("age", "must not be negative");
}

void Bind(config::Binder& binder, S3Access& s3) {
  binder.Value({"endpoint", "http:// or https:// address of the store. Left out: AWS."},
               s3.endpoint);
  binder.Value({"region", "Region of the bucket. Left out: asked from AWS."}, s3.region);
  binder.Value({"access_key",
                "Access key. Left out: environment, profile, web identity or instance role, in the "
                "order AWS's tools look."},
               s3.access_key);
  binder.Value({"secret_key", "Secret key of access_key."}, s3.secret_key);
  binder.Value({"session_token", "Token of temporary credentials."}, s3.session_token);
  binder.Value({"path_style", "Bucket in the path (most stores) or in the host name (AWS)."},
               s3.path_style);
  binder.Value({"ca_file", "PEM file of certificates to trust, for a store with its own."},
               s3.ca_file);
  binder.Value({"connect_timeout", "How long a connection may take."}, s3.connect_timeout);
  binder.Value({"request_timeout", "How long a request may stand still."}, s3.request_timeout);
  const std::string_view endpoint = s3.endpoint;
  if (!endpoint.empty() && !endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
    binder.Reject("endpoint", "must begin with http:// or https://");
  }
  if (s3.access_key.empty() != s3.secret_key.empty()) {
    binder.Reject("access_key", "needs secret_key, and secret_key needs it; give both or neither");
  }
}

}  // namespace

void Bind(config::Binder& binder, Options& options) {
  binder.Value(
      {"url", "Local folder, or s3://bucket/prefix. Made when absent; a bucket is not.", true},
      options.url);
  BindEnum(binder, {"format", "parquet, or jsonl: one JSON object a line."}, kFormatNames,
           options.format);
  BindEnum(binder, {"compression", "Of the files' bytes. snappy is for parquet only."},
           kCompressionNames, options.compression);
  binder.Value({"layout",
                "Path of a file under url, without its extension. Takes {schema}, {table}, {dt} "
                "and {hour} (of the commit, UTC) and {sequence}, which must be there."},
               options.layout);
  binder.Section({"rotate", "When a file is closed."},
                 [&](config::Binder& section) { Bind(section, options.rotate); });
  binder.Section({"s3", "How to reach an S3-compatible store."},
                 [&](config::Binder& section) { Bind(section, options.s3); });
  if (options.format == Format::kJsonLines && options.compression == Compression::kSnappy) {
    binder.Reject("compression", "snappy is for parquet only; take zstd, gzip or none");
  }
  if (const auto layout = Layout::Create(options.layout); !layout.has_value()) {
    binder.Reject("layout", layout.error().message);
  }
}

}  // namespace freshet::sink::files
