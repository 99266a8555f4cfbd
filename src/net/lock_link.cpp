#include "net/lock_link.hpp"

#include "wire/codec.hpp"

namespace gordian::net {

tl::expected<LockLink, std::string> LockLink::connect(const std::vector<AgentAddress>& agents,
                                                      const std::string& identity) {
  LockLink link;
  for (const auto& agent : agents) {
    auto socket =
        DealerSocket::connect({.endpoint = agent.endpoint, .routing_id = "l" + identity, .send_queue = 100'000});
    if (!socket) return tl::unexpected("site " + agent.site.str() + ": " + socket.error());
    link.descriptors_.push_back(socket->descriptor());
    link.sockets_.push_back(std::move(*socket));
  }
  return link;
}

bool LockLink::send(std::size_t agent, const wire::FromLockClient& message) {
  return sockets_[agent].send(wire::encode(message));
}

void LockLink::receive(const Received& received, const Garbled& garbled) {
  for (std::size_t agent = 0; agent < sockets_.size(); ++agent) {
    const auto take = [&](const Frame& frame) {
      if (frame.several) return garbled(agent, "message of several frames, expected one");
      const auto message = wire::decode_lock_reply(frame.bytes);
      if (!message) return garbled(agent, message.error().text);
      if (const auto* mine = std::get_if<wire::ToLockClient>(&*message)) received(agent, *mine);
    };
    while (sockets_[agent].receive(take)) {
    }
  }
}

}  // namespace gordian::net
