// Searching and reducing. Whether a cycle is closed is TwoWaySearch's answer; then the component is found with Tarjan's
// algorithm (1972), with its own stack, from one vertex only: Boost's strong_components would visit the whole graph.
//
// A group is walked through like any vertex, even by a member that waits for it: between two different transactions, a
// path without repetition never returns to the one it came from. What must not be taken for a cycle is only the circle
// of one transaction and a group.
#include "detect/detector.hpp"

#include <algorithm>
#include <unordered_map>

#include "detect/cyclic_components.hpp"

namespace gordian::detect {

using graph::EdgeSlot;
using graph::Vertex;
using graph::WaitSlot;

std::optional<Candidate> Detector::search(WaitSlot wait) {
  if (mixed()) return cores_.search(wait);
  return closes_a_cycle(wait) ? std::optional(component_around(graph_.waiter(wait))) : std::nullopt;
}

bool Detector::closes(WaitSlot wait) { return mixed() ? cores_.search(wait).has_value() : closes_a_cycle(wait); }

std::optional<Candidate> Detector::search(Vertex group, Vertex member) {
  if (mixed()) return cores_.search(group, member);
  if (graph_.in_edges(group).empty() || graph_.out_edges(member).empty()) return std::nullopt;
  if (!closes_a_cycle(group, member)) return std::nullopt;
  return component_around(member);
}

Candidate Detector::component_around(Vertex root) {
  return candidate_of(component_of(root), [this](Vertex v) { return marked(v) && marks_[v].on_stack; });
}

bool Detector::closes_a_cycle(WaitSlot wait) {
  const auto waiter = graph_.waiter(wait);
  const auto& links = graph_.links(waiter);
  if (links.source == graph::no_slot || graph_.edges(wait).empty()) return false;
  if (links.target != graph::several && !graph_.is_group(links.target))
    if (const auto known = two_way_.walk(links.target, waiter)) return *known;
  two_way_.begin();
  const auto each = [&](auto f) {
    for (const auto e : graph_.edges(wait)) {
      const auto to = graph_.target(e);
      f(to, graph_.is_group(to) && graph_.is_member(to, waiter));
    }
  };
  each([&](Vertex group, bool own) {
    if (own) two_way_.add_from_others(group, waiter);
  });
  each([&](Vertex blocker, bool own) {
    if (!own) two_way_.add_from(blocker);
  });
  two_way_.add_to(waiter);
  return two_way_.reach();
}

/// Does anybody whom the member waits for, directly or not, wait for the group? That the member itself does is no cycle; if
/// so, it waits for the others in it.
bool Detector::closes_a_cycle(Vertex group, Vertex member) {
  two_way_.begin();
  two_way_.leave_out(member);
  if (std::ranges::any_of(graph_.out_edges(member), [&](auto e) { return graph_.target(e) == group; }))
    two_way_.add_from_others(group, member);
  for (const auto e : graph_.out_edges(member))
    if (graph_.target(e) != group) two_way_.add_from(graph_.target(e));
  for (const auto e : graph_.in_edges(group)) two_way_.add_to(graph_.source(e));
  return two_way_.reach();
}

// Tarjan from one root: components that are complete are dropped; what is left on the stack at the end is the root's.
std::vector<Vertex> Detector::component_of(Vertex root) {
  begin_marks();
  discovered_ = 0;
  stack_.clear();
  path_.clear();
  enter(root);
  while (true) {
    const auto v = path_.back().vertex;
    const auto out = graph_.out_edges(v);
    if (path_.back().next_edge < out.size()) {
      ++steps_;
      const auto blocker = graph_.target(out[path_.back().next_edge++]);
      if (!marked(blocker)) {
        enter(blocker);
      } else if (marks_[blocker].on_stack) {
        marks_[v].low = std::min(marks_[v].low, marks_[blocker].index);
      }
      continue;
    }
    path_.pop_back();
    if (path_.empty()) return stack_;
    leave(v);
  }
}

void Detector::enter(Vertex v) {
  marks_[v] = {.version = version_, .index = discovered_, .low = discovered_, .on_stack = true};
  ++discovered_;
  stack_.push_back(v);
  path_.push_back({v, 0});
}

void Detector::leave(Vertex v) {
  if (marks_[v].low == marks_[v].index) {
    Vertex dropped;
    do {
      dropped = stack_.back();
      stack_.pop_back();
      marks_[dropped].on_stack = false;
    } while (dropped != v);
  }
  auto& caller = marks_[path_.back().vertex];
  caller.low = std::min(caller.low, marks_[v].low);
}

void Detector::begin_marks() {
  marks_.resize(graph_.vertex_capacity());
  if (++version_ == 0) {  // after four thousand million searches
    std::ranges::fill(marks_, Mark{});
    version_ = 1;
  }
}

bool Detector::mark(Vertex v) {
  if (marked(v)) return false;
  marks_[v].version = version_;
  return true;
}

template <class InComponent>
Candidate Detector::candidate_of(const std::vector<Vertex>& members, InComponent in_component) const {
  Candidate candidate;
  auto& edges = candidate.edges;
  for (const auto v : members) {
    if (graph_.is_group(v)) continue;
    for (const auto e : graph_.out_edges(v)) {
      const auto blocker = graph_.target(e);
      if (!in_component(blocker)) continue;
      if (!graph_.is_group(blocker)) {
        edges.push_back(edge_between(e, blocker));
      } else {
        for (const auto m : graph_.out_edges(blocker)) {
          const auto member = graph_.target(m);
          if (member != v && in_component(member)) edges.push_back(edge_between(e, member));
          if (edges.size() > candidate_edges_) return cycle_within(v, in_component);
        }
      }
      if (edges.size() > candidate_edges_) return cycle_within(v, in_component);
    }
  }
  std::ranges::sort(edges);
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());  // named as a blocker, and a member of a group
  return candidate;
}

