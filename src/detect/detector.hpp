// Finds deadlocks in a wait-for graph (AND model: a transaction goes on when all its waits are satisfied).
//
// Two ways: a search from one new wait or member (two_way_search.hpp states its source and bounds), and a full pass over the
// graph (peel what is on no cycle, then Boost's strong_components on the rest) as a safety net. Holder groups are walked
// through and never seen outside: candidates have edges between transactions only. Decides nothing about victims: that is
// victims.hpp. Not thread-safe; borrows the graph, which must outlive it.
#pragma once

#include <optional>
#include <vector>

#include "detect/two_way_search.hpp"
#include "detect/victims.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

/// A set of waits that looks like a deadlock: one strongly connected component with all its inner edges, sorted. If those
/// are too many (see Detector), one of its cycles, which is a deadlock by itself.
struct Candidate {
  std::vector<CandidateEdge> edges;
  /// Its members, sorted.
  [[nodiscard]] std::vector<TxnId> members() const;
};

/// A shortest cycle of the candidate through `through` (empty if it is on none), edge by edge, starting at `through`.
[[nodiscard]] std::vector<CandidateEdge> shortest_cycle(const std::vector<CandidateEdge>& edges, const TxnId& through);

class Detector {
 public:
  static constexpr std::size_t candidate_edges_default = 1'000'000;

  /// N members of a group who all wait for it have N² edges between them: a candidate with more than `candidate_edges` is
  /// cut down to one cycle.
  explicit Detector(const graph::WaitForGraph& graph, std::size_t candidate_edges = candidate_edges_default)
      : graph_(graph), search_(graph), candidate_edges_(candidate_edges) {}

  /// The strongly connected component that the wait closes, if it closes one. Cost, where it closes none: O(the smaller
  /// of what its blockers reach and what reaches its waiter), O(1) if nobody waits for the waiter or its blockers for nobody.
  [[nodiscard]] std::optional<Candidate> search(graph::WaitSlot wait);
  /// The one that the transaction closes by being a member of the group. Cost: the same, with the member for the
  /// blockers and the group's waiters for the waiter, and O(those who wait for the group directly).
  [[nodiscard]] std::optional<Candidate> search(graph::Vertex group, graph::Vertex member);
  /// All cyclic components, ordered by their smallest member. Cost: O(V + E).
  [[nodiscard]] std::vector<Candidate> full_pass();
  /// All deadlocked transactions, tails included, sorted: what reduction leaves over. Cost: O(V + E).
  [[nodiscard]] std::vector<TxnId> deadlocked();
  /// The candidate's members and all who wait for them, directly or not, sorted: those who stay deadlocked because of
  /// it. The candidate's transactions must be in the graph still. Cost: O(what reaches them).
  [[nodiscard]] std::vector<TxnId> held_up_by(const Candidate& candidate);

  /// How many edges were looked at in searches so far: what they have cost.
  [[nodiscard]] std::uint64_t steps() const { return steps_ + search_.steps(); }

 private:
  // A vertex's marks of one search. They count only where `version` is that search's: nothing is cleared in between.
  struct Mark {
    std::uint32_t version = 0;
    std::uint32_t index = 0;  ///< order of discovery
    std::uint32_t low = 0;    ///< the smallest index reached from here and still on the stack
    bool on_stack = false;
  };
  struct Frame {
    graph::Vertex vertex;
    std::uint32_t next_edge;
  };

  void begin_marks();
  bool mark(graph::Vertex v);
  [[nodiscard]] bool marked(graph::Vertex v) const { return marks_[v].version == version_; }
  [[nodiscard]] bool closes_a_cycle(graph::WaitSlot wait);
  [[nodiscard]] bool closes_a_cycle(graph::Vertex group, graph::Vertex member);
  [[nodiscard]] Candidate component_around(graph::Vertex root);
  [[nodiscard]] std::vector<graph::Vertex> component_of(graph::Vertex root);
  void enter(graph::Vertex v);
  void leave(graph::Vertex v);
  template <class InComponent>
  [[nodiscard]] Candidate candidate_of(const std::vector<graph::Vertex>& members, InComponent in_component) const;
  template <class InComponent>
  [[nodiscard]] Candidate cycle_within(graph::Vertex through, InComponent in_component) const;
  [[nodiscard]] CandidateEdge edge_between(graph::EdgeSlot wait_edge, graph::Vertex blocker) const;
  [[nodiscard]] std::optional<graph::Vertex> last_member(graph::Vertex group, const std::vector<bool>& remaining) const;
  [[nodiscard]] std::vector<bool> reduction_leftovers() const;
  [[nodiscard]] std::vector<TxnId> sorted_ids(const std::vector<graph::Vertex>& vertices) const;

  const graph::WaitForGraph& graph_;
  TwoWaySearch search_;
  const std::size_t candidate_edges_;
  std::uint64_t steps_ = 0;
  std::vector<Mark> marks_;
  std::uint32_t version_ = 0;
  std::uint32_t discovered_ = 0;
  std::vector<graph::Vertex> stack_;  ///< discovered, component not complete yet
  std::vector<Frame> path_;           ///< the search's own call stack
};

}  // namespace gordian::detect
