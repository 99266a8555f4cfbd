// Operation by operation: bookkeeping of what a trace names its waits and transactions by, then a pass of the detector.
#include "trace/replay.hpp"

#include <algorithm>
#include <charconv>

#include "trace/reader.hpp"

namespace gordian::trace {
namespace {

std::optional<double> number_of(std::string_view id) {
  if (id.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  double value = 0;
  std::from_chars(id.data(), id.data() + id.size(), value);
  return value;
}

template <class Ids>
std::vector<TxnId> in_id_order(const Ids& ids) {
  std::vector<TxnId> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted, detect::id_less);
  return sorted;
}

template <class Ids>
std::vector<std::string> texts(const Ids& ids) {
  std::vector<std::string> names;
  for (const auto& id : in_id_order(ids)) names.push_back(id.str());
  return names;
}

tl::unexpected<std::string> too_many(const graph::LimitReached& limit) {
  return tl::unexpected("found more " + std::string(limit.what) + " at once than the graph takes, expected at most " +
                        std::to_string(limit.limit));
}

}  // namespace

Replay::Replay(std::optional<detect::Policy> policy, graph::Limits limits)
    : graph_(limits),
      detector_(graph_),
      policy_given_(policy.has_value()),
      policy_(policy.value_or(detect::Policy::youngest)) {}

Replay::Applied Replay::apply(const Line& line) {
  line_ = line.number;
  return std::visit([this](const auto& operation) { return apply(operation); }, line.operation)
      .and_then([&]() -> Applied {
        // A cycle that nobody may break hides nothing from full passes, while a search sees only what is new.
        const bool changes =
            !std::holds_alternative<Expect>(line.operation) && !std::holds_alternative<Detect>(line.operation);
        if (!on_demand_ && changes && !unresolved_.empty()) {
          while (resolve(full_pass())) {
          }
        }
        return {};
      });
}

Replay::Applied Replay::apply(const Mode& mode) {
  on_demand_ = mode.on_demand;
  if (mode.coordinators > 1) shared_.emplace(mode.coordinators);
  if (mode.policy && !policy_given_) policy_ = *mode.policy;
  return {};
}

Replay::Applied Replay::apply(const Begin& begin) {
  auto& info = appear(begin.txn);
  if (begin.start) info.start = begin.start;
  info.priority = begin.priority.value_or(info.priority);
  info.locks = begin.locks.value_or(info.locks);
  info.work = begin.work.value_or(info.work);
  info.restarts = begin.restarts.value_or(info.restarts);
  info.victim_class = begin.victim_class.value_or(info.victim_class);
  if (begin.label) info.label = *begin.label;
  return {};
}

Replay::Applied Replay::apply(const BeginWait& wait) {
  appear(wait.txn);
  for (const auto* const list : {&wait.blockers, &wait.behind})
    for (const auto& blocker : *list) appear(blocker);
  const auto site = site_slot(wait.site);
  const auto [standing, is_new] = waits_.try_emplace({wait.txn, site, wait.resource}, Standing{sequence_ + 1});
  if (is_new) wait_of_sequence_.emplace(++sequence_, &standing->first);
  std::vector<Blocker> blockers;
  for (const auto& txn : wait.blockers) blockers.push_back({txn, wait.kind});
  for (const auto& txn : wait.behind) blockers.push_back({txn, Kind::soft});
  standing->second.dotted_too.clear();
  if (wait.kind == Kind::dotted && !wait.behind.empty())
    standing->second.dotted_too.insert(wait.blockers.begin(), wait.blockers.end());
  std::vector<std::uint64_t> groups;
  if (wait.for_holders) {
    const auto group = group_of(site, wait.resource);
    if (!group) return tl::unexpected(group.error());
    groups.push_back(group->number);
  }
  const graph::WaitRef ref{site, standing->second.sequence};
  const auto slot = graph_.begin_wait(ref, wait.txn, blockers, groups, wait.need);
  if (!slot) return too_many(slot.error());
  if (shared_)
    if (const auto begun = shared_->begin_wait(ref, wait.txn, blockers, groups, wait.need); !begun)
      return too_many(begun.error());
  search_until_free([&] { return search(ref, wait.txn); });
  return {};
}

Replay::Applied Replay::apply(const Holders& holders) {
  const auto group = group_of(site_slot(holders.site), holders.resource);
  if (!group) return tl::unexpected(group.error());
  std::vector<TxnId> leaving;
  for (const auto e : graph_.out_edges(*graph_.find_group(*group))) {
    const auto& member = graph_.txn(graph_.target(e));
    if (std::ranges::find(holders.txns, member) == holders.txns.end()) leaving.push_back(member);
  }
  for (const auto& txn : leaving) {
    graph_.leave(*group, txn);
    if (shared_) shared_->leave(*group, txn);
  }
  std::vector<TxnId> joined;
  for (const auto& txn : holders.txns) {
    appear(txn);
    const auto is_new = graph_.join(*group, txn);
    if (!is_new) return too_many(is_new.error());
    if (*is_new) joined.push_back(txn);
    if (shared_)
      if (const auto shared = shared_->join(*group, txn); !shared) return too_many(shared.error());
  }
  for (const auto& txn : joined) search_until_free([&] { return search(*group, txn); });
  return {};
}

std::optional<detect::Candidate> Replay::search(graph::WaitRef ref, const TxnId& waiter) {
  if (shared_) return shared_->search(ref, waiter);
  const auto wait = graph_.find_wait(ref);
  return wait ? detector_.search(*wait) : std::nullopt;
}

std::optional<detect::Candidate> Replay::search(graph::GroupRef group, const TxnId& member) {
  const auto v = graph_.find_txn(member);  // none: a victim of the one before it
  if (!v) return std::nullopt;
  return shared_ ? shared_->search(member) : detector_.search(*graph_.find_group(group), *v);
}

Replay::Applied Replay::apply(const EndWait& wait) {
  auto at = waits_.lower_bound({wait.txn, 0, ""});
  while (at != waits_.end() && std::get<TxnId>(at->first) == wait.txn) {
    const auto& [txn, site, resource] = at->first;
    const bool meant = (!wait.site || sites_[site] == *wait.site) && (!wait.resource || resource == *wait.resource);
    at = meant ? forget_wait(at) : std::next(at);
  }
  return {};
}

Replay::Applied Replay::apply(const EndTxn& end) {
  end_txn(end.txn);
  return {};
}

Replay::Applied Replay::apply(const LoseSite& lose) {
  for (auto at = waits_.begin(); at != waits_.end();)
    at = sites_[std::get<graph::SiteSlot>(at->first)] == lose.site ? forget_wait(at) : std::next(at);
  for (auto at = groups_.begin(); at != groups_.end();) {
    const auto site = at->first.first;
    if (sites_[site] == lose.site) {
      graph_.end_group({site, at->second});
      if (shared_) shared_->end_group({site, at->second});
    }
    at = sites_[site] == lose.site ? groups_.erase(at) : std::next(at);
  }
  return {};
}

Replay::Applied Replay::apply(const Detect&) {
  while (resolve(detector_.full_pass())) {
  }
  return {};
}

Replay::Applied Replay::apply(const Expect& expect) {
  const auto text = [](bool value) { return std::string(value ? "true" : "false"); };
  compare("victims", expect.victims, victims_);
  compare("deadlocked", expect.deadlocked, deadlocked_);
  compare("reorder", expect.reorder ? std::optional(text(*expect.reorder)) : std::nullopt, text(reordered_));
  compare("incidents", expect.incidents ? std::optional(std::to_string(*expect.incidents)) : std::nullopt,
          std::to_string(incidents_.size() - incidents_before_));
  victims_.clear();
  deadlocked_.clear();
  reordered_ = false;
  incidents_before_ = incidents_.size();
  return {};
}

void Replay::compare(const char* key, const std::optional<std::vector<TxnId>>& expected, const std::set<TxnId>& found) {
  if (!expected) return;
  const std::set<TxnId> expected_set(expected->begin(), expected->end());
  if (expected_set == found) return;
  failed_.push_back({.line = line_, .key = key, .expected = texts(expected_set), .found = texts(found)});
}

void Replay::compare(const char* key, const std::optional<std::string>& expected, const std::string& found) {
  if (!expected || *expected == found) return;
  failed_.push_back({.line = line_, .key = key, .expected = {*expected}, .found = {found}});
}

/// What is known of the transaction, from its first appearance on.
TxnInfo& Replay::appear(const TxnId& txn) {
  const auto [at, is_new] = txns_.try_emplace(txn);
  if (is_new) at->second.start = number_of(txn.view()).value_or(static_cast<double>(++appeared_));
  return at->second;
}

void Replay::end_txn(const TxnId& txn) {
  (void)apply(EndWait{.txn = txn, .site = {}, .resource = {}});
  graph_.remove_txn(txn);
  if (shared_) shared_->remove_txn(txn);
  txns_.erase(txn);
}

Replay::Waits::iterator Replay::forget_wait(Waits::iterator wait) {
  const graph::WaitRef ref{std::get<graph::SiteSlot>(wait->first), wait->second.sequence};
  graph_.end_wait(ref);
  if (shared_) shared_->end_wait(ref);
  wait_of_sequence_.erase(wait->second.sequence);
  return waits_.erase(wait);
}

graph::SiteSlot Replay::site_slot(const SiteId& site) {
  const auto [at, is_new] = site_slots_.try_emplace(site, static_cast<graph::SiteSlot>(sites_.size()));
  if (is_new) sites_.push_back(site);
  return at->second;
}

tl::expected<graph::GroupRef, std::string> Replay::group_of(graph::SiteSlot site, const std::string& resource) {
  const auto [at, is_new] = groups_.try_emplace({site, resource}, last_group_ + 1);
  if (is_new) ++last_group_;
  const graph::GroupRef group{site, at->second};
  if (const auto begun = graph_.begin_group(group); !begun) return too_many(begun.error());
  if (shared_)
    if (const auto begun = shared_->begin_group(group); !begun) return too_many(begun.error());
  return group;
}

/// After what the search found was broken, it searches again: a candidate may be a part of the whole (see Detector).
/// While there is something that nobody may break, full passes do it instead, and on demand `detect`.
template <class Search>
void Replay::search_until_free(Search search) {
  while (!on_demand_ && unresolved_.empty()) {
    auto candidate = search();
    if (!candidate || !resolve({*std::move(candidate)})) return;
  }
}

// One incident for each candidate; their victims end when all are recorded, so that each sees the same graph. False: there
// was nothing to break.
bool Replay::resolve(const std::vector<detect::Candidate>& candidates) {
  const auto info = [this](const TxnId& txn) { return txns_.at(txn); };
  std::vector<TxnId> ending;
  std::vector<detect::CandidateEdge> reorders;
  std::set<TxnId> unresolved;
  for (const auto& candidate : candidates) {
    const auto chosen = detect::choose_victims(candidate.edges, info, policy_);
    const auto held_up = detector_.held_up_by(candidate);
    deadlocked_.insert(held_up.begin(), held_up.end());
    unresolved.insert(chosen.unresolved.begin(), chosen.unresolved.end());
    const auto known = [this](const TxnId& txn) { return unresolved_.contains(txn); };
    if (chosen.victims.empty() && chosen.reorder.empty() && std::ranges::all_of(chosen.unresolved, known)) continue;
    victims_.insert(chosen.victims.begin(), chosen.victims.end());
    reordered_ |= !chosen.reorder.empty();
    ending.insert(ending.end(), chosen.victims.begin(), chosen.victims.end());
    reorders.insert(reorders.end(), chosen.reorder.begin(), chosen.reorder.end());
    record(candidate, chosen, held_up);
  }
  for (const auto& victim : ending) end_txn(victim);
  for (const auto& soft : reorders) reorder(soft);
  unresolved_ = std::move(unresolved);
  return !ending.empty() || !reorders.empty();
}

/// The waiter need not stay behind this blocker any more; whatever else it waits for stays.
void Replay::reorder(const detect::CandidateEdge& soft) {
  const graph::WaitRef ref{soft.site, soft.sequence};
  const auto wait = graph_.find_wait(ref);
  if (!wait) return;
  const auto& dotted_too = waits_.at(*wait_of_sequence_.at(soft.sequence)).dotted_too;
  std::vector<Blocker> blockers;
  std::vector<std::uint64_t> groups;
  for (const auto e : graph_.edges(*wait)) {
    const auto target = graph_.target(e);
    if (graph_.is_group(target)) {
      groups.push_back(graph_.group(target).number);
    } else if (graph_.kind(e) != Kind::soft || graph_.txn(target) != soft.blocker) {
      blockers.push_back({graph_.txn(target), graph_.kind(e)});
    } else if (dotted_too.contains(soft.blocker)) {
      blockers.push_back({soft.blocker, Kind::dotted});
    }
  }
  (void)graph_.begin_wait(ref, soft.waiter, blockers, groups);  // no more edges than before
  if (shared_) (void)shared_->begin_wait(ref, soft.waiter, blockers, groups, graph::need_all);
}

void Replay::record(const detect::Candidate& candidate, const detect::Victims& chosen,
                    const std::vector<TxnId>& held_up) {
  Incident incident{.number = incidents_.size() + 1,
                    .line = line_,
                    .victims = chosen.victims,
                    .deadlocked = in_id_order(held_up),
                    .reorder = {},
                    .cycle = {},
                    .policy = policy_,
                    .why = chosen.why};
  const auto resource = [this](const detect::CandidateEdge& edge) {
    return std::get<std::string>(*wait_of_sequence_.at(edge.sequence));
  };
  for (const auto& edge : chosen.reorder)
    incident.reorder.push_back({edge.waiter, edge.blocker, sites_[edge.site], resource(edge)});
  auto through = chosen.victims;
  for (const auto& edge : chosen.reorder) through.push_back(edge.waiter);
  through.insert(through.end(), chosen.unresolved.begin(), chosen.unresolved.end());
  for (auto at = through.begin(); at != through.end() && incident.cycle.empty(); ++at)
    for (const auto& edge : detect::shortest_cycle(candidate.edges, *at))
      incident.cycle.push_back({.waiter = edge.waiter,
                                .blocker = edge.blocker,
                                .site = sites_[edge.site],
                                .resource = resource(edge),
                                .kind = edge.kind});
  const auto smallest = std::ranges::min_element(incident.cycle, detect::id_less, &CycleEdge::waiter);
  std::rotate(incident.cycle.begin(), smallest, incident.cycle.end());
  incidents_.push_back(std::move(incident));
}

Outcome replay(std::istream& in, const std::string& file, std::optional<detect::Policy> policy) {
  Reader reader(in, file);
  Replay replay(policy);
  std::optional<TraceError> error;
  while (!error) {
    const auto line = reader.next();
    if (!line) {
      error = line.error();
      break;
    }
    if (!*line) break;
    if (const auto applied = replay.apply(**line); !applied)
      error = TraceError{TraceError::Kind::limit, file, (*line)->number, applied.error()};
  }
  return {.incidents = replay.incidents(), .failed = replay.failed(), .error = std::move(error)};
}

}  // namespace gordian::trace
