#include "detect/two_way_search.hpp"

#include <algorithm>

namespace gordian::detect {

using graph::Vertex;

/// Depth first from `v`, where the walk has come to; no_slot if nobody is left. One edge.
inline Vertex TwoWaySearch::next_behind(Vertex v) {
  const auto& links = graph_.links(v);
  if (links.source < graph::several) return links.source;
  if (links.source == graph::several) forks_.push_back({links.in.partners(), 0});
  if (forks_.empty()) return graph::no_slot;
  auto& [sources, next] = forks_.back();
  const auto found = sources[next];
  if (++next == sources.size()) forks_.pop_back();
  return found;
}

// Behind, nothing foretells whether a vertex has no waiter, one or several, and the processor guesses wrong; ahead lies a chain,
// where it is right until the end. So the walk takes several steps ahead for each one behind, and is over in fewer rounds.
constexpr int ahead_for_one_behind = 3;

// Ahead there may be a ring that was found before: there the walk comes back to where it was when its steps had doubled (Brent
// 1980).
std::optional<bool> TwoWaySearch::walk(Vertex blocker, Vertex waiter) {
  forks_.clear();
  auto ahead = blocker, passed = blocker, behind = waiter;
  std::uint64_t taken = 0, next_mark = 1;
  const auto found = [&](std::optional<bool> answer) {
    steps_ += taken;
    return answer;
  };
  while (true) {
    for (int i = 0; i < ahead_for_one_behind; ++i) {
      ahead = graph_.links(ahead).target;
      if (ahead == waiter) return found(true);
      if (ahead == graph::no_slot || ahead == passed) return found(false);
      if (ahead == graph::several) return found(std::nullopt);
    }
    behind = next_behind(behind);
    if (behind == blocker) return found(true);
    if (behind == graph::no_slot) return found(false);
    if (graph_.links(behind).target == graph::several) return found(std::nullopt);
    taken += ahead_for_one_behind + 1;
    if (taken >= next_mark) passed = ahead, next_mark = 2 * taken;
  }
}

void TwoWaySearch::begin() {
  if (color_.size() < graph_.vertex_capacity()) color_.resize(graph_.vertex_capacity(), 0);
  if (left_out_ > ~0U - 3) {  // after a thousand million searches
    std::ranges::fill(color_, 0);
    left_out_ = 0;
  }
  forward_.color = left_out_ + 1;
  backward_.color = left_out_ + 2;
  left_out_ += 3;
  for (auto* side : {&forward_, &backward_}) {
    side->found.clear();
    side->next = 0;
    side->next_edge = 0;
  }
  groups_of_others_ = 0;
  member_ = graph::no_slot;
  met_ = false;
}

// The group gets no color: reached later, as what its waiters wait for, it is a vertex like any other.
void TwoWaySearch::add_from_others(Vertex group, Vertex member) {
  forward_.found.push_back(group);
  groups_of_others_ = forward_.found.size();
  member_ = member;
}

// What runs for every edge is compiled into one loop.

inline void TwoWaySearch::add(Side& side, Vertex v) {
  auto& color = color_[v];
  if (color == side.color || color == left_out_) return;
  if (color == forward_.color || color == backward_.color) met_ = true;
  color = side.color;
  side.found.push_back(v);
}

void TwoWaySearch::add_from(Vertex v) { add(forward_, v); }
void TwoWaySearch::add_to(Vertex v) { add(backward_, v); }

/// One edge; false if there is none left.
inline bool TwoWaySearch::step_forward() {
  auto& side = forward_;
  while (side.next < side.found.size()) {
    const auto v = side.found[side.next];
    if (const auto only = graph_.links(v).target; only < graph::several) {
      ++steps_;
      if (only != member_ || side.next >= groups_of_others_) add(side, only);
      ++side.next;
      return true;
    }
    const auto out = graph_.out_edges(v);
    if (side.next_edge < out.size()) {
      ++steps_;
      const auto target = graph_.target(out[side.next_edge++]);
      if (target != member_ || side.next >= groups_of_others_) add(side, target);
      return true;
    }
    ++side.next;
    side.next_edge = 0;
  }
  return false;
}

inline bool TwoWaySearch::step_backward() {
  auto& side = backward_;
  while (side.next < side.found.size()) {
    const auto in = graph_.in_edges(side.found[side.next]);
    if (side.next_edge < in.size()) {
      ++steps_;
      add(side, graph_.source(in[side.next_edge++]));
      return true;
    }
    ++side.next;
    side.next_edge = 0;
  }
  return false;
}

bool TwoWaySearch::reach() {
  while (!met_) {
    if (!step_forward()) break;
    // All who lead to the ends are known then, but of a group of others it is seen only now who begins.
    if (!step_backward() && forward_.next >= groups_of_others_) break;
  }
  return met_;
}

}  // namespace gordian::detect
