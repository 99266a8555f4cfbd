// A set of waits that looks like a deadlock, by value: it outlives the graph's slots. What finds one is detector.hpp.
#pragma once

#include <vector>

#include "detect/victims.hpp"

namespace gordian::detect {

/// What cannot go on, with all edges among its members, sorted. Where all waits need all of their blockers, and none is
/// dotted: one strongly connected component, or, if its edges are too many (see Detector), one of its cycles, which is a
/// deadlock by itself. Else: a set of transactions of which none goes on before another one of them has ended.
struct Candidate {
  std::vector<CandidateEdge> edges;
  /// Its members, sorted.
  [[nodiscard]] std::vector<TxnId> members() const;
};

/// A shortest cycle of the candidate through `through` (empty if it is on none), edge by edge, starting at `through`.
[[nodiscard]] std::vector<CandidateEdge> shortest_cycle(const std::vector<CandidateEdge>& edges, const TxnId& through);

}  // namespace gordian::detect
