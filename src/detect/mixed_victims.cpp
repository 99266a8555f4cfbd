// Choosing victims where waits need some of several blockers or may end early, and reorders instead of victims.
//
// 1. Reduce. What is left falls into cyclic components; those that wait for no other one that can be broken come first: when
//    one of these is broken, much above it may go on by itself.
// 2. Choose one victim in each, as in victims.cpp; it ends, and so does everybody who can go on by that. Again, until
//    nothing is left that could be broken.
// 3. Give back each victim without which nothing is left either that could be broken, the most wanted first: none is
//    superfluous.
// A reorder is made in the same way: all soft edges are given up, and each that does no harm comes back.
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <numeric>

#include "detect/choice.hpp"

namespace gordian::detect {

/// The candidate's edges in their order, so that numbers of edges are the same here and there.
WaitModel Choice::model() const {
  WaitModel model;
  for (Member i = 0; i < ids_.size(); ++i) model.add_txn();
  absl::flat_hash_map<std::pair<std::uint32_t, std::uint64_t>, WaitModel::Number> waits;
  for (const auto& edge : edges_) {
    const auto [at, is_new] = waits.try_emplace({edge.site, edge.sequence}, 0);
    if (is_new) at->second = model.add_wait(member(edge.waiter), edge.site, edge.need);
    model.add_edge(at->second, member(edge.blocker), edge.kind);
  }
  return model;
}

/// Makes what still blocks the neighbours of each member.
void Choice::look_at(const WaitModel& model, const Reduction& reduction) {
  for (auto* const lists : {&out_, &in_})
    for (auto& list : *lists) list.clear();
  const auto& edges = model.edges();
  for (WaitModel::Number e = 0; e < edges.size(); ++e) {
    if (!reduction.blocks(e)) continue;
    out_[model.waiter(e)].push_back(edges[e].to);
  }
  for (Member waiter = 0; waiter < out_.size(); ++waiter) {
    auto& list = out_[waiter];
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
    for (const auto blocker : list) in_[blocker].push_back(waiter);
  }
}

/// With the victims of now.
Reduction Choice::reduced(const WaitModel& model) const {
  Reduction reduction(model);
  for (Member m = 0; m < gone_.size(); ++m)
    if (gone_[m]) reduction.end(m);
  return reduction;
}

/// Those that have a member who may be aborted, and wait for no other such component.
std::vector<Members> Choice::breakable(const std::vector<Members>& components) const {
  std::vector<Members> found;
  std::vector<std::uint32_t> component_of(ids_.size(), 0);  // from 1
  for (const auto& component : components) {
    if (candidates_in(component).empty()) continue;
    found.push_back(component);
    for (const auto m : component) component_of[m] = static_cast<std::uint32_t>(found.size());
  }
  // Whoever waits for one of them from outside, directly or not; members are walked through as well.
  std::vector<bool> waits_for_one(ids_.size(), false);
  Members stack;
  const auto reach = [&](Member from, Member to) {
    if (component_of[from] != 0 && component_of[from] == component_of[to] && !waits_for_one[to]) return;
    if (waits_for_one[from]) return;
    waits_for_one[from] = true;
    stack.push_back(from);
  };
  for (const auto& component : found)
    for (const auto m : component)
      for (const auto waiter : in_[m]) reach(waiter, m);
  while (!stack.empty()) {
    const auto m = stack.back();
    stack.pop_back();
    for (const auto waiter : in_[m]) reach(waiter, m);
  }
  std::erase_if(found, [&](const Members& component) {
    return std::ranges::any_of(component, [&](Member m) { return waits_for_one[m]; });
  });
  return found;
}

/// In small components what a member's end sets free is tried out: its neighbours say little where one of several is enough.
void Choice::weigh_by_what_they_free(const Members& component, const Reduction& now) {
  constexpr std::size_t tried_max = 64;
  if (component.size() > tried_max) return;
  for (const auto m : component) {
    auto then = now;
    then.end(m);
    in_inside_[m] = now.left() - then.left();
    out_inside_[m] = 1;
  }
}

Victims Choice::run_mixed() {
  const auto waits = model();
  Reduction reduction(waits);
  Members all(ids_.size());
  std::iota(all.begin(), all.end(), 0U);
  look_at(waits, reduction);
  const auto components = cyclic_components(all);
  auto left = components;
  for (auto next = breakable(left); !next.empty(); next = breakable(left)) {
    for (const auto& component : next) {
      const bool whole = std::ranges::binary_search(components, component);
      enter(component);
      weigh_by_what_they_free(component, reduction);
      const auto victim = choose_one(component, whole);
      for (const auto m : component) inside_[m] = false;
      gone_[*victim] = true;
      reduction.end(*victim);
    }
    look_at(waits, reduction);
    left = cyclic_components(all);
  }
  give_back_superfluous(waits);
  look_at(waits, reduced(waits));
  for (const auto& component : cyclic_components(all))
    unresolved_.insert(unresolved_.end(), component.begin(), component.end());
  return result(components);
}

// Who comes back may be stuck behind what nobody may break, and so close a cycle that it is not on itself. One pass is
// enough: giving back others later only holds up more, so who was needed stays needed.
void Choice::give_back_superfluous(const WaitModel& model) {
  Members all(ids_.size());
  std::iota(all.begin(), all.end(), 0U);
  for (const auto victim : most_wanted_first()) {
    gone_[victim] = false;
    look_at(model, reduced(model));
    gone_[victim] = !breakable(cyclic_components(all)).empty();
  }
  std::erase_if(chosen_, [this](const Chosen& chosen) { return !gone_[chosen.member]; });
}

std::vector<TxnId> Choice::on_cycles_but(const std::vector<TxnId>& victims) const {
  Members all(ids_.size());
  std::iota(all.begin(), all.end(), 0U);
  std::vector<TxnId> found;
  for (const auto& component : cyclic_components(all))
    for (const auto m : component)
      if (std::ranges::find(victims, ids_[m]) == victims.end()) found.push_back(ids_[m]);
  std::ranges::sort(found);
  return found;
}

std::vector<CandidateEdge> Choice::reorder(const std::vector<TxnId>& victims) const {
  const auto waits = model();
  Reduction with_all(waits);
  for (const auto& victim : victims) with_all.end(member(victim));

  std::vector<WaitModel::Number> given_up;
  for (WaitModel::Number e = 0; e < edges_.size(); ++e)
    if (edges_[e].kind == Kind::soft && with_all.blocks(e)) given_up.push_back(e);
  const auto left_without = [&](std::span<const WaitModel::Number> edges) {
    auto reduction = with_all;
    reduction.drop(edges);
    return reduction.left();
  };
  const auto least = left_without(given_up);
  if (with_all.left() == least) return {};
  std::ranges::sort(given_up, {}, [this](WaitModel::Number e) -> const CandidateEdge& { return edges_[e]; });
  for (std::size_t i = 0; i < given_up.size();) {
    auto others = given_up;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    if (left_without(others) == least) {
      given_up = std::move(others);
    } else {
      ++i;
    }
  }
  std::vector<CandidateEdge> edges;
  for (const auto e : given_up) edges.push_back(edges_[e]);
  return edges;
}

}  // namespace gordian::detect
