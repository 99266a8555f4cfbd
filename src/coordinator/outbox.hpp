// What the parts of a coordinator have to say: messages to agents, events for the host, and counters.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/coordinator.hpp"

namespace gordian::coordinator {

struct Outbox {
  std::vector<Outgoing> outgoing;
  std::vector<PeerOutgoing> peer_outgoing;
  std::vector<Event> events;
  std::map<std::string, std::uint64_t> counters;

  void send(const PeerId& peer, wire::ToAgent message) { outgoing.push_back({peer, std::move(message)}); }
  void note(Note::Level level, std::string text) { events.emplace_back(Note{level, std::move(text)}); }
  void count(const char* name, std::uint64_t by = 1) { counters[name] += by; }
};

}  // namespace gordian::coordinator
