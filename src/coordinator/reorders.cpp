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

void Resolution::order_reorders(std::uint64_t number, Pending pending,
                                const std::vector<detect::CandidateEdge>& reorder, Time now) {
  out_.count("incidents");
  out_.note(Note::Level::info, "incident " + cases_.at(number).id + ": a deadlock through queues, " +
                                   std::to_string(reorder.size()) + " to be reordered, nobody to be aborted");
  for (const auto& txn : pending.candidate.members()) busy_.insert(txn);
  cases_.at(number).reordering = Case::Reordering{std::move(pending)};
  step(number, "confirmed by every site; no victim, queues are reordered", now);
  std::set<std::pair<graph::WaitRef, TxnId>> given;  // a wait may be behind one by name and as a member
  for (const auto& e : reorder) {
    const graph::WaitRef wait{e.site, e.sequence};
    if (given.emplace(wait, e.blocker).second) give_order({number, wait, e.waiter, e.blocker, 0, 0}, now);
  }
}

void Resolution::give_order(ReorderOrder order, Time now) {
  const auto& site = sites_.at(order.wait.site);
  auto& open = cases_.at(order.incident);
  ++open.reordering->open_orders;
  order.deadline_us = now.steady_us + us(options_.abort_grace);
  const auto number = ++last_order_;
  out_.send(site.peer,
            wire::Reorder{epoch_, site.incarnation, number, open.id, order.wait.sequence, order.blocker, order.attempt,
                          static_cast<std::uint64_t>(options_.abort_grace.count()), open.reason});
  step(order.incident,
       "reorder at site " + site.id.str() + " ordered: " + order.waiter.str() + " ahead of " + order.blocker.str() +
           (order.attempt == 0 ? "" : ", attempt " + std::to_string(order.attempt + 1)),
       now);
  reorders_.emplace(number, std::move(order));
}

void Resolution::reordered(const ReorderOrder& order, const wire::Aborted& reply, Time now) {
  const auto& site = sites_.at(order.wait.site);
  using Outcome = wire::Aborted::Outcome;
  switch (reply.outcome) {
    case Outcome::done:
      out_.count("reorders");
      step(order.incident,
           "reordered at site " + site.id.str() + ": " + order.waiter.str() + " ahead of " + order.blocker.str(), now);
      ++cases_.at(order.incident).reordering->done;
      for (auto& edge : incidents_.at(order.incident).edges)
        if (edge.wait == WaitId{site.id, site.incarnation, order.wait.sequence} && edge.blocker == order.blocker)
          edge.reordered = edge.kind == Kind::soft;
      return settle(order, now);
    case Outcome::stale:
      out_.count("reorders_stale");
      step(order.incident,
           "nothing to reorder at site " + site.id.str() + ": " + order.waiter.str() + " is not behind " +
               order.blocker.str() + " any more",
           now);
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
    auto again = order;
    ++again.attempt;
    give_order(std::move(again), now);
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
  auto reordering = *std::exchange(cases_.at(number).reordering, std::nullopt);
  auto& pending = reordering.pending;
  for (const auto& txn : pending.candidate.members()) busy_.erase(txn);
  const auto& seen = cases_.at(number).seen;
  const bool same_lives =
      std::ranges::all_of(pending.questions, [&](const auto& asked) {  // of the agents that confirmed it
        return asked.first < seen.size() && seen[asked.first].incarnation == sites_.at(asked.first).incarnation;
      });
  if (reordering.failed && same_lives && stands(pending)) {
    for (auto& e : pending.candidate.edges)
      if (e.kind == Kind::soft) e.kind = Kind::hard;
    const auto chosen = choose(pending);
    name_victims(incidents_.at(number), chosen);
    cases_.at(number).reason = "deadlock " + cases_.at(number).id + ": " + chosen.why;
    if (chosen.victims.empty()) {
      leave_unresolved(number, pending.candidate, chosen, now);
    } else {
      order_aborts(number, pending.candidate, chosen, now);
    }
    return reconsider({}, now);
  }
  auto& incident = incidents_.at(number);
  const bool any = reordering.done > 0;
  incident.outcome = any ? Incident::Outcome::resolved : Incident::Outcome::dissolved;
  const auto over = std::move(cases_.extract(number).mapped());
  if (any) incident.resolve_us = now.steady_us - over.found.steady_us;
  if (!peers_.alone()) peers_.send_to_others(wire::Release{over.confirm});
  reconsider(over.waits, now);
}

}  // namespace gordian::coordinator
