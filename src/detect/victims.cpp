// Choosing victims: a greedy feedback vertex set, component by component.
//
// 1. Split the candidate into its cyclic strongly connected components; what is on no cycle falls away here.
// 2. In each, choose one victim: lowest priority first, then least cost/(in·out), then the policy's own order.
// 3. Remove it; go on with what is left of its component, split again where it fell apart, until nothing is cyclic that
//    could be broken.
// 4. Give back each victim without which nothing becomes cyclic, the most wanted first: none is superfluous.
// Minimal sets are NP-hard to find; the unit test measures how far from the optimum this is on small components.
#include "detect/victims.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <charconv>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>
#include <unordered_map>

namespace gordian::detect {
namespace {

/// A transaction's number in this candidate; numbers follow the ids' byte order.
using Member = std::uint32_t;
using Members = std::vector<Member>;

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

class Choice {
 public:
  Choice(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy, const Weights& weights);
  [[nodiscard]] Victims run();

 private:
  struct Chosen {
    Member member;
    std::string why;
  };

  [[nodiscard]] bool ordering_policy() const;
  [[nodiscard]] double fixed_cost(const TxnInfo& info) const;
  [[nodiscard]] bool goes_before(Member a, Member b) const;
  [[nodiscard]] std::vector<Members> cyclic_components(const Members& among) const;
  [[nodiscard]] Members candidates_in(const Members& component) const;
  [[nodiscard]] std::optional<Member> requester_in(const Members& component) const;
  [[nodiscard]] Member cheapest(const Members& candidates) const;
  [[nodiscard]] std::string because(Member victim, const Members& component, const Members& candidates) const;
  [[nodiscard]] bool on_cycle(Member member) const;
  [[nodiscard]] bool reaches_all(const Members& members, const std::vector<Members>& neighbours) const;
  void enter(const Members& component);
  void remove(Member victim, Members& component);
  [[nodiscard]] std::optional<Member> choose_one(const Members& component, bool whole);
  [[nodiscard]] bool remove_victims(Members& component, bool whole);
  void break_component(const Members& component);
  void give_back_superfluous();

  const std::vector<CandidateEdge>& edges_;
  const Policy policy_;
  const Weights weights_;
  std::vector<TxnId> ids_;  ///< sorted
  std::vector<TxnInfo> infos_;
  std::vector<double> costs_;          ///< of policies whose cost is a transaction's own
  std::vector<std::uint32_t> places_;  ///< 0: the one the policy wants gone first, priorities aside
  std::vector<Members> out_;           ///< each blocker once
  std::vector<Members> in_;
  std::vector<bool> gone_;
  std::vector<bool> inside_;             ///< of the component that is being broken
  std::vector<std::size_t> out_inside_;  ///< how many of out_, and of in_, are inside
  std::vector<std::size_t> in_inside_;
  std::vector<Chosen> chosen_;
  Members unresolved_;
};

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
    const auto member = static_cast<Member>(std::ranges::lower_bound(ids_, id) - ids_.begin());
    if (!std::ranges::binary_search(component, member)) return std::nullopt;
    return member;
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

// One pass is enough: giving back others later only adds cycles, so who was needed stays needed.
void Choice::give_back_superfluous() {
  Members victims;
  for (const auto& chosen : chosen_) victims.push_back(chosen.member);
  std::ranges::sort(victims, [this](Member a, Member b) {
    if (infos_[a].priority != infos_[b].priority) return infos_[a].priority > infos_[b].priority;
    return places_[a] != places_[b] ? places_[a] > places_[b] : a > b;
  });
  for (const auto victim : victims) gone_[victim] = on_cycle(victim);
  std::erase_if(chosen_, [this](const Chosen& chosen) { return !gone_[chosen.member]; });
}

Victims Choice::run() {
  Members all(ids_.size());
  std::iota(all.begin(), all.end(), 0U);
  const auto components = cyclic_components(all);
  for (const auto& component : components) break_component(component);
  give_back_superfluous();

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

}  // namespace

Victims choose_victims(const std::vector<CandidateEdge>& edges, const InfoOf& info, Policy policy,
                       const Weights& weights) {
  return Choice(edges, info, policy, weights).run();
}

}  // namespace gordian::detect
