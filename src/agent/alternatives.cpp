// At most `spare` requests may stay blocked. For each choice of one blocker per request, as many of those chosen must end as
// requests must be granted: if a request has a blocker that stays, some choice has it. And the other way round: with enough requests
// free, every choice is. Where one transaction was chosen for several requests, it would have to count as often as that; instead,
// each spare + 1 of the requests must have one among them that is granted.
#include "agent/alternatives.hpp"

#include <algorithm>
#include <set>

namespace gordian::agent {
namespace {

using Choice = std::vector<std::size_t>;

/// The next one, as an odometer counts; false after the last.
bool next_choice(Choice& choice, std::span<const std::vector<TxnId>> from) {
  for (std::size_t i = 0; i < choice.size(); ++i) {
    if (++choice[i] < from[i].size()) return true;
    choice[i] = 0;
  }
  return false;
}

/// The next set of as many places below `count`, in ascending order; false after the last.
bool next_places(Choice& places, std::size_t count) {
  for (std::size_t i = places.size(); i-- > 0;) {
    if (places[i] + (places.size() - i) >= count) continue;
    ++places[i];
    for (std::size_t j = i + 1; j < places.size(); ++j) places[j] = places[j - 1] + 1;
    return true;
  }
  return false;
}

/// True if each was named once.
bool sort_unique(std::vector<TxnId>& txns) {
  const auto named = txns.size();
  std::sort(txns.begin(), txns.end());
  txns.erase(std::unique(txns.begin(), txns.end()), txns.end());
  return txns.size() == named;
}

/// The clauses as they are found, up to a limit; and no longer than so many names, though each may be found many times.
class Found {
 public:
  explicit Found(std::size_t limit) : limit_(limit), names_left_(256 * limit) {}

  /// False: enough.
  bool add(Clause clause) {
    if (names_left_ < clause.blockers.size() || (clauses_.size() == limit_ && !clauses_.contains(clause)))
      return complete_ = false;
    names_left_ -= clause.blockers.size();
    clauses_.insert(std::move(clause));
    return true;
  }
  /// Without those that another one implies.
  Clauses take() {
    Clauses clauses{{}, complete_};
    for (const auto& clause : clauses_)
      if (std::none_of(clauses_.begin(), clauses_.end(), [&](const Clause& other) { return implies(other, clause); }))
        clauses.all.push_back(clause);
    return clauses;
  }

 private:
  static bool implies(const Clause& any, const Clause& clause) {
    return any.need == 1 && clause.need == 1 && any.blockers.size() < clause.blockers.size() &&
           std::includes(clause.blockers.begin(), clause.blockers.end(), any.blockers.begin(), any.blockers.end());
  }

  std::size_t limit_;
  std::size_t names_left_;
  std::set<Clause> clauses_;
  bool complete_ = true;
};

}  // namespace

Clauses clauses_of(std::span<const std::vector<TxnId>> in_the_way, std::size_t spare, std::size_t limit) {
  std::vector<std::vector<TxnId>> blocked;
  for (const auto& blockers : in_the_way)
    if (!blockers.empty()) blocked.push_back(blockers);
  if (blocked.size() <= spare) return {};
  Found found(limit);
  Choice choice(blocked.size(), 0);
  do {
    std::vector<TxnId> chosen;
    for (std::size_t i = 0; i < blocked.size(); ++i) chosen.push_back(blocked[i][choice[i]]);
    const auto each = chosen;
    const auto need = static_cast<std::uint32_t>(blocked.size() - spare);
    if (sort_unique(chosen) || need == 1) {
      if (!found.add({need, std::move(chosen)})) break;
      continue;
    }
    Choice places(spare + 1);
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = i;
    bool more = true;
    do {
      std::vector<TxnId> some;
      for (const auto place : places) some.push_back(each[place]);
      sort_unique(some);
      more = found.add({1, std::move(some)});
    } while (more && next_places(places, each.size()));
    if (!more) break;
  } while (next_choice(choice, blocked));
  return found.take();
}

}  // namespace gordian::agent
