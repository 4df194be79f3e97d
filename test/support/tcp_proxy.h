#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "base/result.h"

namespace freshet::test {

/// A TCP proxy on 127.0.0.1 that can stop passing anything on without closing a connection, as a
/// network does that lost its way. Threads: any.
class TcpProxy {
 public:
  /// Passes connections on to 127.0.0.1:`port`.
  static Result<std::unique_ptr<TcpProxy>> Start(int port);

  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }

  /// True: nothing passes, and new connections are taken by nobody. False: all goes on.
  void Freeze(bool frozen) { frozen_ = frozen; }

 private:
  TcpProxy() = default;
  void Run(std::stop_token stop) const;

  int listener_ = -1;
  int port_ = 0;
  int target_port_ = 0;
  std::atomic<bool> frozen_{false};
  std::jthread thread_;
};

}  // namespace freshet::test
