#include "sim/coordinator_process.hpp"

#include "sim/coordinator_links.hpp"
#include "sim/describe.hpp"
#include "wire/codec.hpp"

namespace gordian::sim {

void CoordinatorProcess::start() {
  if (random_.chance(around_.faults.state_lost_ppm)) epoch_ = 0;
  coordinator::Options options;
  options.epoch = ++epoch_;
  options.instance = ++starts_;
  if (around_.coordinators.size() > 1) {
    options.member = name();
    options.map.version = 1;
    for (const auto& member : around_.coordinator_names) options.map.members.push_back({member, endpoint_of(member)});
  }
  told_ = 0;
  coordinator_ = std::make_unique<coordinator::Coordinator>(std::move(options), time());
  connect(name() + "#" + std::to_string(starts_));
  log([&] { return "starts, epoch " + std::to_string(epoch_); });
}

void CoordinatorProcess::crash() {
  counters_ = counters();
  coordinator_.reset();
  disconnect();
}

CoordinatorProcess::Counters CoordinatorProcess::counters() const {
  auto counters = counters_;
  if (!coordinator_) return counters;
  const auto known = coordinator_->status(time()).counters;
  if (const auto it = known.find("candidates"); it != known.end()) counters.candidates += it->second;
  if (const auto it = known.find("probe_initiations"); it != known.end()) counters.initiations += it->second;
  return counters;
}

void CoordinatorProcess::receive(NodeId from, const std::string& bytes) {
  const auto request = wire::decode_request(bytes);
  if (const auto* peer = request ? std::get_if<wire::FromPeer>(&*request) : nullptr)
    return receive(routing_id(from), *peer);
  const auto* message = request ? std::get_if<wire::FromAgent>(&*request) : nullptr;
  if (message == nullptr) return around_.observer.violated(4, name() + " received what it cannot read");
  log([&] { return "<- " + routing_id(from) + ": " + describe(*message); });
  coordinator_->receive(routing_id(from), *message, time());
}

void CoordinatorProcess::receive(const std::string& from, const wire::FromPeer& message) {
  if (!std::holds_alternative<wire::PeerHello>(message.message))
    log([&] { return "<- " + message.member + ": " + describe(message.message); });
  coordinator_->receive(from, message, time());
}

void CoordinatorProcess::work() {
  if (now() >= coordinator_->next_tick_us()) coordinator_->tick(time());
  for (const auto& event : coordinator_->take_events()) tell(event);
  talk_to_peers();
  for (const auto& out : coordinator_->take_outgoing()) {
    const auto* node = find_peer(out.peer);
    log([&] { return "-> " + out.peer + ": " + describe(out.message); });
    if (node == nullptr) continue;  // that process is gone
    if (!std::holds_alternative<wire::HeartbeatAck>(out.message) && !std::holds_alternative<wire::Error>(out.message))
      ++counters_.messages;
    send(*node, wire::encode(wire::Reply(out.message)));
  }
}

void CoordinatorProcess::talk_to_peers() {
  for (const auto& out : coordinator_->take_peer_outgoing()) {
    if (!std::holds_alternative<wire::PeerHello>(out.message.message)) {
      const auto& message = out.message.message;
      const bool chasing =
          std::holds_alternative<wire::Probe>(message) || std::holds_alternative<wire::Suspect>(message);
      ++(chasing ? counters_.chasing : counters_.messages);
      log([&] { return "-> " + around_.coordinator_names[out.member] + ": " + describe(out.message.message); });
    }
    send(around_.coordinators[out.member], wire::encode(wire::Request(out.message)));
  }
}

void CoordinatorProcess::tell(const coordinator::Event& event) {
  if (const auto* note = std::get_if<coordinator::Note>(&event)) log([&] { return note->text; });
  const auto* changed = std::get_if<coordinator::IncidentChanged>(&event);
  if (changed == nullptr || changed->incident.number <= told_) return;
  told_ = changed->incident.number;
  around_.observer.incident_opened(id(), changed->incident, around_.sites);
}

}  // namespace gordian::sim
