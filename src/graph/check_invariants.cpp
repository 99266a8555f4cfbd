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
    if (auto wrong = is_group(v) ? check_group(v) : check_vertex(v); !wrong.empty()) return wrong;
    const auto link = [](std::span<const EdgeSlot> list, auto end) {
      return list.empty() ? no_slot : list.size() == 1 ? end(list[0]) : several;
    };
    if (links(v).target != link(out_edges(v), [this](EdgeSlot e) { return target(e); }))
      return "vertex " + std::to_string(v) + " has a wrong link to whom it waits for";
    if (links(v).source != link(in_edges(v), [this](EdgeSlot e) { return source(e); }))
      return "vertex " + std::to_string(v) + " has a wrong link to who waits for it";
    if (const auto in = in_edges(v); in.size() > 1)
      for (std::size_t i = 0; i < in.size(); ++i)
        if (links(v).in.partners()[i] != source(in[i]))
          return "vertex " + std::to_string(v) + " has a wrong source of an in-edge";
  }
  if (vertices != vertex_count() || vertices != txns_.size() + groups_.size())
    return std::to_string(vertices) + " living vertices, but " + std::to_string(vertex_count()) + " slots in use and " +
           std::to_string(txns_.size() + groups_.size()) + " in the indexes";

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

  indexed = 0;
  for (const auto& groups : site_groups_) indexed += groups.size();
  if (indexed != groups_.size())
    return std::to_string(groups_.size()) + " groups, but " + std::to_string(indexed) + " in the index";

  std::size_t living_edges = 0;
  std::size_t memberships = 0;
  for (EdgeSlot e = 0; e < edge_capacity(); ++e) {
    if (!edge_alive(e)) continue;
    ++living_edges;
    memberships += edges_[e].wait == membership ? 1 : 0;
    if (auto wrong = check_edge(e); !wrong.empty()) return wrong;
  }
  if (living_edges != edge_count())
    return std::to_string(edge_count()) + " edge slots in use, but " + std::to_string(living_edges) + " alive";
  if (memberships != members_.size())
    return std::to_string(memberships) + " edges to members, but " + std::to_string(members_.size()) + " in the index";
  return {};
}

std::string WaitForGraph::check_group(Vertex v) const {
  if (!groups_.contains(v)) return "vertex " + std::to_string(v) + " is a group without a name";
  const auto name = "group " + std::to_string(group(v).number);
  if (find_group(group(v)) != v) return name + " is not found under its site and number";
  if (!waits(v).empty()) return name + " has waits of its own";
  for (const auto e : out_edges(v)) {
    const auto found = members_.find(member_key(v, target(e)));
    if (!edge_alive(e) || source(e) != v || edges_[e].wait != membership) return name + " lists a foreign member edge";
    if (found == members_.end() || found->second != e) return name + " has a member that is not in the index";
    if (is_group(target(e))) return name + " has a group as member";
  }
  for (const auto e : in_edges(v))
    if (!edge_alive(e) || target(e) != v || is_group(source(e))) return name + " lists a foreign in-edge";
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
  if (!holds(out_edges(edge.source), edge.place_in_out, e)) return name + " has a wrong place among the out-edges";
  if (!holds(in_edges(edge.target), edge.place_in_in, e)) return name + " has a wrong place among the in-edges";
  if (edge.wait == membership) return is_group(edge.source) ? "" : name + " has members, but starts at no group";
  if (waiter(edge.wait) != edge.source) return name + " starts at another transaction than its wait's";
  if (edge.source == edge.target) return name + " blocks its own waiter";
  if (!holds(edges(edge.wait), edge.place_in_wait, e)) return name + " has a wrong place in its wait";
  return {};
}

}  // namespace gordian::graph
