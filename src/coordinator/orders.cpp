// Incidents: victims chosen, orders given, escalated and settled, the story kept.
#include <algorithm>
#include <utility>

#include "coordinator/resolution.hpp"

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

// How long a victim that could not be aborted is not chosen again, counted in abort graces.
constexpr std::int64_t spared_graces = 10;

std::string listed(const std::vector<TxnId>& txns) {
  std::string text;
  for (const auto& txn : txns) text += (text.empty() ? "" : ", ") + txn.str();
  return text;
}

}  // namespace

TxnInfo Resolution::info(const TxnId& txn, std::span<const wire::Described> also) const {
  auto known = sites_.info(txn, also);
  if (unabortable_.contains(txn)) known.victim_class = TxnInfo::Class::never;
  return known;
}

// --- The story ---

void Resolution::keep(Incident incident) {
  incidents_.insert_or_assign(incident.number, std::move(incident));
  for (auto it = incidents_.begin(); it != incidents_.end() && incidents_.size() > options_.limits.incidents_in_memory;)
    it = cases_.contains(it->first) ? std::next(it) : incidents_.erase(it);  // one whose orders are out is kept
}

void Resolution::publish(std::uint64_t incident) {
  if (const auto it = incidents_.find(incident); it != incidents_.end())
    out_.events.emplace_back(IncidentChanged{it->second});
}

void Resolution::step(std::uint64_t incident, std::string what, Time now) {
  const auto it = incidents_.find(incident);
  const auto found = cases_.find(incident);
  if (it == incidents_.end() || found == cases_.end()) return;
  it->second.steps.push_back({now.steady_us - found->second.found.steady_us, std::move(what)});
}

std::vector<Incident> Resolution::incidents(std::size_t limit, const std::string& id) const {
  std::vector<Incident> list;
  for (auto it = incidents_.rbegin(); it != incidents_.rend() && list.size() < limit; ++it) {
    if (id.empty() || it->second.id == id) list.push_back(it->second);
  }
  return list;
}

Incident Resolution::describe(const Pending& pending, const detect::Victims& chosen, Time now) const {
  Incident incident;
  incident.epoch = epoch_;
  incident.number = last_incident_;
  incident.id = (options_.member.empty() ? "" : options_.member + "-") + std::to_string(epoch_) + "-" +
                std::to_string(last_incident_);
  incident.found_unix_us = pending.found.unix_us;
  incident.policy = detect::name(options_.policy);
  incident.confirm_us = now.steady_us - pending.found.steady_us;
  for (const auto& txn : pending.candidate.members())
    incident.txns.push_back({txn, sites_.info(txn, pending.described)});
  name_victims(incident, chosen);
  for (const auto& e : pending.candidate.edges) {
    const auto& site = sites_.at(e.site);
    IncidentEdge edge{e.waiter, e.blocker, {site.id, site.incarnation, e.sequence}, {}, {}, {}, 0, e.kind};
    const auto remote = pending.details.find({e.site, e.sequence});
    if (const auto* standing = sites_.find({e.site, e.sequence}); standing != nullptr) {
      edge.resource = standing->resource(), edge.mode = standing->mode(), edge.detail = standing->detail();
      edge.age_ms = static_cast<double>(now.steady_us - standing->began_us) / 1000.0;
    } else if (remote != pending.details.end()) {
      const auto& detail = remote->second;
      edge.resource = detail.resource, edge.mode = detail.mode, edge.detail = detail.detail;
      edge.age_ms = static_cast<double>(detail.age_us) / 1000.0;
    }
    incident.edges.push_back(std::move(edge));
  }
  return incident;
}

/// With a reorder nobody dies now; should it leave a deadlock, that one is found as another incident.
void Resolution::name_victims(Incident& incident, const detect::Victims& chosen) const {
  incident.why = chosen.why;
  if (chosen.reorder.empty()) incident.victims = chosen.victims;
  for (auto& member : incident.txns)
    member.victim = std::find(incident.victims.begin(), incident.victims.end(), member.txn) != incident.victims.end();
}

