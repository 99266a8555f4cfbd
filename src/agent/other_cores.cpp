// What a core has to do with the agent's other cores: see class Cores. Nothing of it runs where there is one coordinator.
#include <algorithm>
#include <utility>

#include "agent/agent_core.hpp"

namespace gordian::agent {

AgentCore* AgentCore::elsewhere(std::uint64_t sequence) const {
  if (options_.cores == nullptr || waits_.contains(sequence)) return nullptr;
  auto* const core = options_.cores->holding(sequence);
  return core == this ? nullptr : core;
}

std::uint64_t AgentCore::next_ticket() {
  return options_.cores == nullptr ? ++last_ticket_ : options_.cores->next_ticket();
}

std::vector<std::uint64_t> AgentCore::held() const {
  std::vector<std::uint64_t> sequences;
  sequences.reserve(waits_.size());
  for (const auto& [sequence, standing] : waits_) sequences.push_back(sequence);
  return sequences;
}

Wait AgentCore::withdraw(std::uint64_t sequence, std::int64_t now_us) {
  const auto it = waits_.find(sequence);
  const auto& standing = it->second;
  Wait wait = standing.wait;
  wait.age = std::chrono::microseconds(now_us - standing.began_us);
  for (const auto& [txn, edge] : standing.edges) wait.blockers.push_back({txn, edge.kind});
  // Of how many there were it may have named itself.
  wait.need = std::min(wait.need, static_cast<std::uint32_t>(wait.blockers.size()));
  std::erase_if(wait.groups, [this](GroupHandle group) { return standing_group(group) == nullptr; });
  erase_wait(it);
  return wait;
}

void AgentCore::know_what_is_known_to(const AgentCore& other) {
  last_group_ = other.last_group_;
  for (const auto& [number, group] : other.groups_) {
    if (group.ended) continue;
    auto& same = groups_[number];
    same.resource = group.resource, same.mode = group.mode, same.kind = group.kind;
    same.members = group.members;  // since when they are is told when a wait that names the group is published
    same.overfull = group.overfull;
  }
  for (const auto& [id, txn] : other.txns_) {
    if (!txn.described) continue;
    auto& same = txns_[id];
    same.info = txn.info, same.described = true;
    ++described_;
  }
}

void AgentCore::hello_again(std::uint64_t incarnation, std::int64_t now_us) {
  options_.incarnation = incarnation;
  go_offline(now_us, 0);
}

}  // namespace gordian::agent