CandidateEdge Detector::edge_between(EdgeSlot wait_edge, Vertex blocker) const {
  const auto wait = graph_.wait(wait_edge);
  const auto ref = graph_.ref(wait);
  return {.waiter = graph_.txn(graph_.source(wait_edge)),
          .blocker = graph_.txn(blocker),
          .site = ref.site,
          .sequence = ref.sequence,
          .reported = graph_.reported(wait),
          .kind = graph_.kind(wait_edge)};
}

/// A shortest cycle of the component through this transaction. Breadth first; `via` remembers the edge that each vertex was
/// first reached by.
template <class InComponent>
Candidate Detector::cycle_within(Vertex through, InComponent in_component) const {
  std::unordered_map<Vertex, EdgeSlot> via;
  std::vector<Vertex> queue{through};
  const auto back = [&](Vertex at) {  // from a transaction other than `through` that was reached
    Candidate cycle;
    while (at != through) {
      const auto into = via.at(at);
      const bool by_group = graph_.is_group(graph_.source(into));
      cycle.edges.push_back(edge_between(by_group ? via.at(graph_.source(into)) : into, at));
      at = graph_.source(by_group ? via.at(graph_.source(into)) : into);
    }
    return cycle;
  };
  for (std::size_t next = 0; next < queue.size(); ++next) {
    const auto at = queue[next];
    for (const auto e : graph_.out_edges(at)) {
      const auto to = graph_.target(e);
      const bool closes = !graph_.is_group(at) && (to == through || graph_.is_member(to, through));
      if (closes && at != through) {
        auto cycle = back(at);
        cycle.edges.push_back(edge_between(e, through));
        std::ranges::sort(cycle.edges);
        return cycle;
      }
      if (to != through && in_component(to) && via.emplace(to, e).second) queue.push_back(to);
    }
  }
  return {};  // not in a component of two transactions
}