// --- Orders ---

void Resolution::open_case(std::uint64_t confirm, Pending pending, Time now) {
  const auto chosen = choose(pending);
  const auto number = ++last_incident_;
  auto incident = describe(pending, chosen, now);
  cases_.emplace(number, Case{.id = incident.id,
                              .reason = "deadlock " + incident.id + ": " + incident.why,
                              .found = pending.found,
                              .waits = touched_by(pending.candidate),
                              .seen = sites_.seen(),
                              .asked_since = pending.asked_since,
                              .informed = pending.informed,
                              .confirm = confirm});
  keep(std::move(incident));
  if (!chosen.reorder.empty()) {
    order_reorders(number, std::move(pending), chosen.reorder, now);
  } else if (chosen.victims.empty()) {
    leave_unresolved(number, pending.candidate, chosen, now);
  } else {
    order_aborts(number, pending.candidate, chosen, now);
  }
  publish(number);
}

detect::Victims Resolution::choose(const Pending& pending) const {
  auto edges = pending.candidate.edges;
  for (auto& e : edges) {
    if (unmovable_.contains({{e.site, e.sequence}, e.blocker})) e.kind = Kind::hard;
  }
  return detect::choose_victims(
      edges, [&](const TxnId& txn) { return info(txn, pending.described); }, options_.policy, options_.weights);
}

/// Nobody may be aborted: the incident is told, and that is all.
void Resolution::leave_unresolved(std::uint64_t number, const detect::Candidate& candidate,
                                  const detect::Victims& chosen, Time now) {
  auto& incident = incidents_.at(number);
  incident.outcome = Incident::Outcome::unresolved;
  step(number, "confirmed; nobody may be aborted: " + listed(chosen.unresolved), now);
  out_.count("incidents_unresolved");
  out_.note(Note::Level::error, "incident " + incident.id + ": a deadlock of " + listed(chosen.unresolved) +
                                    " that may not be aborted; end one of them by hand");
  left_alone_.insert(digest(candidate));  // told once is enough, as long as it stands
  if (!peers_.alone()) peers_.send_to_others(wire::Release{cases_.at(number).confirm});
  cases_.erase(number);
}

void Resolution::order_aborts(std::uint64_t number, const detect::Candidate& candidate, const detect::Victims& chosen,
                              Time now) {
  out_.count("incidents");
  out_.count("victims", chosen.victims.size());
  out_.note(Note::Level::info, "incident " + incidents_.at(number).id + ": deadlock of " + listed(candidate.members()) +
                                   "; victim " + listed(chosen.victims) + ": " + chosen.why);
  step(number, "confirmed by every site; victim " + listed(chosen.victims), now);
  for (const auto& victim : chosen.victims) {
    cases_.at(number).victims[victim] = {};
    condemned_.emplace(victim, number);
  }
  // A deadlock without one of the victims is another one, which these leave as it is: somebody may break it now.
  std::set<std::size_t> owners;
  for (const auto& txn : candidate.members()) owners.insert(peers_.owner(txn));
  for (const auto member : owners)
    if (member != peers_.self()) peers_.send(member, wire::Reserve{cases_.at(number).confirm, chosen.victims});
  for (const auto& victim : chosen.victims) {
    std::set<graph::WaitRef> waits;
    for (const auto& e : candidate.edges) {
      if (e.waiter != victim) continue;
      waits.insert({e.site, e.sequence});
      cases_.at(number).edges.emplace(graph::WaitRef{e.site, e.sequence}, e.blocker);
    }
    for (const auto& wait : waits) give_order(number, victim, wait, wire::Abort::Role::waiting, 0, now);
  }
}

