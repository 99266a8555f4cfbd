#include "redis_peer.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "common.hpp"

namespace gordian::bench {
namespace {

constexpr const char* program = "/usr/bin/redis-server";

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("no free port");
  close(fd);
  return ntohs(address.sin_port);
}

std::string command(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return text;
}

/// One connection, which locks and unlocks in turn.
class Connection {
 public:
  Connection(std::uint16_t port, std::size_t number)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)),
        lock_(
            command({"SET", "lock:" + std::to_string(number), "owner-" + std::to_string(number), "NX", "PX", "10000"})),
        unlock_(command({"DEL", "lock:" + std::to_string(number)})) {
    const sockaddr_in address = loopback(port);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("Redis does not answer");
    const int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(fd_); }

  [[nodiscard]] int fd() const { return fd_; }
  void send_next() {
    const std::string& text = locked_ ? unlock_ : lock_;
    if (write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("writing to Redis");
  }
  /// Takes the answer; true if it ended a pair.
  bool take() {
    char answer[64];
    const auto got = read(fd_, answer, sizeof answer);
    const char* expected = locked_ ? ":1\r\n" : "+OK\r\n";
    if (got != static_cast<ssize_t>(std::strlen(expected)) ||
        std::memcmp(answer, expected, static_cast<std::size_t>(got)) != 0)
      fail("Redis answered something else");
    locked_ = !locked_;
    return !locked_;
  }

 private:
  int fd_;
  std::string lock_, unlock_;
  bool locked_ = false;
};

class RealRedis : public Redis {
 public:
  RealRedis(const std::string& folder, std::uint16_t port)
      : port_(port),
        server_({program, "--port", std::to_string(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", folder, "--logfile", folder + "/redis.log"}) {
    wait_until(
        [&] {
          const int fd = socket(AF_INET, SOCK_STREAM, 0);
          const sockaddr_in address = loopback(port_);
          const bool there = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
          close(fd);
          return there;
        },
        "redis-server listens");
  }

  double pairs_per_second(std::size_t connections, std::chrono::milliseconds duration) override {
    std::vector<std::unique_ptr<Connection>> all;
    const int epoll = epoll_create1(0);
    for (std::size_t i = 0; i < connections; ++i) {
      all.push_back(std::make_unique<Connection>(port_, i));
      epoll_event event{EPOLLIN, {.u64 = i}};
      epoll_ctl(epoll, EPOLL_CTL_ADD, all.back()->fd(), &event);
    }
    std::size_t pairs = 0;
    std::size_t busy = connections;
    const auto start = Clock::now();
    for (auto& connection : all) connection->send_next();
    while (busy > 0) {
      epoll_event events[64];
      const int count = epoll_wait(epoll, events, 64, 10'000);
      if (count <= 0) fail("Redis does not answer");
      const bool over = Clock::now() - start > duration;
      for (int i = 0; i < count; ++i) {
        auto& connection = *all[events[i].data.u64];
        const bool pair = connection.take();
        if (pair) ++pairs;
        if (pair && over) {
          --busy;
        } else {
          connection.send_next();
        }
      }
    }
    close(epoll);
    return static_cast<double>(pairs) / (us_since(start) / 1e6);
  }

 private:
  std::uint16_t port_;
  Child server_;
};

}  // namespace

std::unique_ptr<Redis> Redis::start(const std::string& folder) {
  if (access(program, X_OK) != 0) return nullptr;
  return std::make_unique<RealRedis>(folder, free_port());
}

}  // namespace gordian::bench
