// Deadlocks that end without a victim: waits that are only queued behind others are let past them. Where that does not work,
// orders.cpp breaks them as if who is queued ahead held the lock.
#include <algorithm>
#include <utility>

#include "coordinator/resolution.hpp"

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

// How long a queue that could not be reordered is taken for one that never is, counted in abort graces.
constexpr std::int64_t unmovable_graces = 10;

}  // namespace

void Resolution::order_reorders(std::uint64_t number, detect::Candidate candidate,
                                const std::vector<detect::CandidateEdge>& reorder, Time now) {
  out_.count("incidents");
  auto& incident = incidents_.at(number);
  out_.note(Note::Level::info, "incident " + incident.id + ": a deadlock through queues, " +
                                   std::to_string(reorder.size()) + " to be reordered, nobody to be aborted");
  for (const auto& txn : candidate.members()) busy_.insert(txn);
  cases_.at(number).reordering = Case::Reordering{std::move(candidate)};
  step(number, "confirmed by every site; no victim, queues are reordered", now);
  std::set<std::pair<graph::WaitRef, TxnId>> wanted;  // a wait may be behind one by name and as a member
  for (const auto& e : reorder) wanted.emplace(graph::WaitRef{e.site, e.sequence}, e.blocker);
  for (const auto& [wait, blocker] : wanted) give_order(number, wait, blocker, 0, now);
}

void Resolution::give_order(std::uint64_t incident, graph::WaitRef wait, const TxnId& blocker, unsigned attempt,
                            Time now) {
  const auto& site = sites_.at(wait.site);
  ++cases_.at(incident).reordering->open_orders;
  const auto number = ++last_order_;
  reorders_.emplace(number, ReorderOrder{incident, wait, blocker, attempt, now.steady_us + us(options_.abort_grace)});
  const auto& story = incidents_.at(incident);
  out_.send(site.peer, wire::Reorder{epoch_, site.incarnation, number, story.id, wait.sequence, blocker, attempt,
                                     static_cast<std::uint64_t>(options_.abort_grace.count()),
                                     "deadlock " + story.id + ": " + story.why});
  const auto* standing = sites_.find(wait);
  const auto who = standing != nullptr ? standing->wait.waiter.str() : "wait " + std::to_string(wait.sequence);
  step(incident,
       "reorder at site " + site.id.str() + " ordered: " + who + " ahead of " + blocker.str() +
           (attempt == 0 ? "" : ", attempt " + std::to_string(attempt + 1)),
       now);
}

void Resolution::reordered(const ReorderOrder& order, const wire::Aborted& reply, Time now) {
  const auto& site = sites_.at(order.wait.site);
  using Outcome = wire::Aborted::Outcome;
  switch (reply.outcome) {
    case Outcome::done:
      out_.count("reorders");
      step(order.incident, "reordered at site " + site.id.str() + ": ahead of " + order.blocker.str(), now);
      ++cases_.at(order.incident).reordering->done;
      for (auto& edge : incidents_.at(order.incident).edges)
        if (edge.wait == WaitId{site.id, site.incarnation, order.wait.sequence} && edge.blocker == order.blocker)
          edge.reordered = edge.kind == Kind::soft;
      return settle(order, now);
    case Outcome::stale:
      out_.count("reorders_stale");
      step(order.incident,
           "nothing to reorder at site " + site.id.str() + ": not behind " + order.blocker.str() + " any more", now);
      // It says so, and reports otherwise: ordered once more it would say the same.
      if (const auto wait = graph_.find_wait(order.wait); wait && graph_.waits_for(*wait, order.blocker))
        unmovable_[{order.wait, order.blocker}] = now.steady_us + unmovable_graces * us(options_.abort_grace);
      return settle(order, now);
    case Outcome::failed: return reorder_failed(order, reply.text, now);
    case Outcome::refused: return reorder_failed(order, "refused by the agent, " + reply.text, now);
  }
}

void Resolution::reorder_failed(const ReorderOrder& order, const std::string& why, Time now) {
  out_.count("reorders_failed");
  step(order.incident, "not reordered at site " + sites_.at(order.wait.site).id.str() + ": " + why, now);
  unmovable_[{order.wait, order.blocker}] = now.steady_us + unmovable_graces * us(options_.abort_grace);
  cases_.at(order.incident).reordering->failed = true;
  settle(order, now);
}

void Resolution::drop_reorders(graph::SiteSlot site, Time now) {
  std::vector<ReorderOrder> lost;
  std::erase_if(reorders_, [&](const auto& entry) {
    if (entry.second.wait.site != site) return false;
    lost.push_back(entry.second);
    return true;
  });
  for (const auto& order : lost) {
    step(order.incident, "not reordered at site " + sites_.at(site).id.str() + ": its agent is gone", now);
    settle(order, now);
  }
}

void Resolution::repeat_late_reorders(Time now) {
  std::vector<ReorderOrder> late;
  std::erase_if(reorders_, [&](const auto& entry) {
    if (entry.second.deadline_us > now.steady_us) return false;
    late.push_back(entry.second);
    return true;
  });
  for (const auto& order : late) {
    if (order.attempt + 1 >= options_.abort_attempts) {
      reorder_failed(order, "no answer in time", now);
      continue;
    }
    give_order(order.incident, order.wait, order.blocker, order.attempt + 1, now);
    settle(order, now);
  }
}

void Resolution::settle(const ReorderOrder& order, Time now) {
  if (--cases_.at(order.incident).reordering->open_orders == 0) end_reordering(order.incident, now);
  publish(order.incident);
}

/// All orders are answered. What could not be reordered is broken by an abort, if it still stands as it was confirmed; what
/// is left otherwise is searched for again.
void Resolution::end_reordering(std::uint64_t number, Time now) {
  auto& open = cases_.at(number);
  auto reordering = *std::exchange(open.reordering, std::nullopt);
  release(reordering.candidate);
  auto& edges = reordering.candidate.edges;
  auto& incident = incidents_.at(number);
  if (reordering.failed && std::all_of(edges.begin(), edges.end(), [&](const auto& e) { return stands(e); })) {
    for (auto& e : edges)
      if (e.kind == Kind::soft) e.kind = Kind::hard;
    const auto chosen = choose(reordering.candidate);
    name_victims(incident, chosen);
    if (chosen.victims.empty()) {
      leave_unresolved(number, reordering.candidate, chosen, now);
    } else {
      order_aborts(number, reordering.candidate, chosen, now);
    }
    return reconsider({}, now);
  }
  const bool any = reordering.done > 0;
  incident.outcome = any ? Incident::Outcome::resolved : Incident::Outcome::dissolved;
  if (any) incident.resolve_us = now.steady_us - open.found.steady_us;
  const auto waits = std::move(open.waits);
  cases_.erase(number);
  reconsider(waits, now);
}

}  // namespace gordian::coordinator