void Resolution::give_order(std::uint64_t incident, const TxnId& victim, graph::WaitRef wait, wire::Abort::Role role,
                            unsigned attempt, Time now) {
  const auto& site = sites_.at(wait.site);
  auto& open = cases_.at(incident);
  auto& state = open.victims.at(victim);
  state.sites.insert(wait.site);
  ++state.open_orders;
  const auto number = ++last_order_;
  orders_.emplace(number, Order{incident, victim, wait, role, attempt, now.steady_us + us(options_.abort_grace)});
  wire::Abort order{epoch_,     site.incarnation, number,
                    open.id,    victim,           wait.sequence,
                    role,       attempt,          static_cast<std::uint64_t>(options_.abort_grace.count()),
                    open.reason};
  if (const auto edge = open.edges.find(wait); edge != open.edges.end() && role == wire::Abort::Role::waiting) {
    order.blocker = edge->second.str();
    order.since = open.asked_since.at(wait);
  } else if (role == wire::Abort::Role::holding) {
    order.blocker = victim.str();
    order.since = open.seen.at(wait.site).number;
  }
  out_.send(site.peer, std::move(order));
  const char* what = role == wire::Abort::Role::waiting ? "abort of " : "release of the locks of ";
  step(incident,
       what + victim.str() + " ordered at site " + site.id.str() +
           (attempt == 0 ? "" : ", attempt " + std::to_string(attempt + 1)),
       now);
}

/// Calls `f(ref)` for the waits of others that this vertex blocks, directly or as member of a holder group, until it says so.
void Resolution::each_blocked(graph::Vertex vertex, const std::function<bool(graph::WaitRef)>& f) const {
  for (const auto edge : graph_.in_edges(vertex)) {
    const auto from = graph_.source(edge);
    if (!graph_.is_group(from)) {
      (void)f(graph_.ref(graph_.wait(edge)));
      continue;
    }
    for (const auto waiting : graph_.in_edges(from))
      if (graph_.source(waiting) != vertex && f(graph_.ref(graph_.wait(waiting)))) break;
  }
}

/// The victim was aborted at one site: its locks must go at every other site where it is known.
void Resolution::order_branches(std::uint64_t incident, const TxnId& victim, Time now) {
  const auto vertex = graph_.find_txn(victim);
  if (!vertex) return;
  const auto& open = cases_.at(incident);
  const auto& state = open.victims.at(victim);
  const auto known = [&](graph::WaitRef ref) {
    return ref.site < open.seen.size() && open.seen[ref.site].incarnation == sites_.at(ref.site).incarnation &&
           ref.sequence <= open.seen[ref.site].sequence;
  };
  std::map<graph::SiteSlot, std::pair<graph::WaitRef, wire::Abort::Role>> branches;
  for (const auto wait : graph_.waits(*vertex)) {
    const auto ref = graph_.ref(wait);
    if (known(ref)) branches.try_emplace(ref.site, ref, wire::Abort::Role::waiting);
  }
  each_blocked(*vertex, [&](graph::WaitRef ref) {
    // That the victim blocks it must have been known, too: its next life may have taken the lock again.
    if (!known(ref) || sites_.edge_number(ref, victim) > open.seen[ref.site].number) return false;
    branches.try_emplace(ref.site, ref, wire::Abort::Role::holding);
    return true;  // one wait of a group is enough
  });
  for (const auto& [slot, branch] : branches) {
    if (!state.sites.contains(slot)) give_order(incident, victim, branch.first, branch.second, 0, now);
  }
}

