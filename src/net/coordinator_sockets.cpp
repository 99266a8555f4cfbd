#include "net/coordinator_sockets.hpp"

#include <algorithm>

#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// Received in one go before the next socket's turn, and before anything is sent.
constexpr int receive_burst = 256;

}  // namespace

tl::expected<void, std::string> CoordinatorSockets::change(const std::vector<agent::LinkChange>& changes) {
  std::string errors;
  for (const auto& one : changes) {
    if (const auto* wanted = std::get_if<agent::Dial>(&one)) {
      dial(*wanted, errors);
    } else {
      hang_up(std::get<agent::Hangup>(one));
    }
  }
  if (errors.empty()) return {};
  return tl::unexpected("coordinator " + errors);
}

void CoordinatorSockets::dial(const agent::Dial& dial, std::string& errors) {
  auto socket =
      DealerSocket::connect({.endpoint = dial.endpoint,
                             .routing_id = routing_id_ + "/" + std::to_string(static_cast<std::uint64_t>(dial.link)),
                             .context = context_});
  if (socket) {
    open_.push_back({dial.link, *std::move(socket)});
  } else {
    errors += (errors.empty() ? "" : "; ") + socket.error();
  }
}

void CoordinatorSockets::hang_up(const agent::Hangup& hangup) {
  if (hangup.farewell) (void)send({hangup.link, *hangup.farewell});
  std::erase_if(open_, [&](const Open& open) { return open.link == hangup.link; });
}

bool CoordinatorSockets::send(const agent::LinkMessage& message) {
  const auto at = std::find_if(open_.begin(), open_.end(), [&](const Open& o) { return o.link == message.link; });
  return at != open_.end() && at->socket.send(wire::encode(wire::Request(message.message)));
}

void CoordinatorSockets::receive(const Received& received, const Garbled& garbled) {
  for (auto& open : open_) {
    const auto take = [&](const Frame& frame) {
      if (frame.several) return garbled("message of several frames, expected one");
      const auto reply = wire::decode_reply(frame.bytes);
      if (!reply) {
        garbled(reply.error().text);
      } else if (const auto* message = std::get_if<wire::ToAgent>(&*reply)) {
        received(open.link, *message);
      }
    };
    for (int i = 0; i < receive_burst && open.socket.receive(take); ++i) {
    }
  }
}

void CoordinatorSockets::add_handles(std::vector<void*>& handles) const {
  for (const auto& open : open_) handles.push_back(open.socket.handle());
}

}  // namespace gordian::net
