#include "net/wakeup.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <vector>
#include <zmq.hpp>

#include "net/clock.hpp"

namespace gordian::net {

Wakeup::Woken Wakeup::sleep(std::initializer_list<void*> sockets, std::int64_t until_us) const {
  constexpr std::int64_t longest_us = 3'600'000'000;
  const auto wait_us = std::clamp<std::int64_t>(until_us - steady_now_us(), 0, longest_us);
  std::array<zmq::pollitem_t, 1 + sockets_max> items{};
  items[0] = {nullptr, fd_, ZMQ_POLLIN, 0};
  std::size_t count = 1;
  for (void* socket : sockets) items.at(count++) = {socket, 0, ZMQ_POLLIN, 0};
  try {
    zmq::poll(items.data(), count, std::chrono::milliseconds((wait_us + 999) / 1000));
  } catch (const zmq::error_t& e) {
    if (e.num() != EINTR) throw;
    return {};
  }
  Woken woken{false, (items[0].revents & ZMQ_POLLIN) != 0};
  for (std::size_t i = 1; i < count; ++i) woken.message = woken.message || (items[i].revents & ZMQ_POLLIN) != 0;
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
