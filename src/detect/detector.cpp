// Searching and reducing. The search is Tarjan's (1972), with its own stack, from one vertex only: Boost's
// strong_components would visit the whole graph, so it is used where that is wanted, in the full pass.
//
// A group is walked through like any vertex, even by a member that waits for it: between two different transactions, a
// path without repetition never returns to the one it came from. What must not be taken for a cycle is only the circle
// of one transaction and a group.
#include "detect/detector.hpp"

#include <algorithm>
#include <boost/graph/filtered_graph.hpp>
#include <boost/graph/strong_components.hpp>
#include <unordered_map>

#include "graph/boost_adaptor.hpp"

namespace gordian::detect {

using graph::EdgeSlot;
using graph::Vertex;
using graph::WaitSlot;

std::optional<Candidate> Detector::search(WaitSlot wait) {
  if (mixed()) return cores_.search(wait);
  const auto waiter = graph_.waiter(wait);
  if (graph_.in_edges(waiter).empty() || !reaches_its_waiter(wait)) return std::nullopt;
  return component_around(waiter);
}

std::optional<Candidate> Detector::search(Vertex group, Vertex member) {
  if (mixed()) return cores_.search(group, member);
  if (graph_.in_edges(group).empty() || graph_.out_edges(member).empty()) return std::nullopt;
  if (!reaches_its_group(group, member)) return std::nullopt;
  return component_around(member);
}

Candidate Detector::component_around(Vertex root) {
  return candidate_of(component_of(root), [this](Vertex v) { return marked(v) && marks_[v].on_stack; });
}

bool Detector::reaches_its_waiter(WaitSlot wait) {
  begin_marks();
  const auto waiter = graph_.waiter(wait);
  std::vector<Vertex> own;  // groups that have the waiter as a member: whoever else waits for one waits for it
  stack_.clear();
  for (const auto e : graph_.edges(wait)) {
    const auto blocker = graph_.target(e);
    if (!mark(blocker)) continue;
    if (!graph_.is_group(blocker) || !graph_.is_member(blocker, waiter)) {
      stack_.push_back(blocker);
      continue;
    }
    own.push_back(blocker);
    for (const auto m : graph_.out_edges(blocker))
      if (graph_.target(m) != waiter && mark(graph_.target(m))) stack_.push_back(graph_.target(m));
    steps_ += graph_.out_edges(blocker).size();
  }
  while (!stack_.empty()) {
    const auto v = stack_.back();
    stack_.pop_back();
    for (const auto e : graph_.out_edges(v)) {
      ++steps_;
      const auto blocker = graph_.target(e);
      if (blocker == waiter || std::ranges::find(own, blocker) != own.end()) return true;
      if (mark(blocker)) stack_.push_back(blocker);
    }
  }
  return false;
}

/// Does anybody whom the member waits for, directly or not, wait for the group?
bool Detector::reaches_its_group(Vertex group, Vertex member) {
  begin_marks();
  mark(member);
  stack_.assign(1, member);
  while (!stack_.empty()) {
    const auto v = stack_.back();
    stack_.pop_back();
    for (const auto e : graph_.out_edges(v)) {
      ++steps_;
      const auto blocker = graph_.target(e);
      if (blocker == group && v != member) return true;
      if (mark(blocker)) stack_.push_back(blocker);
    }
  }
  return false;
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
  auto remaining = reduction_leftovers();
  peel_unblocking(remaining);

  struct Remaining {
    const std::vector<bool>* remaining = nullptr;
    bool operator()(Vertex v) const { return (*remaining)[v]; }
  };
  const boost::filtered_graph<graph::WaitForGraph, boost::keep_all, Remaining> rest(graph_, boost::keep_all{},
                                                                                    Remaining{&remaining});
  // filtered_graph counts only what remains, while the index has gaps: every table is given, none left to default.
  const auto size = graph_.vertex_capacity();
  std::vector<std::uint32_t> component(size);
  std::vector<Vertex> root(size);
  std::vector<std::uint32_t> discovered(size);
  std::vector<boost::default_color_type> color(size);
  const auto index = get(boost::vertex_index, graph_);
  const auto table = [&](auto& values) { return boost::make_iterator_property_map(values.begin(), index); };
  const auto count = boost::strong_components(
      rest, table(component),
      boost::root_map(table(root)).discover_time_map(table(discovered)).color_map(table(color)));

  std::vector<std::vector<Vertex>> members(count);
  for (Vertex v = 0; v < remaining.size(); ++v)
    if (remaining[v]) members[component[v]].push_back(v);
  std::vector<Candidate> candidates;
  for (std::uint32_t c = 0; c < members.size(); ++c) {
    const auto txns = std::ranges::count_if(members[c], [this](Vertex v) { return !graph_.is_group(v); });
    if (txns < 2) continue;  // no transaction blocks itself
    candidates.push_back(candidate_of(members[c], [&](Vertex v) { return remaining[v] && component[v] == c; }));
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

// Whoever blocks nobody that remains is on no cycle. This only makes the rest smaller; it does not reduce.
void Detector::peel_unblocking(std::vector<bool>& remaining) const {
  std::vector<std::size_t> waiters_left(remaining.size(), 0);
  std::vector<Vertex> unblocking;
  for (Vertex v = 0; v < remaining.size(); ++v) {
    if (!remaining[v]) continue;
    for (const auto e : graph_.in_edges(v)) waiters_left[v] += remaining[graph_.source(e)] ? 1 : 0;
    if (waiters_left[v] == 0) unblocking.push_back(v);
  }
  while (!unblocking.empty()) {
    const auto v = unblocking.back();
    unblocking.pop_back();
    remaining[v] = false;
    for (const auto e : graph_.out_edges(v)) {
      const auto blocker = graph_.target(e);
      if (remaining[blocker] && --waiters_left[blocker] == 0) unblocking.push_back(blocker);
    }
  }
}

std::vector<TxnId> Detector::sorted_ids(const std::vector<Vertex>& vertices) const {
  std::vector<TxnId> ids;
  ids.reserve(vertices.size());
  for (const auto v : vertices) ids.push_back(graph_.txn(v));
  std::ranges::sort(ids);
  return ids;
}

}  // namespace gordian::detect
