#include "sim/observer.hpp"

#include <algorithm>
#include <utility>

namespace gordian::sim {

/// Coordinators that share the graph give names that are different everywhere, and hand orders to each other.
std::string Observer::name_of(NodeId coordinator, const std::string& incident) const {
  return coordinators_.size() > 1 ? incident : std::to_string(coordinator) + "/" + incident;
}

Observer::Observer(const Scheduler& clock, const Faults& faults, Log& log, std::vector<NodeId> coordinators,
                   std::vector<std::string> names)
    : clock_(clock),
      faults_(faults),
      log_(log),
      coordinators_(std::move(coordinators)),
      names_(std::move(names)),
      truth_(clock) {}

void Observer::violated(int property, std::string what) {
  log_.line("OBSERVER", "property " + std::to_string(property) + " violated: " + what);
  if (!violation_) violation_ = Violation{property, std::move(what), clock_.steps(), clock_.now() - log_.start_us()};
}

// --- Incidents ---

const EdgeLife* Observer::edge_at(const Known::Edge& edge, Micros instant) const {
  const auto* wait = truth_.find(edge.site, edge.incarnation, edge.sequence);
  if (wait == nullptr) return nullptr;
  for (const auto& life : wait->edges)
    if (life.blocker == edge.blocker && life.begin <= instant && instant <= life.end) return &life;
  return nullptr;
}

void Observer::incident_opened(NodeId coordinator, const coordinator::Incident& incident,
                               const std::map<SiteId, NodeId>& sites) {
  const auto name = name_of(coordinator, incident.id);
  ++tally_.incidents;
  tally_.victims += incident.victims.size();
  Known known{.found = incident.found_unix_us};
  for (const auto& edge : incident.edges)
    known.edges.push_back(
        {sites.at(edge.wait.site), edge.wait.incarnation, edge.wait.sequence, truth_.number(edge.blocker)});
  check_candidate(incident, known, name);
  const auto reordered = [](const auto& edge) { return edge.reordered; };
  if (!incident.victims.empty() || std::any_of(incident.edges.begin(), incident.edges.end(), reordered))
    check_victims(incident, known, name);
  incidents_.insert_or_assign(name, std::move(known));
}

void Observer::check_candidate(const coordinator::Incident& incident, const Known& known, const std::string& name) {
  for (std::size_t i = 0; i < incident.edges.size(); ++i) {
    if (edge_at(known.edges[i], known.found) != nullptr) continue;
    const auto& edge = incident.edges[i];
    return violated(1, "phantom: of incident " + name + " the wait of " + edge.waiter.str() + " for " +
                           edge.blocker.str() + " (wait " + to_string(edge.wait) +
                           ") did not stand when its confirmation was asked for, at " +
                           std::to_string(known.found - log_.start_us()) + " us");
  }
  const auto deadlocked = truth_.deadlocked_at(known.found);
  for (const auto& txn : incident.txns)
    if (!std::binary_search(deadlocked.begin(), deadlocked.end(), truth_.number(txn.txn)))
      return violated(1, "phantom: " + txn.txn.str() + " of incident " + name +
                             " was not deadlocked when its confirmation was asked for");
}

void Observer::check_victims(const coordinator::Incident& incident, const Known& known, const std::string& name) {
  std::map<const WaitLife*, std::set<TxnNumber>> waits;  // with whom of the candidate they are for
  for (std::size_t i = 0; i < known.edges.size(); ++i) {
    const auto& edge = known.edges[i];
    const auto* wait = truth_.find(edge.site, edge.incarnation, edge.sequence);
    if (edge_at(edge, known.found) == nullptr) return;  // a phantom: told already
    auto& blockers = waits[wait];
    if (!incident.edges[i].reordered) blockers.insert(edge.blocker);
  }
  std::vector<ReducedWait> candidate;
  for (const auto& [wait, blockers] : waits) {
    auto& reduced = candidate.emplace_back(ReducedWait{wait->waiter, wait->site, wait->need_at(known.found), {}});
    // Blockers that the candidate leaves out are active: they will end, and so will one of several that has no others.
    std::set<std::uint64_t> others, left;
    std::uint32_t alone = 0;
    for (const auto& edge : wait->edges) {
      if (edge.begin > known.found || known.found > edge.end) continue;
      const bool named = blockers.contains(edge.blocker);
      if (named) reduced.edges.push_back({edge.blocker, edge.kind, edge.alternative});
      if (edge.alternative != 0) (named ? left : others).insert(edge.alternative);
      alone += edge.alternative == 0 && !named ? 1 : 0;
    }
    std::erase_if(others, [&](std::uint64_t alternative) { return left.contains(alternative); });
    const auto ending = alone + static_cast<std::uint32_t>(others.size());
    if (reduced.need != 0) reduced.need = reduced.need > ending ? reduced.need - ending : 1;
  }
  std::vector<TxnNumber> victims;
  for (const auto& victim : incident.victims) victims.push_back(truth_.number(victim));
  if (const auto left = reduce(candidate, victims); !left.empty())
    return violated(3, "the victims of incident " + name + " leave " + truth_.id(left.front()).str() + " deadlocked");
  for (std::size_t i = 0; i < victims.size(); ++i) {
    auto others = victims;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    if (reduce(candidate, others).empty())
      return violated(3, incident.victims[i].str() + " is a superfluous victim of incident " + name);
  }
}

std::optional<std::string> Observer::first_ended_by(const Known& known) const {
  std::optional<std::string> by;
  Micros first = still;
  for (const auto& edge : known.edges) {
    const auto* life = edge_at(edge, known.found);
    if (life == nullptr || life->end >= first) continue;
    first = life->end;
    by = life->ended_by;
  }
  return by;
}

// --- Orders ---

Observer::Order Observer::arriving(NodeId coordinator, NodeId site, std::uint64_t incarnation,
                                   const wire::Abort& order) {
  Order seen{
      name_of(coordinator, order.incident), order.victim, order.role, false, truth_.is_deadlocked(order.victim), 0};
  const auto victim = truth_.number(order.victim);
  const auto* wait = truth_.find(site, incarnation, order.sequence);
  if (wait == nullptr || wait->end != still) return seen;
  if (order.role == wire::Abort::Role::waiting) {
    seen.applies = wait->waiter == victim;
    return seen;
  }
  for (const auto& edge : wait->edges) {
    if (edge.end != still || edge.blocker != victim) continue;
    seen.applies = true;
    seen.edge_began = edge.begin;
  }
  return seen;
}

void Observer::carried_out(const Order& order, NodeId site) {
  const auto what = order.victim.str() + " at " + names_[site] + " by incident " + order.incident;
  const auto it = incidents_.find(order.incident);
  if (it == incidents_.end()) return violated(1, "wrong abort: " + what + ", which was never opened");
  auto& known = it->second;
  aborted_[order.victim] = clock_.now();
  if (order.role == wire::Abort::Role::holding) {
    ++tally_.releases;
    const auto aborted = known.aborted.find(order.victim);
    if (aborted == known.aborted.end())
      return violated(3,
                      "superfluous: the locks of " + what + " were released, but it was not aborted where it waited");
    if (!order.applies) return violated(1, "wrong abort: " + what + ", whom nobody named in the order waits for there");
    const auto life = life_began_.find(order.victim);
    if (life != life_began_.end() && life->second > aborted->second && order.edge_began > life->second)
      violated(1, "wrong abort: " + what + " hit the transaction's next life");
    return;
  }
  ++tally_.aborts;
  if (!order.applies) return violated(1, "wrong abort: " + what + " though the wait that the order names was over");
  known.aborted.insert_or_assign(order.victim, clock_.now());
  // It may wait at several sites at once: each of them hears of it.
  if (!known.aborted_at.emplace(order.victim, site).second)
    return violated(3, "superfluous: " + what + " was aborted for a second time");
  if (order.deadlocked) return;
  const auto by = first_ended_by(known);
  if (!by) return violated(1, "wrong abort: " + what + " was not deadlocked, though all of the incident's waits stand");
  if (!by->empty() && *by != order.incident)
    return violated(3, "superfluous: " + what + " was free already, because of incident " + *by);
  ++tally_.aborts_overtaken;
}

std::string Observer::reordered(NodeId coordinator, const std::string& incident) {
  ++tally_.reorders;
  auto name = name_of(coordinator, incident);
  if (!incidents_.contains(name))
    violated(1, "a queue was reordered for incident " + name + ", which was never opened");
  return name;
}

bool Observer::is_victim(const Held& held) const {
  const auto aborted = aborted_.find(held.txn);
  return aborted != aborted_.end() && aborted->second >= held.life_began;
}

void Observer::granted(const Held& held) {
  if (is_victim(held)) return;
  const auto modes = modes::standard();
  const auto others = held_by_();
  for (const auto& grant : held.grants) {
    const auto what = grant.name + " at " + grant.site.str();
    for (const auto& other : others) {
      if (other.client == held.client || is_victim(other)) continue;
      for (const auto& its : other.grants)
        if (its.site == grant.site && its.name == grant.name && has(modes.conflicts(grant.mode), its.mode))
          violated(4, names_[held.client] + " and " + names_[other.client] + " both believe to hold " + what);
    }
    if (grant.mode != modes::X) continue;
    auto& newest = exclusive_.try_emplace({grant.site, grant.name}, Exclusive{{}, held.txn}).first->second;
    const bool again = grant.fence == newest.fence && newest.txn == held.txn;  // by a call for some of several
    if (grant.fence <= newest.fence && !again)
      violated(4, names_[held.client] + " was given " + what + " with a fence that is not new");
    newest = {grant.fence, held.txn};
  }
}

void Observer::told_of_deadlock(const TxnId& txn, Micros life_began, const std::string& incident) {
  for (const auto coordinator : coordinators_) {
    const auto it = incidents_.find(name_of(coordinator, incident));
    if (it == incidents_.end()) continue;
    const auto aborted = it->second.aborted.find(txn);
    if (aborted != it->second.aborted.end() && aborted->second >= life_began) return;
  }
  violated(4, "a client was told that " + txn.str() + " is the victim of incident " + incident +
                  ", which aborted no such transaction in this life of it");
}

// --- Misses ---

void Observer::trouble(NodeId node, bool begins) {
  auto& at = trouble_[node];
  if (begins) {
    ++at.now;
  } else {
    --at.now;
  }
  at.last = clock_.now();
}

Micros Observer::reachable_since(const std::set<NodeId>& parties) const {
  Micros since = 0;
  for (const auto node : parties) {
    const auto it = trouble_.find(node);
    if (it != trouble_.end()) since = std::max(since, it->second.now > 0 ? clock_.now() : it->second.last);
  }
  return since;
}

void Observer::check_misses() {
  // Between coordinators a probe, a suspicion or a reservation may be lost: the next probe follows a pause later.
  const Micros probe_pauses_us = coordinators_.size() > 1 ? 2 * detect::EdgeChaser::Options{}.again_last_us : 0;
  const auto& since = truth_.deadlocked_since();
  if (since.empty()) return;
  ++tally_.misses_checked;
  const auto waits = truth_.standing();
  for (const auto& [txn, when] : since) {
    std::vector<TxnNumber> reached{txn};
    std::set<NodeId> parties(coordinators_.begin(), coordinators_.end());
    Micros stood = when;
    for (std::size_t next = 0; next < reached.size(); ++next) {
      for (const auto* wait : waits) {
        if (wait->waiter != reached[next]) continue;
        parties.insert(wait->site);
        stood = std::max(stood, wait->begin);
        for (const auto& edge : wait->edges) {
          if (edge.end != still || !since.contains(edge.blocker)) continue;
          stood = std::max(stood, std::max(edge.begin, since.at(edge.blocker)));
          if (std::find(reached.begin(), reached.end(), edge.blocker) == reached.end()) reached.push_back(edge.blocker);
        }
      }
    }
    stood = std::max(stood, reachable_since(parties));
    if (clock_.now() - stood <= faults_.miss_bound_us + probe_pauses_us) continue;
    std::string who;
    for (const auto member : reached) who += (who.empty() ? "" : ", ") + truth_.id(member).str();
    return violated(2, "miss: " + who + " have been deadlocked for " + std::to_string((clock_.now() - stood) / 1000) +
                           " ms, and everybody concerned could be reached");
  }
}

}  // namespace gordian::sim
