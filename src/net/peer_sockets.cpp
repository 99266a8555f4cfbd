#include "net/peer_sockets.hpp"

#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Queued for one member that does not read; what is over it is lost, and asked again by the next probe.
constexpr int peer_queue = 10'000;

}  // namespace

tl::expected<PeerSockets, std::string> PeerSockets::connect(const wire::MemberMap& map, const std::string& self,
                                                            std::uint64_t instance, std::size_t message_bytes) {
  PeerSockets peers;
  const auto context = make_context();
  for (const auto& member : map.members) {
    peers.sockets_.emplace_back();
    if (member.name == self) continue;
    auto socket = DealerSocket::connect({.endpoint = member.endpoint,
                                         .routing_id = "m" + std::to_string(instance) + self,
                                         .message_bytes = message_bytes,
                                         .send_queue = peer_queue,
                                         .context = context});
    if (!socket) return tl::unexpected("peer " + member.name + ": " + socket.error());
    peers.sockets_.back() = *std::move(socket);
  }
  return peers;
}

bool PeerSockets::send(std::size_t member, const wire::FromPeer& message) {
  return member < sockets_.size() && sockets_[member] && sockets_[member]->send(wire::encode(message));
}

void PeerSockets::receive(const std::function<void(std::size_t, const std::string&)>& complaint) {
  for (std::size_t member = 0; member < sockets_.size(); ++member) {
    const auto take = [&](const Frame& frame) {
      const auto reply = wire::decode_reply(frame.bytes);
      const auto* message = reply ? std::get_if<wire::ToAgent>(&*reply) : nullptr;
      const auto* error = message == nullptr ? nullptr : std::get_if<wire::Error>(message);
      if (error != nullptr) complaint(member, error->text);
    };
    while (sockets_[member] && sockets_[member]->receive(take)) {
    }
  }
}

void PeerSockets::add_handles(std::vector<void*>& handles) const {
  for (const auto& socket : sockets_)
    if (socket) handles.push_back(socket->handle());
}

}  // namespace gordian::net