void Resolution::aborted(const Site& site, const wire::Aborted& reply, Time now) {
  if (const auto found = reorders_.find(reply.order); found != reorders_.end() && found->second.wait.site == site.slot)
    return reordered(reorders_.extract(found).mapped(), reply, now);
  const auto it = orders_.find(reply.order);
  if (it == orders_.end() || it->second.wait.site != site.slot) return out_.count("stale_messages");
  const auto order = std::move(orders_.extract(it).mapped());
  auto& state = cases_.at(order.incident).victims.at(order.victim);
  const bool waiting = order.role == wire::Abort::Role::waiting;
  using Outcome = wire::Aborted::Outcome;
  switch (reply.outcome) {
    case Outcome::done: {
      step(order.incident, order.victim.str() + (waiting ? " aborted" : ": locks free") + " at site " + site.id.str(),
           now);
      const bool first = waiting && !std::exchange(state.aborted, true);
      if (first) {
        out_.count("aborts");
        if (const auto incident = incidents_.find(order.incident); incident != incidents_.end())
          incident->second.resolve_us = now.steady_us - cases_.at(order.incident).found.steady_us;
        order_branches(order.incident, order.victim, now);
        if (!cases_.at(order.incident).leader) ask_for_branches(order.incident, order.victim, now);
      }
      return settle(order, now);
    }
    case Outcome::stale:
      out_.count("aborts_stale");
      step(order.incident, order.victim.str() + ": nothing to do at site " + site.id.str() + ", the wait was over",
           now);
      return settle(order, now);
    case Outcome::failed: return retry_or_give_up(order, reply.text, true, now);
    case Outcome::refused: return retry_or_give_up(order, "refused by the agent, " + reply.text, false, now);
  }
}

void Resolution::retry_or_give_up(const Order& order, const std::string& why, bool may_retry, Time now) {
  const auto& site = sites_.at(order.wait.site).id;
  step(order.incident, order.victim.str() + " not aborted at site " + site.str() + ": " + why, now);
  if (may_retry && order.attempt + 1 < options_.abort_attempts) {
    out_.count("aborts_escalated");
    give_order(order.incident, order.victim, order.wait, order.role, order.attempt + 1, now);
    return settle(order, now);
  }
  out_.count("aborts_failed");
  out_.note(Note::Level::error, "incident " + cases_.at(order.incident).id + ": " + order.victim.str() +
                                    " could not be aborted at site " + site.str() + ": " + why);
  auto& state = cases_.at(order.incident).victims.at(order.victim);
  if (order.role == wire::Abort::Role::waiting && !state.aborted) {
    state.failed = true;
    unabortable_[order.victim] = now.steady_us + spared_graces * us(options_.abort_grace);
    step(order.incident, "another victim will be chosen", now);
  }
  settle(order, now);
}

/// One order is off the list. With the last one of a victim it is no longer condemned, with the last victim the case closes.
void Resolution::settle(const Order& order, Time now) { settle(order.incident, order.victim, now); }

void Resolution::settle(std::uint64_t incident, const TxnId& victim, Time now) {
  const auto& open = cases_.at(incident);
  if (--cases_.at(incident).victims.at(victim).open_orders == 0 && !open.leader) condemned_.erase(victim);
  close_if_settled(incident, now);
}

void Resolution::close_if_settled(std::uint64_t number, Time now) {
  const auto it = cases_.find(number);
  const auto& victims = it->second.victims;
  const bool settled =
      std::all_of(victims.begin(), victims.end(), [](const auto& v) { return v.second.open_orders == 0; });
  if (settled && !it->second.leader) {
    const auto any = [&](bool VictimState::*what) {
      return std::any_of(victims.begin(), victims.end(), [&](const auto& v) { return v.second.*what; });
    };
    incidents_.at(number).outcome = any(&VictimState::failed)    ? Incident::Outcome::failed
                                    : any(&VictimState::aborted) ? Incident::Outcome::resolved
                                                                 : Incident::Outcome::dissolved;
  }
  publish(number);
  if (!settled) return;
  const auto over = std::move(cases_.extract(it).mapped());
  if (over.leader) {
    peers_.send(over.leader->first, wire::BranchesFree{over.confirm, over.victims.begin()->first});
  } else if (!peers_.alone()) {
    peers_.send_to_others(wire::Release{over.confirm});
  }
  reconsider(over.waits, now);
}

}  // namespace gordian::coordinator
