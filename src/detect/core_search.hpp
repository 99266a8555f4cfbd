// Finds deadlocks where waits may need some of several blockers or be dotted: there a cycle proves nothing, and reduction
// decides. The Detector's other half; graphs without such waits never come here.
//
// What is reachable is copied into a WaitModel and reduced. The core is what is left, without those that merely wait for
// it: it falls into parts that have no wait between them, and a part in which every wait needs all into its strong
// components. Cost: O(what is reachable) for each call, with hash-free tables that are as large as the graph once was.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "detect/candidate.hpp"
#include "detect/reduction.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::detect {

class CoreSearch {
 public:
  CoreSearch(const graph::WaitForGraph& graph, std::size_t candidate_edges)
      : graph_(graph), candidate_edges_(candidate_edges) {}

  /// The core around the wait's waiter, if it cannot go on because of this wait.
  [[nodiscard]] std::optional<Candidate> search(graph::WaitSlot wait);
  /// The core around the member, if it holds up somebody who waits for the group and whom it waits for itself.
  [[nodiscard]] std::optional<Candidate> search(graph::Vertex group, graph::Vertex member);
  /// Every part of the core, ordered by their smallest edge.
  [[nodiscard]] std::vector<Candidate> full_pass();
  /// What reduction leaves over, in no order.
  [[nodiscard]] std::vector<graph::Vertex> deadlocked();
  /// Those of them that wait for one of `members`, directly or not, and these themselves.
  [[nodiscard]] std::vector<graph::Vertex> held_up_by(std::span<const graph::Vertex> members);

  /// How many edges were copied so far.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  /// How many candidates had more edges than allowed and no cycle of waits that need all: they are not reported.
  [[nodiscard]] std::uint64_t too_large() const { return too_large_; }

 private:
  using Number = WaitModel::Number;

  /// A part of the graph from which no edge leads out.
  struct Region {
    WaitModel model;
    std::vector<graph::Vertex> txns;
    std::vector<graph::Vertex> groups;
    std::vector<graph::WaitSlot> waits;
  };
  // What still blocks: transactions first, then groups; an arc knows the edge that it comes from.
  struct Arc {
    Number to;
    Number edge;  ///< graph::no_slot: from a group to its member
  };
  struct Core {
    std::vector<std::vector<Arc>> out;
    std::vector<bool> inside;
    std::vector<Number> component;  ///< strong, among those inside
    std::vector<bool> cyclic;       ///< by component: it has two transactions
    std::vector<Number> part;       ///< which candidate was made of it last, from 1
    Number parts = 0;
  };

  [[nodiscard]] Region region_of(std::span<const graph::Vertex> roots);
  [[nodiscard]] Region whole_graph();
  void fill(Region& region) const;
  [[nodiscard]] Core core_of(const Region& region, const Reduction& reduction) const;
  void find_components(Core& core, std::size_t txns) const;
  void keep_reachable(Core& core, std::vector<Number> from) const;
  void keep_what_holds_others_up(Core& core) const;
  [[nodiscard]] std::optional<Candidate> core_around(const Region& region, const Reduction& reduction, Number root,
                                                     const std::function<bool(const Core&)>& is_new);
  [[nodiscard]] std::vector<std::vector<Number>> parts_of(const Core& core) const;
  [[nodiscard]] bool needs_all(const Region& region, const Core& core, std::span<const Number> part) const;
  [[nodiscard]] std::optional<Candidate> candidate_of(const Region& region, const Reduction& reduction, Core& core,
                                                      std::span<const Number> part);
  [[nodiscard]] std::optional<Candidate> cycle_of(const Region& region, const Reduction& reduction, Core core,
                                                  std::span<const Number> part);
  [[nodiscard]] CandidateEdge edge_of(const Region& region, const Reduction& reduction, Number edge,
                                      Number blocker) const;

  const graph::WaitForGraph& graph_;
  const std::size_t candidate_edges_;
  std::uint64_t steps_ = 0;
  std::uint64_t too_large_ = 0;
  std::vector<Number> number_of_;  ///< by vertex, while a region is built; no_slot outside of it
};

}  // namespace gordian::detect
