// What must always hold between the lists and indexes of the wait-for graph; used by tests.
#include <algorithm>

#include "graph/wait_for_graph.hpp"

namespace gordian::graph {
namespace {

bool holds(std::span<const std::uint32_t> list, std::uint32_t place, std::uint32_t slot) {
  return place < list.size() && list[place] == slot;
}

}  // namespace

std::string WaitForGraph::check_invariants() const {
  std::size_t vertices = 0;
  for (Vertex v = 0; v < vertex_capacity(); ++v) {
    if (!alive(v)) continue;
    ++vertices;
    if (auto wrong = check_vertex(v); !wrong.empty()) return wrong;
  }
  if (vertices != vertex_count() || vertices != txns_.size())
    return std::to_string(vertices) + " living vertices, but " + std::to_string(vertex_count()) + " slots in use and " +
           std::to_string(txns_.size()) + " in the index";

  std::size_t indexed = 0;
  for (SiteSlot site = 0; site < sites_.size(); ++site) {
    for (const auto w : sites_[site]) {
      if (waits_[w].site != site) return "wait " + std::to_string(w) + " is indexed at another site than its own";
      if (auto wrong = check_wait(w); !wrong.empty()) return wrong;
    }
    indexed += sites_[site].size();
  }
  if (indexed != wait_count())
    return std::to_string(wait_count()) + " wait slots in use, but " + std::to_string(indexed) + " in the index";

  std::size_t living_edges = 0;
  for (EdgeSlot e = 0; e < edge_capacity(); ++e) {
    if (!edge_alive(e)) continue;
    ++living_edges;
    if (auto wrong = check_edge(e); !wrong.empty()) return wrong;
  }
  if (living_edges != edge_count())
    return std::to_string(edge_count()) + " edge slots in use, but " + std::to_string(living_edges) + " alive";
  return {};
}

std::string WaitForGraph::check_vertex(Vertex v) const {
  const auto name = "transaction " + txn(v).str();
  if (find_txn(txn(v)) != v) return name + " is not found under its id";
  std::size_t edges_of_waits = 0;
  for (const auto w : waits(v)) {
    if (waiter(w) != v) return name + " lists wait " + std::to_string(w) + ", which has another waiter";
    edges_of_waits += edges(w).size();
  }
  if (edges_of_waits != out_edges(v).size()) return name + " has other out-edges than its waits";
  for (const auto e : out_edges(v))
    if (!edge_alive(e) || source(e) != v) return name + " lists a foreign out-edge " + std::to_string(e);
  for (const auto e : in_edges(v))
    if (!edge_alive(e) || target(e) != v) return name + " lists a foreign in-edge " + std::to_string(e);
  return {};
}

std::string WaitForGraph::check_wait(WaitSlot w) const {
  const auto name = "wait " + std::to_string(w);
  if (waiter(w) == no_slot) return name + " is free, but in the index";
  if (find_wait(ref(w)) != w) return name + " is not found under its site and sequence";
  if (!holds(waits(waiter(w)), waits_[w].place_in_waits, w)) return name + " has a wrong place in its waiter's list";
  std::vector<Vertex> blockers;
  for (const auto e : edges(w)) blockers.push_back(target(e));
  std::ranges::sort(blockers);
  if (std::ranges::adjacent_find(blockers) != blockers.end()) return name + " names a blocker twice";
  return {};
}

std::string WaitForGraph::check_edge(EdgeSlot e) const {
  const auto name = "edge " + std::to_string(e);
  const auto& edge = edges_[e];
  if (waiter(edge.wait) != edge.source) return name + " starts at another transaction than its wait's";
  if (edge.source == edge.target) return name + " blocks its own waiter";
  if (!holds(out_edges(edge.source), edge.place_in_out, e)) return name + " has a wrong place among the out-edges";
  if (!holds(in_edges(edge.target), edge.place_in_in, e)) return name + " has a wrong place among the in-edges";
  if (!holds(edges(edge.wait), edge.place_in_wait, e)) return name + " has a wrong place in its wait";
  return {};
}

}  // namespace gordian::graph
