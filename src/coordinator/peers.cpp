#include "coordinator/peers.hpp"

#include <algorithm>
#include <utility>

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

}  // namespace

Peers::Peers(const Options& options, Outbox& out, Time now)
    : options_(options), out_(out), peers_(options.map.members.size()), next_hello_us_(now.steady_us) {
  const auto& members = options.map.members;
  const auto own = std::ranges::find(members, options.member, &wire::Member::name);
  self_ = own == members.end() ? 0 : static_cast<std::size_t>(own - members.begin());
}

void Peers::send(std::size_t member, wire::PeerMessage message) {
  out_.count("peer_messages_sent");
  out_.peer_outgoing.push_back(
      {member, {options_.member, options_.instance, options_.map.version, std::move(message)}});
}

void Peers::send_to_others(const wire::PeerMessage& message) {
  for (std::size_t member = 0; member < count(); ++member)
    if (member != self_) send(member, message);
}

std::optional<std::size_t> Peers::admit(const PeerId& peer, const wire::FromPeer& message, Time now) {
  const auto& members = options_.map.members;
  const auto found = std::ranges::find(members, message.member, &wire::Member::name);
  const auto place = static_cast<std::size_t>(found - members.begin());
  const auto refuse = [&](std::string why) -> std::optional<std::size_t> {
    if (const auto n = ++out_.counters["peer_messages_refused"]; (n & (n - 1)) == 0)
      out_.note(Note::Level::warn, "message of coordinator '" + message.member + "' passed over (" + std::to_string(n) +
                                       " so far): " + why);
    return std::nullopt;
  };
  (void)peer;
  if (found == members.end() || place == self_)
    return refuse("it is not another member of this one's map (option peer)");
  if (message.map_version != options_.map.version)
    return refuse("it goes by map " + std::to_string(message.map_version) + ", this one by map " +
                  std::to_string(options_.map.version) + "; start all members with the same list and map-version");
  auto& sender = peers_[place];
  if (message.instance < sender.instance) {
    out_.count("stale_messages");
    return std::nullopt;
  }
  sender = {message.instance, now.steady_us};
  out_.count("peer_messages");
  return place;
}

bool Peers::alive(std::size_t member, Time now) const {
  return member == self_ ||
         (peers_[member].heard_us != 0 && now.steady_us - peers_[member].heard_us <= us(options_.lease));
}

std::vector<MemberView> Peers::views(Time now) const {
  std::vector<MemberView> views;
  for (std::size_t member = 0; member < count(); ++member) {
    const auto& entry = options_.map.members[member];
    views.push_back({entry.name, entry.endpoint, member == self_, alive(member, now)});
  }
  return views;
}

bool Peers::hello_due(Time now) {
  if (alone() || now.steady_us < next_hello_us_) return false;
  next_hello_us_ = now.steady_us + us(options_.heartbeat);
  return true;
}

}  // namespace gordian::coordinator
