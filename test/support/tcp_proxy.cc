#include "support/tcp_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace freshet::test {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(static_cast<uint16_t>(port));
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

int ConnectTo(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

/// Passes on what `from` has. False at its end.
bool Pass(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
  for (ssize_t done = 0; done < got;) {
    const ssize_t sent =
        ::send(to, buffer.data() + done, static_cast<size_t>(got - done), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    done += sent;
  }
  return got > 0;
}

}  // namespace

Result<std::unique_ptr<TcpProxy>> TcpProxy::Start(int port) {
  std::unique_ptr<TcpProxy> proxy(new TcpProxy);
  proxy->target_port_ = port;
  proxy->listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (::bind(proxy->listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(proxy->listener_, 16) != 0 ||
      ::getsockname(proxy->listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return Fail(ErrorKind::kIo, "cannot listen: {}", std::strerror(errno));
  }
  proxy->port_ = ntohs(address.sin_port);
  proxy->thread_ =
      std::jthread([raw = proxy.get()](std::stop_token stop) { raw->Run(std::move(stop)); });
  return proxy;
}

TcpProxy::~TcpProxy() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (listener_ >= 0) ::close(listener_);
}

void TcpProxy::Run(std::stop_token stop) const {
  constexpr int kLookMs = 10;  // at the stop, and whether it is frozen
  std::vector<std::pair<int, int>> pairs;
  while (!stop.stop_requested()) {
    std::vector<pollfd> fds;
    if (!frozen_) {
      fds.push_back({listener_, POLLIN, 0});
      for (const auto& [client, server] : pairs) {
        fds.push_back({client, POLLIN, 0});
        fds.push_back({server, POLLIN, 0});
      }
    }
    if (::poll(fds.data(), fds.size(), kLookMs) <= 0) continue;
    for (size_t i = pairs.size(); i-- > 0;) {
      const auto [client, server] = pairs[i];
      const bool open = (fds[1 + 2 * i].revents == 0 || Pass(client, server)) &&
                        (fds[2 + 2 * i].revents == 0 || Pass(server, client));
      if (open) continue;
      ::close(client);
      ::close(server);
      pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (fds[0].revents == 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const int server = ConnectTo(target_port_);
    if (server >= 0) {
      pairs.emplace_back(client, server);
    } else {
      ::close(client);
    }
  }
  for (const auto& [client, server] : pairs) {
    ::close(client);
    ::close(server);
  }
}

}  // namespace freshet::test
