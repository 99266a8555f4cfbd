// Regions, cores and their parts. Strong components are Boost's; groups are walked through like transactions, and a
// circle of one transaction and a group that it is a member of is no cycle.
#include "detect/core_search.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <numeric>

namespace gordian::detect {

using graph::no_slot;
using graph::Vertex;
using graph::WaitSlot;

CoreSearch::Region CoreSearch::region_of(std::span<const Vertex> roots) {
  number_of_.resize(graph_.vertex_capacity(), no_slot);
  Region region;
  std::vector<Vertex> found;
  const auto reach = [&](Vertex v) {
    if (number_of_[v] != no_slot) return;
    number_of_[v] = graph_.is_group(v) ? region.model.add_group() : region.model.add_txn();
    (graph_.is_group(v) ? region.groups : region.txns).push_back(v);
    found.push_back(v);
  };
  for (const auto root : roots) reach(root);
  for (std::size_t next = 0; next < found.size(); ++next) {
    const auto out = graph_.out_edges(found[next]);
    steps_ += out.size();
    for (const auto e : out) reach(graph_.target(e));
  }
  fill(region);
  for (const auto v : found) number_of_[v] = no_slot;
  return region;
}

CoreSearch::Region CoreSearch::whole_graph() {
  std::vector<Vertex> all;
  all.reserve(graph_.vertex_count());
  for (Vertex v = 0; v < graph_.vertex_capacity(); ++v)
    if (graph_.alive(v)) all.push_back(v);
  return region_of(all);
}

void CoreSearch::fill(Region& region) const {
  for (Number txn = 0; txn < region.txns.size(); ++txn) {
    for (const auto w : graph_.waits(region.txns[txn])) {
      const auto wait = region.model.add_wait(txn, graph_.ref(w).site, graph_.need(w));
      region.waits.push_back(w);
      for (const auto e : graph_.edges(w)) {
        const auto target = graph_.target(e);
        if (graph_.is_group(target)) {
          region.model.add_group_edge(wait, number_of_[target], graph_.kind(e));
        } else {
          region.model.add_edge(wait, number_of_[target], graph_.kind(e));
        }
      }
    }
  }
  for (Number group = 0; group < region.groups.size(); ++group)
    for (const auto e : graph_.out_edges(region.groups[group])) region.model.join(group, number_of_[graph_.target(e)]);
}

/// Everything that is left, and all that still blocks among it.
CoreSearch::Core CoreSearch::core_of(const Region& region, const Reduction& reduction) const {
  const auto txns = region.txns.size();
  Core core;
  core.out.resize(txns + region.groups.size());
  core.inside.assign(core.out.size(), true);
  for (Number txn = 0; txn < txns; ++txn) core.inside[txn] = !reduction.ended(txn);
  const auto& edges = region.model.edges();
  for (Number e = 0; e < edges.size(); ++e)
    if (reduction.blocks(e))
      core.out[region.model.waiter(e)].push_back(
          {static_cast<Number>(edges[e].to_group ? txns + edges[e].to : edges[e].to), e});
  for (Number group = 0; group < region.groups.size(); ++group)
    for (const auto member : region.model.groups()[group].members)
      if (!reduction.ended(member)) core.out[txns + group].push_back({member, no_slot});
  return core;
}

void CoreSearch::find_components(Core& core, std::size_t txns) const {
  boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS> arcs(core.out.size());
  for (Number from = 0; from < core.out.size(); ++from)
    for (const auto& arc : core.out[from])
      if (core.inside[from] && core.inside[arc.to]) boost::add_edge(from, arc.to, arcs);
  core.component.assign(core.out.size(), 0);
  const auto count = boost::strong_components(
      arcs, boost::make_iterator_property_map(core.component.begin(), get(boost::vertex_index, arcs)));
  std::vector<std::uint32_t> members(count, 0);
  for (Number txn = 0; txn < txns; ++txn)
    if (core.inside[txn]) ++members[core.component[txn]];
  core.cyclic.assign(count, false);
  for (Number c = 0; c < count; ++c) core.cyclic[c] = members[c] > 1;
}

void CoreSearch::keep_reachable(Core& core, std::vector<Number> from) const {
  std::vector<bool> reached(core.out.size(), false);
  for (const auto node : from) reached[node] = true;
  while (!from.empty()) {
    const auto at = from.back();
    from.pop_back();
    for (const auto& arc : core.out[at]) {
      if (!core.inside[arc.to] || reached[arc.to]) continue;
      reached[arc.to] = true;
      from.push_back(arc.to);
    }
  }
  core.inside = std::move(reached);
}

/// Who merely waits for a cycle is no useful victim, and nobody's way out: it is left out. Whoever a cycle waits for stays.
void CoreSearch::keep_what_holds_others_up(Core& core) const {
  std::vector<Number> on_cycles;
  for (Number node = 0; node < core.out.size(); ++node)
    if (core.inside[node] && core.cyclic[core.component[node]]) on_cycles.push_back(node);
  keep_reachable(core, std::move(on_cycles));
}

std::optional<Candidate> CoreSearch::search(WaitSlot wait) {
  const auto waiter = graph_.waiter(wait);
  if (graph_.in_edges(waiter).empty()) return std::nullopt;
  const auto region = region_of({&waiter, 1});
  const Reduction reduction(region.model);
  const auto number = static_cast<Number>(std::ranges::find(region.waits, wait) - region.waits.begin());
  const auto& edges = region.model.waits()[number].edges;
  if (std::ranges::none_of(edges, [&](Number e) { return reduction.blocks(e); })) return std::nullopt;
  return core_around(region, reduction, 0, [](const Core&) { return true; });
}

std::optional<Candidate> CoreSearch::search(Vertex group, Vertex member) {
  if (graph_.in_edges(group).empty() || graph_.out_edges(member).empty()) return std::nullopt;
  const auto region = region_of({&member, 1});
  const auto at = std::ranges::find(region.groups, group);
  if (at == region.groups.end()) return std::nullopt;
  const auto node = region.txns.size() + static_cast<std::size_t>(at - region.groups.begin());
  const Reduction reduction(region.model);
  return core_around(region, reduction, 0,
                     [&](const Core& core) { return core.inside[node] && core.component[node] == core.component[0]; });
}

/// What holds up the root, if it holds up others in turn.
std::optional<Candidate> CoreSearch::core_around(const Region& region, const Reduction& reduction, Number root,
                                                 const std::function<bool(const Core&)>& is_new) {
  if (reduction.ended(root)) return std::nullopt;
  auto core = core_of(region, reduction);
  keep_reachable(core, {root});
  find_components(core, region.txns.size());
  if (!core.cyclic[core.component[root]] || !is_new(core)) return std::nullopt;
  std::vector<Number> part;
  for (Number node = 0; node < core.inside.size(); ++node)
    if (core.inside[node]) part.push_back(node);
  if (needs_all(region, core, part))
    std::erase_if(part, [&](Number node) { return core.component[node] != core.component[root]; });
  return candidate_of(region, reduction, core, part);
}

std::vector<Candidate> CoreSearch::full_pass() {
  const auto region = whole_graph();
  const Reduction reduction(region.model);
  auto core = core_of(region, reduction);
  find_components(core, region.txns.size());
  keep_what_holds_others_up(core);
  std::vector<Candidate> candidates;
  const auto add = [&](std::span<const Number> part) {
    if (auto candidate = candidate_of(region, reduction, core, part)) candidates.push_back(*std::move(candidate));
  };
  for (auto& part : parts_of(core)) {
    if (!needs_all(region, core, part)) {
      add(part);
      continue;
    }
    const auto component = [&](Number node) { return core.component[node]; };
    std::ranges::sort(part, {}, component);
    for (auto first = part.begin(); first != part.end();) {
      const auto last = std::ranges::upper_bound(first, part.end(), component(*first), {}, component);
      if (core.cyclic[component(*first)]) add({first, last});
      first = last;
    }
  }
  std::ranges::sort(candidates, {}, [](const Candidate& c) -> const CandidateEdge& { return c.edges.front(); });
  return candidates;
}

std::vector<Vertex> CoreSearch::deadlocked() {
  const auto region = whole_graph();
  const Reduction reduction(region.model);
  std::vector<Vertex> left;
  for (Number txn = 0; txn < region.txns.size(); ++txn)
    if (!reduction.ended(txn)) left.push_back(region.txns[txn]);
  return left;
}

// Whether one who waits for a member can go on without it shows in all that it waits for.
std::vector<Vertex> CoreSearch::held_up_by(std::span<const Vertex> members) {
  number_of_.resize(graph_.vertex_capacity(), no_slot);
  std::vector<Vertex> upstream;
  const auto reach = [&](Vertex v) {
    if (number_of_[v] != no_slot) return;
    number_of_[v] = 0;
    upstream.push_back(v);
  };
  for (const auto v : members) reach(v);
  for (std::size_t next = 0; next < upstream.size(); ++next)
    for (const auto e : graph_.in_edges(upstream[next])) reach(graph_.source(e));
  for (const auto v : upstream) number_of_[v] = no_slot;

  const auto region = region_of(upstream);  // the members first, in this order
  const Reduction reduction(region.model);
  const auto core = core_of(region, reduction);
  std::vector<std::vector<Number>> in(core.out.size());
  for (Number from = 0; from < core.out.size(); ++from)
    for (const auto& arc : core.out[from])
      if (core.inside[from] && core.inside[arc.to]) in[arc.to].push_back(from);
  std::vector<bool> reached(core.out.size(), false);
  std::vector<Number> held_up;
  for (Number member = 0; member < members.size(); ++member)
    if (!reduction.ended(member)) held_up.push_back(member), reached[member] = true;
  for (std::size_t next = 0; next < held_up.size(); ++next)
    for (const auto from : in[held_up[next]])
      if (!reached[from]) held_up.push_back(from), reached[from] = true;
  std::vector<Vertex> vertices;
  for (const auto node : held_up)
    if (node < region.txns.size()) vertices.push_back(region.txns[node]);
  return vertices;
}

/// What hangs together by arcs, in whatever direction.
std::vector<std::vector<CoreSearch::Number>> CoreSearch::parts_of(const Core& core) const {
  std::vector<std::vector<Number>> neighbours(core.out.size());
  for (Number from = 0; from < core.out.size(); ++from) {
    for (const auto& arc : core.out[from]) {
      if (!core.inside[from] || !core.inside[arc.to]) continue;
      neighbours[from].push_back(arc.to);
      neighbours[arc.to].push_back(from);
    }
  }
  std::vector<std::vector<Number>> parts;
  std::vector<bool> seen(core.out.size(), false);
  for (Number first = 0; first < core.out.size(); ++first) {
    if (!core.inside[first] || seen[first]) continue;
    auto& part = parts.emplace_back(1, first);
    seen[first] = true;
    for (std::size_t next = 0; next < part.size(); ++next) {
      for (const auto node : neighbours[part[next]]) {
        if (seen[node]) continue;
        seen[node] = true;
        part.push_back(node);
      }
    }
  }
  return parts;
}

bool CoreSearch::needs_all(const Region& region, const Core& core, std::span<const Number> part) const {
  return std::ranges::all_of(part, [&](Number node) {
    return std::ranges::all_of(core.out[node], [&](const Arc& arc) {
      if (arc.edge == no_slot) return true;
      const auto& edge = region.model.edges()[arc.edge];
      return edge.kind != Kind::dotted && region.model.waits()[edge.wait].need == graph::need_all;
    });
  });
}

CandidateEdge CoreSearch::edge_of(const Region& region, const Reduction& reduction, Number edge, Number blocker) const {
  const auto& e = region.model.edges()[edge];
  const auto wait = region.waits[e.wait];
  const auto ref = graph_.ref(wait);
  return {.waiter = graph_.txn(graph_.waiter(wait)),
          .blocker = graph_.txn(region.txns[blocker]),
          .site = ref.site,
          .sequence = ref.sequence,
          .reported = graph_.reported(wait),
          .kind = e.kind,
          .need = reduction.need(e.wait)};
}

std::optional<Candidate> CoreSearch::candidate_of(const Region& region, const Reduction& reduction, Core& core,
                                                  std::span<const Number> part) {
  const auto txns = region.txns.size();
  core.part.resize(core.out.size(), 0);
  ++core.parts;
  for (const auto node : part) core.part[node] = core.parts;
  const auto in_part = [&](Number node) { return core.part[node] == core.parts; };
  Candidate candidate;
  auto& edges = candidate.edges;
  const auto add = [&](const Arc& arc, Number blocker) {
    edges.push_back(edge_of(region, reduction, arc.edge, blocker));
  };
  for (const auto node : part) {
    if (node >= txns) continue;
    for (const auto& arc : core.out[node]) {
      if (!in_part(arc.to)) continue;
      if (arc.to < txns) add(arc, arc.to);
      for (const auto& member : arc.to < txns ? std::span<const Arc>{} : std::span<const Arc>(core.out[arc.to])) {
        if (member.to != node && in_part(member.to)) add(arc, member.to);
        if (edges.size() > candidate_edges_) return cycle_of(region, reduction, core, part);
      }
      if (edges.size() > candidate_edges_) return cycle_of(region, reduction, core, part);
    }
  }
  std::ranges::sort(edges);
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());  // named as a blocker, and a member of a group
  return candidate;
}

