// Which of an agent's links leads to which coordinator, in the simulation: endpoints are "sim://NAME".
#pragma once

#include <algorithm>
#include <map>
#include <optional>

#include "agent/agent_router.hpp"
#include "sim/process.hpp"

namespace gordian::sim {

class Links {
 public:
  explicit Links(const Surroundings& around) : around_(around) {}

  /// All coordinators there are, as an agent is told of them.
  [[nodiscard]] std::vector<std::string> endpoints() const {
    std::vector<std::string> all;
    for (const auto& name : around_.coordinator_names) all.push_back("sim://" + name);
    return all;
  }
  void change(const std::vector<agent::LinkChange>& changes) {
    for (const auto& change : changes) {
      if (const auto* dial = std::get_if<agent::Dial>(&change)) {
        const auto all = endpoints();
        const auto place = static_cast<std::size_t>(std::ranges::find(all, dial->endpoint) - all.begin());
        to_[dial->link] = around_.coordinators.at(place);
        from_[around_.coordinators.at(place)] = dial->link;
      } else {
        const auto link = std::get<agent::Hangup>(change).link;
        if (const auto it = from_.find(to_.at(link)); it != from_.end() && it->second == link) from_.erase(it);
        to_.erase(link);
      }
    }
  }
  [[nodiscard]] NodeId to(agent::LinkId link) const { return to_.at(link); }
  [[nodiscard]] std::optional<agent::LinkId> from(NodeId coordinator) const {
    const auto it = from_.find(coordinator);
    return it == from_.end() ? std::nullopt : std::optional(it->second);
  }
  void clear() { to_.clear(), from_.clear(); }

 private:
  const Surroundings& around_;
  std::map<agent::LinkId, NodeId> to_;
  std::map<NodeId, agent::LinkId> from_;
};

}  // namespace gordian::sim
