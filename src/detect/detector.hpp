// Finds deadlocks in a wait-for graph.
//
// Two ways: a search from one new wait or member (two_way_search.hpp states its source and bounds), and a full pass over the
// graph (peel what is on no cycle, then Boost's strong_components on the rest) as a safety net. Holder groups are walked
// through and never seen outside: candidates have edges between transactions only. While every wait needs all of its
// blockers and no edge is dotted, a deadlock is a cycle, and that is looked for here; else core_search.hpp reduces what is
// reached. Decides nothing about victims: that is victims.hpp. Not thread-safe; borrows the graph, which must outlive it.
#pragma once

#include <optional>
#include <vector>

#include "detect/candidate.hpp"
#include "detect/core_search.hpp"
#include "detect/two_way_search.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

class Detector {
 public:
  static constexpr std::size_t candidate_edges_default = 1'000'000;

  /// N members of a group who all wait for it have N² edges between them: a candidate with more than `candidate_edges` is
  /// cut down to one cycle.
  explicit Detector(const graph::WaitForGraph& graph, std::size_t candidate_edges = candidate_edges_default)
      : graph_(graph), two_way_(graph), candidate_edges_(candidate_edges), cores_(graph, candidate_edges) {}

  /// What the wait closes: its waiter cannot go on because of it, and holds up others. Where a cycle decides, the strongly
  /// connected component around it, and what it costs where there is none is O(the smaller of what its blockers reach and
  /// what reaches its waiter), O(1) if nobody waits for the waiter or its blockers for nobody. Else all that keeps it from
  /// going on. Cost: O(what is reachable from it).
  [[nodiscard]] std::optional<Candidate> search(graph::WaitSlot wait);
  /// Does the wait close anything? What search() costs where it finds nothing.
  [[nodiscard]] bool closes(graph::WaitSlot wait);
  /// What the transaction closes by being a member of the group. Cost: the same, with the member for the blockers and the
  /// group's waiters for the waiter, and O(those who wait for the group directly).
  [[nodiscard]] std::optional<Candidate> search(graph::Vertex group, graph::Vertex member);
  /// All candidates, ordered by their smallest member; no two share one. Cost: O(V + E).
  [[nodiscard]] std::vector<Candidate> full_pass();
  /// All deadlocked transactions, tails included, sorted: what reduction leaves over. Cost: O(V + E).
  [[nodiscard]] std::vector<TxnId> deadlocked();
  /// The candidate's members and all who wait for them, directly or not, and cannot go on, sorted: those who stay
  /// deadlocked because of it. The candidate's transactions must be in the graph still. Cost: O(what reaches them); with
  /// partial waits or dotted edges also O(what is reachable from there).
  [[nodiscard]] std::vector<TxnId> held_up_by(const Candidate& candidate);

  /// How many edges were looked at in searches so far: what they have cost.
  [[nodiscard]] std::uint64_t steps() const { return steps_ + two_way_.steps() + cores_.steps(); }
  /// How many candidates could not be told, for they had more edges than allowed and no cycle that is a deadlock by itself.
  [[nodiscard]] std::uint64_t too_large() const { return cores_.too_large(); }

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

  /// Is a deadlock more than a cycle here?
  [[nodiscard]] bool mixed() const { return graph_.partial_wait_count() > 0 || graph_.dotted_edge_count() > 0; }
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
  TwoWaySearch two_way_;
  const std::size_t candidate_edges_;
  CoreSearch cores_;
  std::uint64_t steps_ = 0;
  std::vector<Mark> marks_;
  std::uint32_t version_ = 0;
  std::uint32_t discovered_ = 0;
  std::vector<graph::Vertex> stack_;  ///< discovered, component not complete yet
  std::vector<Frame> path_;           ///< the search's own call stack
};

}  // namespace gordian::detect
