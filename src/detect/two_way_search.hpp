// Does one set of vertices reach another? The search that every new wait and every new member starts.
//
// It walks from both ends in turn, edge by edge: forward along waits, and back from whoever is to be reached along those who
// wait for it. It ends when the two walks meet, or when either has nowhere to go: whoever is reached by a path is reached
// from both sides. So its cost is twice that of the smaller side, and which side that is need not be known.
//
// Source: bidirectional search (Pohl 1971), as in the two-way searches for incremental cycle detection of Bender, Fineman,
// Gilbert and Tarjan (2016) and Haeupler, Kavitha, Mathew, Sen and Tarjan (2012), but without an order that is kept: waits
// end as often as they begin, and an order pays with every one that begins for what never comes back.
//
// Where everybody waits for one other only, which is nearly always, the walk needs no marks (walk()): ahead lies a chain,
// which ends, meets the waiter or runs into a ring that stood before (Brent 1980 notices that); behind lies a tree. A step ahead is
// cheap, so it takes three for one behind, and looks at no more than four times the edges of the smaller side.
//
// Bounds: O(min(edges ahead of the wait, edges behind it)). Where nobody waits for the waiter, or the blocker waits for
// nobody, O(1). With one wait each, n waits that begin cost O(n log n) in all, in any order: a wait joins two trees, the way
// ahead is not longer than one, those behind are the other, and each vertex is looked at only when its tree is the smaller
// one, so that the tree it is in doubles. Not bounded by this: a wait in the middle of a long chain that begins, ends and begins
// again costs half the chain each time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

/// Not thread-safe; borrows the graph. Memory: four bytes for each vertex, once somebody waits for more than one.
class TwoWaySearch {
 public:
  explicit TwoWaySearch(const graph::WaitForGraph& graph) : graph_(graph) {}

  /// Is there a path from the blocker to the waiter, whose only edge is the one to the blocker? While nobody who is met waits
  /// for more than one, nothing has to be remembered: nobody is met twice. Unknown if somebody does: search then.
  [[nodiscard]] std::optional<bool> walk(graph::Vertex blocker, graph::Vertex waiter);

  /// Forgets the last search.
  void begin();
  /// An end of the next search. A vertex that is added at both ends is a meeting: reach() is true then.
  void add_from(graph::Vertex v);
  void add_to(graph::Vertex v);
  /// All members of the group but this one; not the group itself. Before other vertices; `member` is the same at each call.
  void add_from_others(graph::Vertex group, graph::Vertex member);
  /// No path leads through this vertex. Before other vertices.
  void leave_out(graph::Vertex v) { color_[v] = left_out_; }
  /// Is there a path, of no edge or more, from one of `from` to one of `to`?
  [[nodiscard]] bool reach();

  /// How many edges were looked at so far.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  struct Side {
    std::vector<graph::Vertex> found;  ///< in order of discovery
    std::size_t next = 0;              ///< the first of them whose edges are not all looked at yet
    std::uint32_t next_edge = 0;
    std::uint32_t color = 0;  ///< of the vertices found
  };
  [[nodiscard]] graph::Vertex next_behind(graph::Vertex v);
  void add(Side& side, graph::Vertex v);
  [[nodiscard]] bool step_forward();
  [[nodiscard]] bool step_backward();

  const graph::WaitForGraph& graph_;
  std::vector<std::uint32_t> color_;  ///< by vertex; older colors mean nothing
  /// Whose waiters are walked to one after the other, and the next of them.
  struct Fork {
    std::span<const graph::Vertex> sources;
    std::size_t next;
  };
  std::vector<Fork> forks_;
  Side forward_;
  Side backward_;
  std::uint32_t left_out_ = 0;
  std::size_t groups_of_others_ = 0;  ///< the first of forward_.found: the way from them to member_ is not looked at
  graph::Vertex member_ = graph::no_slot;
  bool met_ = false;
  std::uint64_t steps_ = 0;
};

}  // namespace gordian::detect