/// A cycle of waits that need all is a deadlock whatever else there is. Breadth first from one of its members.
std::optional<Candidate> CoreSearch::cycle_of(const Region& region, const Reduction& reduction, Core core,
                                              std::span<const Number> part) {
  const auto txns = region.txns.size();
  core.inside.assign(core.out.size(), false);
  for (const auto node : part) core.inside[node] = true;
  for (auto& out : core.out) {
    std::erase_if(out, [&](const Arc& arc) {
      if (arc.edge == no_slot) return false;
      const auto& edge = region.model.edges()[arc.edge];
      return edge.kind == Kind::dotted || region.model.waits()[edge.wait].need != graph::need_all;
    });
  }
  find_components(core, txns);
  const auto through =
      std::ranges::find_if(part, [&](Number node) { return node < txns && core.cyclic[core.component[node]]; });
  if (through == part.end()) {
    ++too_large_;
    return std::nullopt;
  }
  struct Step {
    Number from;
    Number edge;
  };
  std::vector<std::optional<Step>> via(txns);
  std::vector<bool> seen_groups(core.out.size(), false);
  std::vector<Number> queue{*through};
  const auto step = [&](Number from, Number to, Number edge) {
    if (from == to || via[to] || core.component[to] != core.component[*through]) return;
    via[to] = Step{from, edge};
    queue.push_back(to);
  };
  for (std::size_t next = 0; next < queue.size() && !via[*through]; ++next) {
    const auto at = queue[next];
    for (const auto& arc : core.out[at]) {
      if (!core.inside[arc.to]) continue;
      if (arc.to < txns) {
        step(at, arc.to, arc.edge);
        continue;
      }
      const auto closes = std::ranges::any_of(core.out[arc.to], [&](const Arc& m) { return m.to == *through; });
      if (closes) step(at, *through, arc.edge);
      if (seen_groups[arc.to]) continue;
      seen_groups[arc.to] = true;
      for (const auto& member : core.out[arc.to])
        if (core.inside[member.to]) step(at, member.to, arc.edge);
    }
  }
  Candidate cycle;
  auto at = *through;
  do {
    cycle.edges.push_back(edge_of(region, reduction, via[at]->edge, at));
    at = via[at]->from;
  } while (at != *through);
  std::ranges::sort(cycle.edges);
  return cycle;
}

}  // namespace gordian::detect
