// Searching and reducing. The search is Tarjan's (1972), with its own stack, from one vertex only: Boost's
// strong_components would visit the whole graph, so it is used where that is wanted, in the full pass.
#include "detect/detector.hpp"

#include <algorithm>
#include <boost/graph/filtered_graph.hpp>
#include <boost/graph/strong_components.hpp>

#include "graph/boost_adaptor.hpp"

namespace gordian::detect {

using graph::EdgeSlot;
using graph::Vertex;
using graph::WaitSlot;

std::optional<Candidate> Detector::search(WaitSlot wait) {
  if (!reaches_its_waiter(wait)) return std::nullopt;
  const auto members = component_of(graph_.waiter(wait));
  return candidate_of(members, [this](Vertex v) { return marked(v) && marks_[v].on_stack; });
}

bool Detector::reaches_its_waiter(WaitSlot wait) {
  begin_marks();
  const auto waiter = graph_.waiter(wait);
  stack_.clear();
  for (const auto e : graph_.edges(wait))
    if (mark(graph_.target(e))) stack_.push_back(graph_.target(e));
  while (!stack_.empty()) {
    const auto v = stack_.back();
    stack_.pop_back();
    for (const auto e : graph_.out_edges(v)) {
      const auto blocker = graph_.target(e);
      if (blocker == waiter) return true;
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
  for (const auto v : members) {
    for (const auto e : graph_.out_edges(v)) {
      const auto blocker = graph_.target(e);
      if (!in_component(blocker)) continue;
      const auto wait = graph_.wait(e);
      const auto ref = graph_.ref(wait);
      candidate.edges.push_back({.waiter = graph_.txn(v),
                                 .blocker = graph_.txn(blocker),
                                 .site = ref.site,
                                 .sequence = ref.sequence,
                                 .reported = graph_.reported(wait)});
    }
  }
  std::ranges::sort(candidate.edges);
  return candidate;
}

std::vector<Candidate> Detector::full_pass() {
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
    if (members[c].size() < 2) continue;  // no transaction blocks itself
    candidates.push_back(candidate_of(members[c], [&](Vertex v) { return remaining[v] && component[v] == c; }));
  }
  // The first edge of each starts at its smallest member, and components share no member.
  std::ranges::sort(candidates, {}, [](const Candidate& c) -> const CandidateEdge& { return c.edges.front(); });
  return candidates;
}

std::vector<TxnId> Detector::deadlocked() {
  const auto leftovers = reduction_leftovers();
  std::vector<Vertex> vertices;
  for (Vertex v = 0; v < leftovers.size(); ++v)
    if (leftovers[v]) vertices.push_back(v);
  return sorted_ids(vertices);
}

std::vector<TxnId> Detector::held_up_by(const Candidate& candidate) {
  begin_marks();
  std::vector<Vertex> found;
  for (const auto& edge : candidate.edges) {
    const auto v = graph_.find_txn(edge.waiter);
    if (v && mark(*v)) found.push_back(*v);
  }
  for (std::size_t next = 0; next < found.size(); ++next)
    for (const auto e : graph_.in_edges(found[next]))
      if (mark(graph_.source(e))) found.push_back(graph_.source(e));
  return sorted_ids(found);
}

// Whoever waits for nobody ends, which satisfies the waits for it; again until nobody is left who waits for nobody.
std::vector<bool> Detector::reduction_leftovers() const {
  std::vector<bool> remaining(graph_.vertex_capacity(), false);
  std::vector<std::size_t> blockers_left(graph_.vertex_capacity(), 0);
  std::vector<Vertex> active;
  for (Vertex v = 0; v < remaining.size(); ++v) {
    if (!graph_.alive(v)) continue;
    blockers_left[v] = graph_.out_edges(v).size();
    remaining[v] = blockers_left[v] > 0;
    if (!remaining[v]) active.push_back(v);
  }
  while (!active.empty()) {
    const auto ending = active.back();
    active.pop_back();
    for (const auto e : graph_.in_edges(ending)) {
      const auto waiter = graph_.source(e);
      if (--blockers_left[waiter] > 0) continue;
      remaining[waiter] = false;
      active.push_back(waiter);
    }
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
