// Choosing victims where a deadlock is a cycle: a greedy feedback vertex set, component by component.
//
// 1. Split the candidate into its cyclic strongly connected components; what is on no cycle falls away here.
// 2. In each, choose one victim: lowest priority first, then least cost/(in·out), then the policy's own order.
// 3. Remove it; go on with what is left of its component, split again where it fell apart, until nothing is cyclic that
//    could be broken.
// 4. Give back each victim without which nothing becomes cyclic, the most wanted first: none is superfluous.
// Minimal sets are NP-hard to find; the unit test measures how far from the optimum this is on small components.
#include "detect/victims.hpp"

#include <algorithm>
#include <deque>
#include <numeric>

#include "detect/choice.hpp"

namespace gordian::detect {

void Choice::enter(const Members& component) {
  for (const auto member : component) inside_[member] = true;
  const auto count = [this](const Members& list) {
    return static_cast<std::size_t>(std::ranges::count_if(list, [this](Member m) { return inside_[m]; }));
  };
  for (const auto member : component) {
    out_inside_[member] = count(out_[member]);
    in_inside_[member] = count(in_[member]);
  }
}

void Choice::remove(Member victim, Members& component) {
  gone_[victim] = true;
  inside_[victim] = false;
  std::erase(component, victim);
  for (const auto blocker : out_[victim]) in_inside_[blocker] -= inside_[blocker] ? 1 : 0;
  for (const auto waiter : in_[victim]) out_inside_[waiter] -= inside_[waiter] ? 1 : 0;
}

/// Whether the first of `members` reaches all others inside. Stops when it has: in dense components long before all
/// edges are seen.
bool Choice::reaches_all(const Members& members, const std::vector<Members>& neighbours) const {
  std::vector<bool> seen(ids_.size(), false);
  seen[members.front()] = true;
  Members reached{members.front()};
  for (std::size_t next = 0; next < reached.size() && reached.size() < members.size(); ++next) {
    for (const auto m : neighbours[reached[next]]) {
      if (!inside_[m] || seen[m]) continue;
      seen[m] = true;
      reached.push_back(m);
    }
  }
  return reached.size() == members.size();
}

/// The next victim of the component; none if no member may be aborted. `whole`: nobody of it was chosen yet.
std::optional<Member> Choice::choose_one(const Members& component, bool whole) {
  const auto candidates = candidates_in(component);
  if (candidates.empty()) return std::nullopt;
  const auto requester = whole && policy_ == Policy::requester ? requester_in(component) : std::nullopt;
  if (requester && std::ranges::find(candidates, *requester) != candidates.end()) {
    places_[*requester] = 0;  // the last to be given back: nobody is wanted less
    chosen_.push_back({*requester, ids_[*requester].str() + " made the request that was reported last"});
    return requester;
  }
  const auto victim = cheapest(candidates);
  chosen_.push_back({victim, because(victim, component, candidates)});
  return victim;
}

/// Removes victims while what is left of the component holds together; false if none of it may be aborted.
bool Choice::remove_victims(Members& component, bool whole) {
  do {
    const auto victim = choose_one(component, whole);
    if (!victim) return false;
    remove(*victim, component);
    whole = false;
  } while (component.size() > 1 && reaches_all(component, out_) && reaches_all(component, in_));
  return true;
}

void Choice::break_component(const Members& component) {
  std::deque<Members> cyclic{component};
  for (bool whole = true; !cyclic.empty(); whole = false) {
    auto members = std::move(cyclic.front());
    cyclic.pop_front();
    enter(members);
    const bool broken = remove_victims(members, whole);
    for (const auto member : members) inside_[member] = false;
    if (broken) {
      for (auto& left : cyclic_components(members)) cyclic.push_back(std::move(left));
    } else {
      unresolved_.insert(unresolved_.end(), members.begin(), members.end());
    }
  }
}

bool Choice::on_cycle(Member member) const {
  std::vector<bool> seen(ids_.size(), false);
  Members stack{member};
  while (!stack.empty()) {
    const auto at = stack.back();
    stack.pop_back();
    for (const auto blocker : out_[at]) {
      if (blocker == member) return true;
      if (gone_[blocker] || seen[blocker]) continue;
      seen[blocker] = true;
      stack.push_back(blocker);
    }
  }
  return false;
}

/// The victims, in the order in which they are tried to be spared.
Members Choice::most_wanted_first() const {
  Members victims;
  for (const auto& chosen : chosen_) victims.push_back(chosen.member);
  std::ranges::sort(victims, [this](Member a, Member b) {
    if (infos_[a].priority != infos_[b].priority) return infos_[a].priority > infos_[b].priority;
    return places_[a] != places_[b] ? places_[a] > places_[b] : a > b;
  });
  return victims;
}

// One pass is enough: giving back others later only adds cycles, so who was needed stays needed.
void Choice::give_back_superfluous() {
  for (const auto victim : most_wanted_first()) gone_[victim] = on_cycle(victim);
  std::erase_if(chosen_, [this](const Chosen& chosen) { return !gone_[chosen.member]; });
}

Victims Choice::run() {
  Members all(ids_.size());
  std::iota(all.begin(), all.end(), 0U);
  const auto components = cyclic_components(all);
  for (const auto& component : components) break_component(component);
  give_back_superfluous();
  return result(components);
}

/// `components`: the cyclic ones before anybody was chosen.
Victims Choice::result(const std::vector<Members>& components) {
  Victims result;
  for (const auto& chosen : chosen_) result.victims.push_back(ids_[chosen.member]);
  for (const auto& component : components)
    for (const auto member : component)
      if (!gone_[member]) result.spared.push_back(ids_[member]);
  for (const auto member : unresolved_) result.unresolved.push_back(ids_[member]);
  std::ranges::sort(result.spared);
  std::ranges::sort(result.unresolved);
  if (!chosen_.empty()) {
    result.why = chosen_.front().why;
  } else {
    result.why = components.empty() ? "nobody waits in a cycle" : "all members of the cycle are of class never";
  }
  return result;
}

Victims choose_victims(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy,
                       const Weights& weights) {
  const auto soft = [](const CandidateEdge& edge) { return edge.kind == Kind::soft; };
  const auto mixed = [](const CandidateEdge& edge) {
    return edge.kind == Kind::dotted || edge.need != CandidateEdge::need_all;
  };
  const auto chosen = [&](const std::vector<CandidateEdge>& among) {
    Choice choice(among, info, policy, weights);
    return std::ranges::any_of(among, mixed) ? choice.run_mixed() : choice.run();
  };
  if (std::ranges::none_of(edges, soft)) return chosen(edges);

  // Nobody goes for a deadlock that hangs on a queue: victims are for what is left without soft edges.
  auto firm = edges;
  std::erase_if(firm, soft);
  auto result = chosen(firm);
  Choice whole(edges, info, policy, weights);
  result.reorder = whole.reorder(result.victims);
  result.spared = whole.on_cycles_but(result.victims);
  if (result.victims.empty() && !result.reorder.empty())
    result.why = "nobody needs to go: " + result.reorder.front().waiter.str() + " need not wait behind " +
                 result.reorder.front().blocker.str() + " in the queue";
  return result;
}

}  // namespace gordian::detect