std::vector<Candidate> Detector::full_pass() {
  if (mixed()) return cores_.full_pass();
  std::vector<Candidate> candidates;
  for (const auto& members : cyclic_components(graph_)) {
    const auto txns = std::ranges::count_if(members, [this](Vertex v) { return !graph_.is_group(v); });
    if (txns < 2) continue;  // no transaction blocks itself
    begin_marks();
    for (const auto v : members) mark(v);
    candidates.push_back(candidate_of(members, [this](Vertex v) { return marked(v); }));
  }
  // The first edge of each starts at its smallest member, and components share no member.
  std::ranges::sort(candidates, {}, [](const Candidate& c) -> const CandidateEdge& { return c.edges.front(); });
  return candidates;
}

std::vector<TxnId> Detector::deadlocked() {
  if (mixed()) return sorted_ids(cores_.deadlocked());
  const auto leftovers = reduction_leftovers();
  std::vector<Vertex> vertices;
  for (Vertex v = 0; v < leftovers.size(); ++v)
    if (leftovers[v] && !graph_.is_group(v)) vertices.push_back(v);
  return sorted_ids(vertices);
}

std::vector<TxnId> Detector::held_up_by(const Candidate& candidate) {
  begin_marks();
  std::vector<Vertex> found;
  // Groups are walked through as well, and left out at the end.
  for (const auto& edge : candidate.edges) {
    const auto v = graph_.find_txn(edge.waiter);
    if (v && mark(*v)) found.push_back(*v);
  }
  if (mixed()) return sorted_ids(cores_.held_up_by(found));
  for (std::size_t next = 0; next < found.size(); ++next)
    for (const auto e : graph_.in_edges(found[next]))
      if (mark(graph_.source(e))) found.push_back(graph_.source(e));
  std::erase_if(found, [this](Vertex v) { return graph_.is_group(v); });
  return sorted_ids(found);
}

/// The member of the group that is left, if it has not become active.
std::optional<Vertex> Detector::last_member(Vertex group, const std::vector<bool>& remaining) const {
  for (const auto e : graph_.out_edges(group))
    if (remaining[graph_.target(e)]) return graph_.target(e);
  return std::nullopt;
}

// Whoever waits for nobody ends, which satisfies the waits for it; again until nobody is left who waits for nobody. A
// group ends with its last member; for that one, if it waits for the group itself, already with the last but one.
std::vector<bool> Detector::reduction_leftovers() const {
  std::vector<bool> remaining(graph_.vertex_capacity(), false);
  std::vector<std::size_t> blockers_left(graph_.vertex_capacity(), 0);
  std::vector<Vertex> active;
  std::vector<Vertex> with_one_member;
  for (Vertex v = 0; v < remaining.size(); ++v) {
    if (!graph_.alive(v)) continue;
    blockers_left[v] = graph_.out_edges(v).size();
    remaining[v] = blockers_left[v] > 0;
    if (!remaining[v]) active.push_back(v);
    if (blockers_left[v] == 1 && graph_.is_group(v)) with_one_member.push_back(v);
  }
  const auto satisfied = [&](Vertex waiter) {
    if (!remaining[waiter]) return;  // a member whose own group ends after it
    if (--blockers_left[waiter] == 1 && graph_.is_group(waiter)) with_one_member.push_back(waiter);
    if (blockers_left[waiter] > 0) return;
    remaining[waiter] = false;
    active.push_back(waiter);
  };
  while (!active.empty() || !with_one_member.empty()) {
    if (!with_one_member.empty()) {
      const auto group = with_one_member.back();
      with_one_member.pop_back();
      const auto last = last_member(group, remaining);
      if (!last) continue;
      const auto own = std::ranges::count(graph_.out_edges(*last), group, [this](auto e) { return graph_.target(e); });
      for (auto i = own; i > 0; --i) satisfied(*last);
      continue;
    }
    const auto ending = active.back();
    active.pop_back();
    for (const auto e : graph_.in_edges(ending)) satisfied(graph_.source(e));
  }
  return remaining;
}

std::vector<TxnId> Detector::sorted_ids(const std::vector<Vertex>& vertices) const {
  std::vector<TxnId> ids;
  ids.reserve(vertices.size());
  for (const auto v : vertices) ids.push_back(graph_.txn(v));
  std::ranges::sort(ids);
  return ids;
}

}  // namespace gordian::detect
