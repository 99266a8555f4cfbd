// A site's connections to coordinators, as its agent asks for them: which link leads to which node.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent_router.hpp"
#include "sim/process.hpp"
#include "wire/codec.hpp"

namespace gordian::sim {

/// Where a coordinator is reached.
inline std::string endpoint_of(const std::string& coordinator) { return "sim://" + coordinator; }
inline std::vector<std::string> endpoints_of(const Surroundings& around) {
  std::vector<std::string> endpoints;
  for (const auto& name : around.coordinator_names) endpoints.push_back(endpoint_of(name));
  return endpoints;
}

class CoordinatorLinks {
 public:
  /// Opens and closes what the agent asks for; `send(node, bytes)`.
  template <class Send>
  void follow(const Surroundings& around, const std::vector<agent::LinkChange>& changes, Send send) {
    for (const auto& change : changes) {
      if (const auto* dial = std::get_if<agent::Dial>(&change)) {
        for (std::size_t i = 0; i < around.coordinators.size(); ++i)
          if (endpoint_of(around.coordinator_names[i]) == dial->endpoint) nodes_[dial->link] = around.coordinators[i];
        continue;
      }
      const auto& hangup = std::get<agent::Hangup>(change);
      if (const auto node = nodes_.find(hangup.link); node != nodes_.end() && hangup.farewell)
        send(node->second, wire::encode(wire::Request(wire::FromAgent(*hangup.farewell))));
      nodes_.erase(hangup.link);
    }
  }
  [[nodiscard]] std::optional<NodeId> node(agent::LinkId link) const {
    const auto at = nodes_.find(link);
    return at == nodes_.end() ? std::nullopt : std::optional(at->second);
  }
  /// The newest link to that node.
  [[nodiscard]] std::optional<agent::LinkId> link(NodeId node) const {
    std::optional<agent::LinkId> newest;
    for (const auto& [link, to] : nodes_)
      if (to == node) newest = link;
    return newest;
  }
  void clear() { nodes_.clear(); }

 private:
  std::map<agent::LinkId, NodeId> nodes_;
};

/// Messages that are about deadlocks, not about being there.
inline bool counts(const wire::FromAgent& message) {
  return !std::holds_alternative<wire::Heartbeat>(message) && !std::holds_alternative<wire::Hello>(message);
}

/// A wait that was moved to another owner has another name from then on: the truth shall know it, too.
inline void tell_names(Truth& truth, NodeId site, std::uint64_t incarnation, const agent::AgentRouter& router,
                       const wire::FromAgent& message) {
  const auto tell = [&](const std::vector<wire::Change>& changes) {
    for (const auto& change : changes) {
      const auto* wait = std::get_if<wire::WaitChange>(&change);
      if (wait == nullptr) continue;
      const auto handle = static_cast<std::uint64_t>(router.handle(wait->sequence));
      if (handle != wait->sequence) truth.rename(site, incarnation, handle, wait->sequence);
    }
  };
  if (const auto* delta = std::get_if<wire::Delta>(&message)) tell(delta->changes);
  if (const auto* snapshot = std::get_if<wire::Snapshot>(&message)) tell(snapshot->changes);
}

}  // namespace gordian::sim
