// What a reactor sleeps on: ZeroMQ sockets, a point in time, and an eventfd that any thread, or a signal handler, may ring.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <system_error>

namespace gordian::net {

class Wakeup {
 public:
  Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup() { close(fd_); }

  /// From any thread or a signal handler.
  void ring() const noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);  // full means it rings already
  }

  /// Why a sleep ended; neither means that the time has come, or a signal.
  struct Woken {
    bool message = false;  ///< one of the sockets has something to receive
    bool rung = false;
  };
  /// Sleeps until one of the sockets (their ZeroMQ handles, at most `sockets_max`) has a message, somebody rings, or `until_us` on
  /// the steady clock. Stops the ringing. Only the reactor's thread.
  [[nodiscard]] Woken sleep(std::span<void* const> sockets, std::int64_t until_us) const;
  static constexpr std::size_t sockets_max = 256;
  /// Sleeps on the sockets' descriptors instead, so that it may be done outside the lock that guards the sockets: until one of
  /// them becomes readable, somebody rings, or `wait_us` are over.
  void sleep_on(std::span<const int> descriptors, std::int64_t wait_us) const;

 private:
  void clear() const noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = read(fd_, &count, sizeof count);
  }

  int fd_;
  mutable bool busy_ = false;  ///< the last sleep ended with a message; only the reactor's thread
};

}  // namespace gordian::net
