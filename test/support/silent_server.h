#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace freshet::test {

/// Listens on a port of this machine, takes connections, and never says a word.
class SilentServer {
 public:
  SilentServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    CHECK(listener_ >= 0 && ::bind(listener_, name, size) == 0 && ::listen(listener_, 16) == 0);
    CHECK(::getsockname(listener_, name, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() {
    if (connection_ >= 0) ::close(connection_);
    ::close(listener_);
  }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  int port() const { return port_; }

  /// Waits until somebody has connected.
  void WaitForClient() { connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC); }

 private:
  int listener_;
  int connection_ = -1;
  int port_ = 0;
};

}  // namespace freshet::test
