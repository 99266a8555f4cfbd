// What is deadlocked, by brute force: docs/semantics.md's reduction, word for word, on a wait-for graph small enough. And graphs copied
// without some transactions and edges, to ask "and if these were gone?". Shares nothing with src/detect.
#pragma once

#include <algorithm>
#include <set>

#include "graph/wait_for_graph.hpp"

namespace gordian::fuzz {

/// Reduction by rounds: nobody is in `active` or `satisfied` who need not be.
class Oracle {
 public:
  explicit Oracle(const graph::WaitForGraph& g) : g_(g) {
    for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v)
      if (g.alive(v) && !g.is_group(v)) left_.insert(v);
    for (bool changed = true; changed;) {
      changed = false;
      for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v) {
        if (!left_.contains(v)) continue;
        for (const auto w : g.waits(v))
          if (!satisfied_.contains(w) && now_satisfied(w)) changed = satisfied_.insert(w).second;
        if (std::ranges::all_of(g.waits(v), [&](auto w) { return satisfied_.contains(w); }))
          changed = left_.erase(v) > 0;
      }
    }
  }

  [[nodiscard]] std::set<std::string> deadlocked() const {
    std::set<std::string> names;
    for (const auto v : left_) names.insert(g_.txn(v).str());
    return names;
  }

 private:
  [[nodiscard]] bool blocks(graph::EdgeSlot e, graph::Vertex waiter) const {
    const auto blocker = g_.target(e);
    if (g_.is_group(blocker))
      return std::ranges::any_of(g_.out_edges(blocker), [&](auto member) {
        return g_.target(member) != waiter && left_.contains(g_.target(member));
      });
    if (!left_.contains(blocker)) return false;
    return g_.kind(e) != Kind::dotted || waits_at(blocker, g_.ref(g_.wait(e)).site);
  }
  [[nodiscard]] bool waits_at(graph::Vertex v, graph::SiteSlot site) const {
    return std::ranges::any_of(g_.waits(v), [&](auto w) { return g_.ref(w).site == site && !satisfied_.contains(w); });
  }
  [[nodiscard]] bool now_satisfied(graph::WaitSlot w) const {
    const auto edges = g_.edges(w);
    const auto ended = std::ranges::count_if(edges, [&](auto e) { return !blocks(e, g_.waiter(w)); });
    const auto needed = g_.need(w) == graph::need_all ? edges.size() : g_.need(w);
    return static_cast<std::size_t>(ended) >= needed;
  }

  const graph::WaitForGraph& g_;
  std::set<graph::Vertex> left_;
  std::set<graph::WaitSlot> satisfied_;
};

/// The edge `waiter` → `blocker` of one wait.
using EdgeName = std::tuple<graph::SiteSlot, std::uint64_t, std::string>;

/// Who is deadlocked if `gone` end and the `dissolved` edges vanish.
inline std::set<std::string> deadlocked_without(const graph::WaitForGraph& g, const std::set<std::string>& gone,
                                                const std::set<EdgeName>& dissolved) {
  graph::WaitForGraph copy;
  for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v) {
    if (!g.alive(v) || !g.is_group(v)) continue;
    (void)copy.begin_group(g.group(v));
    for (const auto member : g.out_edges(v)) (void)copy.join(g.group(v), g.txn(g.target(member)));
  }
  for (graph::Vertex v = 0; v < g.vertex_capacity(); ++v) {
    if (!g.alive(v) || g.is_group(v)) continue;
    for (const auto w : g.waits(v)) {
      const auto ref = g.ref(w);
      std::vector<Blocker> blockers;
      std::vector<std::uint64_t> groups;
      for (const auto e : g.edges(w)) {
        if (g.is_group(g.target(e)))
          groups.push_back(g.group(g.target(e)).number);
        else if (!dissolved.contains({ref.site, ref.sequence, g.txn(g.target(e)).str()}))
          blockers.push_back({g.txn(g.target(e)), g.kind(e)});
      }
      (void)copy.begin_wait(ref, g.txn(v), std::span<const Blocker>(blockers), groups, g.need(w));
    }
  }
  for (const auto& txn : gone) copy.remove_txn(TxnId(txn));
  return Oracle(copy).deadlocked();
}

}  // namespace gordian::fuzz
