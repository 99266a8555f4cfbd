// The wait-for graph's changes. What can go wrong between its lists is checked in check_invariants.cpp.
#include "graph/wait_for_graph.hpp"

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <array>
#include <cassert>

namespace gordian::graph {

WaitForGraph::WaitForGraph(Limits limits) : limits_(limits), txns_(0, TxnHash{&vertices_}, SameTxn{&vertices_}) {}

tl::expected<WaitSlot, LimitReached> WaitForGraph::begin_wait(WaitRef ref, const TxnId& waiter,
                                                              std::span<const TxnId> blockers,
                                                              std::span<const std::uint64_t> groups) {
  return begin_named(ref, waiter, blockers, groups, need_all, [&](const TxnId& txn) { return HeldBlocker{hold(txn)}; });
}

tl::expected<WaitSlot, LimitReached> WaitForGraph::begin_wait(WaitRef ref, const TxnId& waiter,
                                                              std::span<const Blocker> blockers,
                                                              std::span<const std::uint64_t> groups,
                                                              std::uint32_t need) {
  return begin_named(ref, waiter, blockers, groups, need, [&](const Blocker& blocker) {
    return HeldBlocker{hold(blocker.txn), blocker.kind};
  });
}

tl::expected<WaitSlot, LimitReached> WaitForGraph::begin_named(WaitRef ref, const TxnId& waiter, auto blockers,
                                                               std::span<const std::uint64_t> groups,
                                                               std::uint32_t need, auto held_of) {
  const auto held_waiter = hold(waiter);
  absl::InlinedVector<HeldBlocker, 2> held;
  held.reserve(blockers.size());
  for (const auto& blocker : blockers) held.push_back(held_of(blocker));
  auto begun = begin_wait(ref, held_waiter, held, groups, need);
  for (const auto& blocker : held) let_go(blocker.txn);
  let_go(held_waiter);
  return begun;
}

tl::expected<WaitSlot, LimitReached> WaitForGraph::begin_wait(WaitRef ref, Vertex waiter,
                                                              std::span<const HeldBlocker> blockers,
                                                              std::span<const std::uint64_t> groups,
                                                              std::uint32_t need) {
  if (blockers.size() == 1 && groups.empty() && blockers[0].kind == Kind::hard && need != 0)
    if (const auto wait = begin_simple_wait(ref, waiter, blockers[0].txn)) return *wait;
  const auto make_unique = [](auto& list, auto equal) {
    list.erase(std::unique(list.begin(), list.end(), equal), list.end());
  };
  std::vector<HeldBlocker> wanted;
  wanted.reserve(blockers.size());
  for (const auto& blocker : blockers)
    if (blocker.txn != waiter) wanted.push_back(blocker);
  std::ranges::sort(wanted, [this](const HeldBlocker& a, const HeldBlocker& b) {  // the firmest kind first
    return a.txn == b.txn ? a.kind < b.kind : txn(a.txn) < txn(b.txn);
  });
  make_unique(wanted, [](const auto& a, const auto& b) { return a.txn == b.txn; });
  std::vector<Vertex> wanted_groups;
  for (const auto number : groups)
    if (const auto group = find_group({ref.site, number})) wanted_groups.push_back(*group);
  std::ranges::sort(wanted_groups);
  make_unique(wanted_groups, std::equal_to<>());

  auto standing = find_wait(ref);
  const auto old_edges = standing ? edges(*standing).size() : 0;
  if (!standing && wait_count() >= limits_.waits) return tl::unexpected(LimitReached{"waits", limits_.waits});
  if (edge_count() - old_edges + wanted.size() + wanted_groups.size() > limits_.edges)
    return tl::unexpected(LimitReached{"edges", limits_.edges});

  if (standing && this->waiter(*standing) != waiter) {
    drop_wait(*standing);
    standing.reset();
  }
  const auto slot = standing ? *standing : *add_wait(ref, waiter);
  waits_[slot].reported = ++steps_;
  set_blockers(slot, wanted, wanted_groups);
  set_need(slot, need < edges(slot).size() ? need : need_all);
  return slot;
}

/// What nearly every wait is: new, for one transaction that holds the lock. Nothing is done where it is not that simple.
std::optional<WaitSlot> WaitForGraph::begin_simple_wait(WaitRef ref, Vertex waiter, Vertex blocker) {
  if (waiter == blocker || wait_count() >= limits_.waits || edge_count() >= limits_.edges) return std::nullopt;
  const auto slot = add_wait(ref, waiter);
  if (!slot) return std::nullopt;
  waits_[*slot].reported = ++steps_;
  add_edge(waiter, blocker, *slot);
  return slot;
}

// New edges come before old ones go: no vertex that stays in use is given up in between.
void WaitForGraph::set_blockers(WaitSlot w, std::span<const HeldBlocker> sorted,
                                std::span<const Vertex> sorted_groups) {
  std::vector<bool> kept(sorted.size(), false);
  std::vector<bool> kept_groups(sorted_groups.size(), false);
  std::vector<EdgeSlot> leaving;
  for (const auto e : edges(w)) {
    if (is_group(target(e))) {
      const auto at = std::ranges::lower_bound(sorted_groups, target(e));
      const bool stays = at != sorted_groups.end() && *at == target(e);
      if (stays) {
        kept_groups[static_cast<std::size_t>(at - sorted_groups.begin())] = true;
      } else {
        leaving.push_back(e);
      }
      continue;
    }
    const auto name_of = [this](const HeldBlocker& b) -> const TxnId& { return txn(b.txn); };
    const auto at = std::ranges::lower_bound(sorted, txn(target(e)), {}, name_of);
    if (at != sorted.end() && at->txn == target(e)) {
      kept[static_cast<std::size_t>(at - sorted.begin())] = true;
      set_kind(e, at->kind);
    } else {
      leaving.push_back(e);
    }
  }
  for (std::size_t i = 0; i < sorted.size(); ++i)
    if (!kept[i]) add_edge(waiter(w), sorted[i].txn, w, sorted[i].kind);
  for (std::size_t i = 0; i < sorted_groups.size(); ++i)
    if (!kept_groups[i]) add_edge(waiter(w), sorted_groups[i], w, groups_.at(sorted_groups[i]).kind);
  for (const auto e : leaving) drop_edge(e);
}

bool WaitForGraph::end_wait(WaitRef ref) {
  const auto standing = find_wait(ref);
  if (!standing) return false;
  drop_wait(*standing);
  return true;
}

std::size_t WaitForGraph::remove_txn(const TxnId& txn) {
  const auto found = find_txn(txn);
  if (!found) return 0;
  // With its last wait and edge the vertex is given back, but nothing is taken here: its slot stays readable.
  auto& vertex = vertices_[*found];
  const auto removed = vertex.waits.size();
  while (!vertex.waits.empty()) drop_wait(vertex.waits.back());
  auto& in = links_[*found].in;
  while (!in.empty()) {
    const auto e = in.back();
    const auto w = edges_[e].wait;
    if (w != membership && need(w) != need_all && need(w) > 0) set_need(w, need(w) - 1);
    drop_edge(e);
  }
  return removed;
}

tl::expected<Vertex, LimitReached> WaitForGraph::begin_group(GroupRef group, Kind kind) {
  if (const auto standing = find_group(group)) return *standing;
  if (groups_.size() >= limits_.groups) return tl::unexpected(LimitReached{"groups", limits_.groups});
  if (site_groups_.size() <= group.site) site_groups_.resize(group.site + 1);
  static const TxnId nobody("(group)");
  const auto v = take_vertex(nobody, 0);
  vertices_[v].is_group = 1;
  groups_.emplace(v, GroupData{group, kind});
  site_groups_[group.site].emplace(group.number, v);
  return v;
}

bool WaitForGraph::end_group(GroupRef group) {
  const auto standing = find_group(group);
  if (!standing) return false;
  drop_group(*standing);
  return true;
}

void WaitForGraph::drop_group(Vertex v) {
  auto& vertex = vertices_[v];
  auto& in = links_[v].in;
  while (!in.empty()) drop_edge(in.back());
  while (!vertex.out.empty()) drop_edge(vertex.out.back());
  const auto group = groups_.at(v).ref;
  site_groups_[group.site].erase(group.number);
  groups_.erase(v);
  vertex.is_group = 0;
  vertices_.give_back(v);
}

tl::expected<bool, LimitReached> WaitForGraph::join(GroupRef group, const TxnId& txn) {
  const auto g = *find_group(group);
  if (const auto known = find_txn(txn); known && is_member(g, *known)) return false;
  if (edge_count() >= limits_.edges) return tl::unexpected(LimitReached{"edges", limits_.edges});
  const auto member = vertex_for(Name(txn), txn);
  members_.emplace(member_key(g, member), add_edge(g, member, membership));
  return true;
}

bool WaitForGraph::leave(GroupRef group, const TxnId& txn) {
  const auto g = find_group(group);
  const auto member = find_txn(txn);
  if (!g || !member) return false;
  const auto edge = members_.find(member_key(*g, *member));
  if (edge == members_.end()) return false;
  drop_edge(edge->second);
  return true;
}

std::size_t WaitForGraph::remove_site(SiteSlot site) {
  if (site < site_groups_.size()) {
    std::vector<Vertex> groups;
    for (const auto& [number, v] : site_groups_[site]) groups.push_back(v);
    std::ranges::sort(groups);  // for the reason below
    for (const auto v : groups) drop_group(v);
  }
  if (site >= sites_.size()) return 0;
  // In order of slots: a hash table's own order differs from run to run, and slots given back are taken again.
  std::vector<WaitSlot> leaving(sites_[site].begin(), sites_[site].end());
  std::ranges::sort(leaving);
  for (const auto w : leaving) drop_wait(w);
  sites_[site] = SiteWaits(0, SequenceHash{&waits_}, SameSequence{&waits_});
  return leaving.size();
}

void WaitForGraph::clear() {
  txns_.clear();
  sites_.clear();
  groups_.clear();
  site_groups_.clear();
  members_.clear();
  partial_waits_ = 0;
  dotted_edges_ = 0;
  waits_.clear();
  edges_.clear();
  vertices_.clear();
  links_.clear();
}

std::optional<WaitSlot> WaitForGraph::find_wait(WaitRef ref) const {
  if (ref.site >= sites_.size()) return std::nullopt;
  const auto found = sites_[ref.site].find(Sequence{ref.sequence});
  if (found == sites_[ref.site].end()) return std::nullopt;
  return *found;
}

std::vector<std::uint64_t> WaitForGraph::sequences(SiteSlot site) const {
  std::vector<std::uint64_t> found;
  if (site >= sites_.size()) return found;
  found.reserve(sites_[site].size());
  for (const auto w : sites_[site]) found.push_back(waits_[w].sequence);
  std::ranges::sort(found);
  return found;
}

std::optional<Vertex> WaitForGraph::find_txn(const TxnId& txn) const {
  const auto found = txns_.find(Name(txn));
  if (found == txns_.end()) return std::nullopt;
  return *found;
}

std::optional<Vertex> WaitForGraph::find_group(GroupRef group) const {
  if (group.site >= site_groups_.size()) return std::nullopt;
  const auto found = site_groups_[group.site].find(group.number);
  if (found == site_groups_[group.site].end()) return std::nullopt;
  return found->second;
}

bool WaitForGraph::waits_for(WaitSlot w, const TxnId& blocker) const {
  const auto v = find_txn(blocker);
  if (!v || *v == waiter(w)) return false;
  return std::ranges::any_of(edges(w), [&](EdgeSlot e) { return target(e) == *v || is_member(target(e), *v); });
}

Vertex WaitForGraph::take_vertex(const TxnId& id, std::uint32_t hash) {
  const auto v = vertices_.take(id, hash);
  if (v == links_.size()) links_.emplace_back();  // of a dead vertex nothing is left: it has no edges
  return v;
}

Vertex WaitForGraph::vertex_for(const Name& name, const TxnId& txn) {
  return *txns_.lazy_emplace(name, [&](const auto& make) { make(take_vertex(txn, name.hash)); });
}

void WaitForGraph::drop_vertex_if_unused(Vertex v) {
  if (alive(v)) return;
  txns_.erase(v);
  vertices_.give_back(v);
}

Vertex WaitForGraph::hold(const TxnId& txn) {
  const auto v = vertex_for(Name(txn), txn);
  ++vertices_[v].held;
  return v;
}

void WaitForGraph::let_go(Vertex txn) {
  --vertices_[txn].held;
  drop_vertex_if_unused(txn);
}

WaitForGraph::SiteWaits& WaitForGraph::waits_at(SiteSlot site) {
  while (sites_.size() <= site) sites_.emplace_back(0, SequenceHash{&waits_}, SameSequence{&waits_});
  return sites_[site];
}

/// None if it stands already.
std::optional<WaitSlot> WaitForGraph::add_wait(WaitRef ref, Vertex waiter) {
  std::optional<WaitSlot> added;
  waits_at(ref.site).lazy_emplace(Sequence{ref.sequence}, [&](const auto& make) {
    added = waits_.take(ref, waiter);
    make(*added);
  });
  if (added) waits_[*added].place_in_waits = vertices_[waiter].waits.append(*added);
  return added;
}

void WaitForGraph::drop_wait(WaitSlot w) {
  auto& wait = waits_[w];
  while (!wait.edges.empty()) drop_edge(wait.edges.back());
  set_need(w, need_all);
  auto& list = vertices_[wait.waiter].waits;
  if (!list.single()) waits_[list.back()].place_in_waits = wait.place_in_waits;
  list.remove(wait.place_in_waits);
  sites_[wait.site].erase(w);
  drop_vertex_if_unused(wait.waiter);
  wait.waiter = no_slot;
  waits_.give_back(w);
}

void WaitForGraph::set_need(WaitSlot w, std::uint32_t need) {
  if (waits_[w].need != need_all) --partial_waits_;
  if (need != need_all) ++partial_waits_;
  waits_[w].need = need;
}

void WaitForGraph::set_kind(EdgeSlot e, Kind kind) {
  if (this->kind(e) == Kind::dotted) --dotted_edges_;
  if (kind == Kind::dotted) ++dotted_edges_;
  edges_[e].kind = static_cast<std::uint32_t>(kind) & 3U;
}

EdgeSlot WaitForGraph::add_edge(Vertex from, Vertex to, WaitSlot w, Kind kind) {
  assert(from != to);
  ++edge_changes_;
  const auto e = edges_.take(from, to, w, Kind::hard);
  set_kind(e, kind);
  auto& edge = edges_[e];
  auto& out = vertices_[from].out;
  edge.place_in_out = out.append(e);
  links_[from].target = out.single() ? to : several;
  auto& ends = links_[to];
  edge.place_in_in = ends.in.append(e, from, ends.source);
  ends.source = ends.in.single() ? from : several;
  if (w != membership) edge.place_in_wait = waits_[w].edges.append(e) & 0x3fffffffU;
  return e;
}

// The vertex where it starts stays: its wait still stands, or it is a group.
void WaitForGraph::drop_edge(EdgeSlot e) {
  ++edge_changes_;
  auto& edge = edges_[e];
  // The last one of each list takes the place that becomes free.
  auto& out = vertices_[edge.source].out;
  if (!out.single()) edges_[out.back()].place_in_out = edge.place_in_out;
  out.remove(edge.place_in_out);
  links_[edge.source].target = out.empty() ? no_slot : out.single() ? target(out[0]) : several;
  auto& ends = links_[edge.target];
  if (!ends.in.single()) edges_[ends.in.back()].place_in_in = edge.place_in_in;
  if (ends.in.single()) {
    ends.source = no_slot;
  } else if (ends.in.size() == 2) {
    ends.source = ends.in.partners()[1 - edge.place_in_in];
  }
  ends.in.remove(edge.place_in_in);
  if (edge.wait == membership) {
    members_.erase(member_key(edge.source, edge.target));
  } else {
    auto& of_wait = waits_[edge.wait].edges;
    if (!of_wait.single()) edges_[of_wait.back()].place_in_wait = edge.place_in_wait;
    of_wait.remove(edge.place_in_wait);
  }
  drop_vertex_if_unused(edge.target);
  set_kind(e, Kind::hard);
  edge.wait = no_slot;
  edges_.give_back(e);
}

}  // namespace gordian::graph
