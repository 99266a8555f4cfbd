// Finds deadlocks in a wait-for graph (AND model: a transaction goes on when all its waits are satisfied).
//
// Two ways: a search from one new wait, whose cost is proportional to what is reached, and a full pass over the graph
// (peel what can be reduced, then Boost's strong_components on the rest) as a safety net. Decides nothing about victims:
// that is victims.hpp. Not thread-safe; borrows the graph, which must outlive it.
#pragma once

#include <optional>
#include <vector>

#include "detect/victims.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

/// A set of waits that looks like a deadlock: one strongly connected component with all its inner edges, sorted.
struct Candidate {
  std::vector<CandidateEdge> edges;
  /// Its members, sorted.
  [[nodiscard]] std::vector<TxnId> members() const;
};

/// A shortest cycle of the candidate through `through` (empty if it is on none), edge by edge, starting at `through`.
[[nodiscard]] std::vector<CandidateEdge> shortest_cycle(const std::vector<CandidateEdge>& edges, const TxnId& through);

class Detector {
 public:
  explicit Detector(const graph::WaitForGraph& graph);

  /// The strongly connected component that the wait closes, if it closes one. Cost: O(what is reachable from it).
  [[nodiscard]] std::optional<Candidate> search(graph::WaitSlot wait);
  /// All cyclic components, ordered by their smallest member. Cost: O(V + E).
  [[nodiscard]] std::vector<Candidate> full_pass();
  /// All deadlocked transactions, tails included, sorted: what reduction leaves over. Cost: O(V + E).
  [[nodiscard]] std::vector<TxnId> deadlocked();
};

}  // namespace gordian::detect
