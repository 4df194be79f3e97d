#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sink/read_back.h"

namespace freshet::verify {

/// Whether the pipeline that answers at `listen` ("127.0.0.1:8080") has a sink of this name and
/// target: on the port of one that does not run may be another. False for an empty `listen`.
bool IsServing(std::string_view listen, std::string_view sink, std::string_view target);

/// Reads a target through the pipeline that holds it open (pipeline/remote_scan.h).
///
/// Errors: kUnavailable when the pipeline goes away, and those of its own reading.
class RemoteReadBack final : public sink::ReadBack {
 public:
  /// `listen` is the pipeline's `http.listen`, `sink` the name of one of its sinks.
  RemoteReadBack(std::string listen, std::string sink);

  Status Scan(const change::TableSchema& schema, const std::shared_ptr<arrow::RecordBatch>& keys,
              const Visit& visit) override;

 private:
  const std::string listen_;
  const std::string sink_;
};

}  // namespace freshet::verify
