// What can be said of a candidate by itself: its members, its shortest cycles.
#include "detect/candidate.hpp"

#include <algorithm>
#include <unordered_map>

namespace gordian::detect {

std::vector<TxnId> Candidate::members() const {
  std::vector<TxnId> members;
  members.reserve(edges.size() * 2);
  for (const auto& edge : edges) {
    members.push_back(edge.waiter);
    members.push_back(edge.blocker);
  }
  std::ranges::sort(members);
  members.erase(std::unique(members.begin(), members.end()), members.end());
  return members;
}

// Breadth first; `via` remembers the edge each transaction was first reached by.
std::vector<CandidateEdge> shortest_cycle(const std::vector<CandidateEdge>& edges, const TxnId& through) {
  auto sorted = edges;
  std::ranges::sort(sorted);
  std::unordered_map<TxnId, const CandidateEdge*> via;
  std::vector<TxnId> queue{through};
  for (std::size_t next = 0; next < queue.size() && !via.contains(through); ++next) {
    const auto at = queue[next];
    const auto first = std::ranges::lower_bound(sorted, at, {}, &CandidateEdge::waiter);
    for (auto edge = first; edge != sorted.end() && edge->waiter == at; ++edge)
      if (via.emplace(edge->blocker, &*edge).second) queue.push_back(edge->blocker);
  }
  std::vector<CandidateEdge> cycle;
  if (!via.contains(through)) return cycle;
  auto at = through;
  do {
    cycle.push_back(*via.at(at));
    at = cycle.back().waiter;
  } while (at != through);
  std::ranges::reverse(cycle);
  return cycle;
}

}  // namespace gordian::detect
