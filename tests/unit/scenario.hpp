// Wait-for graphs written as tables of waits: "20>10@a" says that 20 waits for 10 at site a. For tests of detect/.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "detect/detector.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::test {

using txns = std::set<std::string>;

inline txns names(const std::vector<TxnId>& ids) {
  txns result;
  for (const auto& id : ids) result.insert(id.str());
  return result;
}

/// Ids that are numbers start at that number, as in traces.
inline TxnInfo started_at_its_number(const TxnId& txn) {
  TxnInfo info;
  info.start = std::stod(txn.str());
  return info;
}

struct Scenario {
  graph::WaitForGraph graph;
  detect::Detector detector{graph};
  std::map<std::string, graph::SiteSlot> sites;
  std::uint64_t sequence = 0;
  detect::InfoOf info = started_at_its_number;
  detect::Policy policy = detect::Policy::youngest;

  Scenario() = default;
  Scenario(std::initializer_list<const char*> waits) {
    for (const auto* const wait : waits) add(wait);
  }

  /// Each is a wait of its own; without "@site" it is at site "0".
  graph::WaitSlot add(const std::string& wait) {
    const auto at = wait.find('@');
    const auto arrow = wait.find('>');
    const auto site = at == std::string::npos ? "0" : wait.substr(at + 1);
    const auto slot = sites.emplace(site, static_cast<graph::SiteSlot>(sites.size())).first->second;
    const std::vector<TxnId> blockers{TxnId(wait.substr(arrow + 1, at == std::string::npos ? at : at - arrow - 1))};
    return graph.begin_wait({slot, ++sequence}, TxnId(wait.substr(0, arrow)), blockers).value();
  }

  [[nodiscard]] txns victims() {
    txns all;
    for (const auto& candidate : detector.full_pass())
      all.merge(names(detect::choose_victims(candidate.edges, info, policy).victims));
    return all;
  }
  [[nodiscard]] txns victims_by(detect::Policy chosen) {
    policy = chosen;
    return victims();
  }
  [[nodiscard]] txns deadlocked() { return names(detector.deadlocked()); }
};

}  // namespace gordian::test
