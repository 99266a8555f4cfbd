#include "net/wakeup.hpp"

#include <poll.h>

#include <sched.h>

#include <algorithm>
#include <array>
#include <vector>
#include <zmq.hpp>

#include "net/clock.hpp"

namespace gordian::net {
namespace {

// After a message another one often comes at once, and to be woken takes longer than to look for it. Whoever else wants the
// processor meanwhile gets it.
constexpr std::int64_t look_us = 100;

}  // namespace

Wakeup::Woken Wakeup::sleep(std::span<void* const> sockets, std::int64_t until_us) const {
  constexpr std::int64_t longest_us = 3'600'000'000;
  const auto left_us = [&] { return std::clamp<std::int64_t>(until_us - steady_now_us(), 0, longest_us); };
  std::array<zmq::pollitem_t, 1 + sockets_max> items;  // only `count` of them are used
  items[0] = {nullptr, fd_, ZMQ_POLLIN, 0};
  std::size_t count = 1;
  for (void* socket : sockets) items.at(count++) = {socket, 0, ZMQ_POLLIN, 0};
  const auto poll = [&](std::int64_t us) {
    return zmq::poll(items.data(), count, std::chrono::milliseconds((us + 999) / 1000));
  };
  try {
    const auto look_until_us = steady_now_us() + (busy_ ? std::min(left_us(), look_us) : 0);
    int found = 0;
    while ((found = poll(0)) == 0 && steady_now_us() < look_until_us) sched_yield();
    if (found == 0) poll(left_us());
  } catch (const zmq::error_t& e) {
    if (e.num() != EINTR) throw;
    return {};
  }
  Woken woken{false, (items[0].revents & ZMQ_POLLIN) != 0};
  for (std::size_t i = 1; i < count; ++i) woken.message = woken.message || (items[i].revents & ZMQ_POLLIN) != 0;
  busy_ = woken.message;
  if (woken.rung) clear();
  return woken;
}

void Wakeup::sleep_on(std::span<const int> descriptors, std::int64_t wait_us) const {
  constexpr std::int64_t longest_us = 3'600'000'000;
  const auto us = std::clamp<std::int64_t>(wait_us, 0, longest_us);
  const timespec timeout{.tv_sec = us / 1'000'000, .tv_nsec = us % 1'000'000 * 1000};
  constexpr std::size_t few = 8;
  std::array<pollfd, few> inplace{};
  std::vector<pollfd> many(descriptors.size() < few ? 0 : descriptors.size() + 1);
  pollfd* items = many.empty() ? inplace.data() : many.data();
  items[0] = {fd_, POLLIN, 0};
  for (std::size_t i = 0; i < descriptors.size(); ++i) items[i + 1] = {descriptors[i], POLLIN, 0};
  if (ppoll(items, descriptors.size() + 1, &timeout, nullptr) > 0 && items[0].revents != 0) clear();
}

}  // namespace gordian::net
