#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/logging.h"
#include "base/result.h"
#include "config/binder.h"
#include "log/options.h"
#include "postgres/options.h"
#include "sink/registry.h"

namespace freshet::pipeline {

/// One entry of `sinks:`.
struct SinkSpec {
  sink::SinkOptions options;
  std::string kind;  ///< of sink::Registrations()
  std::shared_ptr<const sink::Factory> factory;
  sink::FlushPolicy flush;
};

/// Whom a group of HTTP routes is served to.
enum class HttpAccess : uint8_t {
  kLocal,   ///< this machine: served when `listen` is a loopback address
  kAlways,  ///< whoever can reach the address
  kNever,
};

/// The `http:` section.
struct HttpOptions {
  std::string listen;                       ///< "127.0.0.1:8080"; empty: no HTTP
  HttpAccess query = HttpAccess::kLocal;    ///< targets' rows: /query, /scan
  HttpAccess control = HttpAccess::kLocal;  ///< what changes the pipeline: POST /tables/...
};

/// The `logging:` section: process messages, not the log.
struct LoggingOptions {
  logging::Level level = logging::Level::kInfo;
  logging::Format format = logging::Format::kText;
};

/// A whole configuration file: one pipeline.
struct Options {
  postgres::Options source;
  log::Options log;
  std::vector<SinkSpec> sinks;  ///< in the file's order
  HttpOptions http;
  LoggingOptions logging;
};

/// Visits every key of a configuration file.
void Bind(config::Binder& binder, Options& options);

/// Reads a configuration file. Errors: kConfig, with every error found, one a line.
Result<Options> ReadOptions(const std::string& path);

/// The DuckDB file that `query` reads: of the sink `name`, or of the first that has one when `name`
/// is empty. Errors: kNotFound.
Result<std::string> FindWarehouse(const Options& options, std::string_view name);

}  // namespace freshet::pipeline
