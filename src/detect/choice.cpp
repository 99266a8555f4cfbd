// What the policies say: costs, order, eligibility, and the sentence about a victim.
#include "detect/choice.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

namespace gordian::detect {
namespace {

std::string text_of(double value) {
  char buffer[32];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value).ptr;
  return {buffer, end};
}

/// Attributes come from outside. What is no finite number counts as unknown, what is negative as nothing: costs stay
/// ordered.
TxnInfo sane(TxnInfo info) {
  if (info.start && std::isnan(*info.start)) info.start.reset();
  if (std::isnan(info.priority)) info.priority = 0;
  for (auto* const value : {&info.locks, &info.work, &info.restarts})
    if (!(*value > 0) || std::isinf(*value)) *value = 0;
  return info;
}

}  // namespace

Choice::Choice(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy, const Weights& weights)
    : edges_(edges), policy_(policy), weights_(weights) {
  std::unordered_map<TxnId, Member> numbers;
  for (const auto& edge : edges)
    for (const auto* const id : {&edge.waiter, &edge.blocker})
      if (numbers.try_emplace(*id).second) ids_.push_back(*id);
  std::ranges::sort(ids_);
  for (Member i = 0; i < ids_.size(); ++i) numbers[ids_[i]] = i;

  out_.resize(ids_.size());
  in_.resize(ids_.size());
  for (const auto& edge : edges) {
    const auto waiter = numbers.at(edge.waiter);
    const auto blocker = numbers.at(edge.blocker);
    if (waiter == blocker) continue;
    out_[waiter].push_back(blocker);
    in_[blocker].push_back(waiter);
  }
  const auto make_unique = [](Members& list) {
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  };
  for (auto* const lists : {&out_, &in_})
    for (auto& list : *lists) make_unique(list);

  for (const auto& id : ids_) {
    infos_.push_back(sane(info(id)));
    costs_.push_back(fixed_cost(infos_.back()));
  }
  Members order(ids_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [this](Member a, Member b) { return goes_before(a, b); });
  places_.resize(ids_.size());
  for (std::uint32_t place = 0; place < order.size(); ++place) places_[order[place]] = place;
  gone_.resize(ids_.size(), false);
  inside_.resize(ids_.size(), false);
  out_inside_.resize(ids_.size(), 0);
  in_inside_.resize(ids_.size(), 0);
}

Member Choice::member(const TxnId& id) const {
  return static_cast<Member>(std::ranges::lower_bound(ids_, id) - ids_.begin());
}

/// Policies that know only an order: their cost is the rank in it.
bool Choice::ordering_policy() const {
  return policy_ != Policy::fewest_locks && policy_ != Policy::least_work && policy_ != Policy::weighted;
}

double Choice::fixed_cost(const TxnInfo& info) const {
  switch (policy_) {
    case Policy::fewest_locks: return 1 + info.locks;
    case Policy::least_work: return 1 + info.work;
    case Policy::weighted:
      return (1 + info.locks * weights_.locks + info.work * weights_.work) * (1 + info.restarts * weights_.restarts);
    case Policy::youngest:
    case Policy::oldest:
    case Policy::lowest_priority:
    case Policy::requester: break;
  }
  return 0;
}

// Ties of every policy are broken as by `youngest`. A transaction that nobody described is new: the youngest of all.
bool Choice::goes_before(Member a, Member b) const {
  if (costs_[a] != costs_[b]) return costs_[a] < costs_[b];
  constexpr auto newest = std::numeric_limits<double>::infinity();
  const auto start_a = infos_[a].start.value_or(newest);
  const auto start_b = infos_[b].start.value_or(newest);
  if (start_a != start_b) return policy_ == Policy::oldest ? start_a < start_b : start_a > start_b;
  return id_less(ids_[b], ids_[a]);
}

