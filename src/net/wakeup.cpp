#include "net/wakeup.hpp"

#include <algorithm>
#include <zmq.hpp>

#include "net/clock.hpp"

namespace gordian::net {

Wakeup::Woken Wakeup::sleep(void* socket, std::int64_t until_us) const {
  constexpr std::int64_t longest_us = 3'600'000'000;
  const auto wait_us = std::clamp<std::int64_t>(until_us - steady_now_us(), 0, longest_us);
  zmq::pollitem_t items[] = {{socket, 0, ZMQ_POLLIN, 0}, {nullptr, fd_, ZMQ_POLLIN, 0}};
  try {
    zmq::poll(items, 2, std::chrono::milliseconds((wait_us + 999) / 1000));
  } catch (const zmq::error_t& e) {
    if (e.num() != EINTR) throw;
    return {};
  }
  const Woken woken{(items[0].revents & ZMQ_POLLIN) != 0, (items[1].revents & ZMQ_POLLIN) != 0};
  if (woken.rung) clear();
  return woken;
}

}  // namespace gordian::net
