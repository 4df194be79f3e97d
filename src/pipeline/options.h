#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/logging.h"
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

/// The `http:` section.
struct HttpOptions {
  std::string listen;  ///< "127.0.0.1:8080"; empty: no HTTP
  bool query = true;   ///< serve /query
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

}  // namespace freshet::pipeline
