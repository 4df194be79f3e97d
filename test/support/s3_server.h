#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sink/files/options.h"

namespace freshet::test {

/// A private S3 store for one test: SeaweedFS on free ports of 127.0.0.1, with one bucket.
///
/// Its folder goes with this object, and it stops when the test dies. Create it on the main thread.
class S3Server {
 public:
  static constexpr const char* kBucket = "lake";

  /// Takes `weed` from $FRESHET_DEPS/seaweedfs/bin, else .deps/seaweedfs/bin of the working folder.
  static Result<std::unique_ptr<S3Server>> Start();

  ~S3Server();
  S3Server(const S3Server&) = delete;
  S3Server& operator=(const S3Server&) = delete;

  /// kill -9. What was acknowledged is on disk.
  void Kill9();

  /// Starts a killed server again, on the same ports and data.
  Status Resume();

  /// How to reach it with rights on everything.
  sink::files::S3Access access() const;

  /// The keys under `prefix` in the bucket, sorted.
  Result<std::vector<std::string>> Keys(std::string_view prefix) const;

 private:
  S3Server() = default;
  Status Launch();

  std::string program_;
  std::string folder_;
  std::vector<int> ports_;
  pid_t pid_ = -1;
};

}  // namespace freshet::test