/// Ordered by their smallest member; each sorted.
std::vector<Members> Choice::cyclic_components(const Members& among) const {
  constexpr auto outside = std::numeric_limits<Member>::max();
  Members local(ids_.size(), outside);
  for (Member i = 0; i < among.size(); ++i) local[among[i]] = i;
  boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS> graph(among.size());
  for (Member i = 0; i < among.size(); ++i)
    for (const auto blocker : out_[among[i]])
      if (local[blocker] != outside) boost::add_edge(i, local[blocker], graph);

  Members component(among.size());
  boost::strong_components(graph,
                           boost::make_iterator_property_map(component.begin(), get(boost::vertex_index, graph)));
  std::vector<Members> components(among.size());
  for (Member i = 0; i < among.size(); ++i) components[component[i]].push_back(among[i]);
  std::erase_if(components, [](const Members& members) { return members.size() < 2; });
  for (auto& members : components) std::ranges::sort(members);
  std::ranges::sort(components);
  return components;
}

/// Those of the lowest priority among the members that may be aborted, in the policy's order.
Members Choice::candidates_in(const Members& component) const {
  Members candidates;
  for (const auto member : component) {
    const auto& info = infos_[member];
    if (info.victim_class == TxnInfo::Class::never) continue;
    if (!candidates.empty() && info.priority > infos_[candidates.front()].priority) continue;
    if (!candidates.empty() && info.priority < infos_[candidates.front()].priority) candidates.clear();
    candidates.push_back(member);
  }
  std::ranges::sort(candidates, {}, [this](Member member) { return places_[member]; });
  return candidates;
}

/// Whose wait was reported last among the component's.
std::optional<Member> Choice::requester_in(const Members& component) const {
  const auto in_component = [&](const TxnId& id) -> std::optional<Member> {
    const auto found = member(id);
    if (!std::ranges::binary_search(component, found)) return std::nullopt;
    return found;
  };
  std::optional<Member> latest;
  std::uint64_t latest_report = 0;
  for (const auto& edge : edges_) {
    const auto waiter = in_component(edge.waiter);
    if (!waiter || !in_component(edge.blocker)) continue;
    const bool later = !latest || edge.reported > latest_report ||
                       (edge.reported == latest_report && places_[*waiter] < places_[*latest]);
    if (!later) continue;
    latest = waiter;
    latest_report = edge.reported;
  }
  return latest;
}

// Policies that only order must never starve the one they want to keep: it is left out while there is another.
Member Choice::cheapest(const Members& candidates) const {
  const auto eligible = ordering_policy() && candidates.size() > 1 ? candidates.size() - 1 : candidates.size();
  auto best = candidates.front();
  auto best_ratio = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < eligible; ++i) {
    const auto member = candidates[i];
    const auto cost = ordering_policy() ? static_cast<double>(i + 1) : costs_[member];
    const auto ratio = cost / (static_cast<double>(in_inside_[member]) * static_cast<double>(out_inside_[member]));
    if (ratio >= best_ratio) continue;
    best = member;
    best_ratio = ratio;
  }
  return best;
}

std::string Choice::because(Member victim, const Members& component, const Members& candidates) const {
  const auto& info = infos_[victim];
  const auto of_all = " of the " + std::to_string(component.size()) + " that wait for each other";
  const auto may_go =
      std::ranges::count_if(component, [this](Member m) { return infos_[m].victim_class != TxnInfo::Class::never; });
  auto why = ids_[victim].str();
  if (may_go == 1) return why + " is the only one" + of_all + " that may be aborted";
  if (candidates.size() == 1) return why + " has the lowest priority (" + text_of(info.priority) + ")" + of_all;
  const auto among = static_cast<std::size_t>(may_go) == candidates.size()
                         ? of_all
                         : " of those with the lowest priority (" + text_of(info.priority) + ")";
  if (victim != candidates.front())
    return why + " breaks more cycles for its cost than the other members (policy " + std::string(name(policy_)) + ")";
  switch (policy_) {
    case Policy::fewest_locks: return why + " holds the fewest locks (" + text_of(info.locks) + ")" + among;
    case Policy::least_work: return why + " has done the least work (" + text_of(info.work) + ")" + among;
    case Policy::weighted: return why + " has the least weighted cost (" + text_of(costs_[victim]) + ")" + among;
    case Policy::oldest: return why + " is the oldest" + among;
    case Policy::youngest:
    case Policy::lowest_priority:
    case Policy::requester: break;
  }
  return why + " is the youngest" + among;
}

}  // namespace gordian::detect
