// Leases of the lock client: opening, renewing, running out; and agents that were started again.
#include <algorithm>

#include "lease/client_core.hpp"
#include "lease/client_errors.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;
using Level = LockClientOptions::Level;

constexpr Micros close_again_us = 500'000;
constexpr Micros margin_min_us = 10'000;

Micros renew_every(Micros ttl_us) { return ttl_us / 3; }
Micros retry_every(Micros ttl_us) { return ttl_us / 10; }

/// Renewals that are due at about the same time fall on the same point of a grid, so that one message carries them all.
Micros on_grid(Micros due, Micros ttl_us) { return due - due % (ttl_us / 12); }

}  // namespace

ClientCore::Lease* ClientCore::lease_of(const Session& session, std::size_t agent) {
  for (Lease* lease : session.leases)
    if (lease->agent == agent) return lease;
  return nullptr;
}

ClientCore::Number ClientCore::new_number() {
  for (;;) {
    const Number number = settings_.draw() >> 1;  // 63 bits: every language can hold it
    const auto taken = [number](const Agent& agent) { return agent.leases.contains(number); };
    if (number != 0 && std::none_of(agents_.begin(), agents_.end(), taken)) return number;
  }
}

ClientCore::Lease& ClientCore::lease_for(SessionKey key, Session& session, std::size_t agent) {
  if (Lease* lease = lease_of(session, agent)) return *lease;
  const Number number = new_number();
  Lease& lease = agents_[agent]
                     .leases
                     .emplace(number, Lease{.number = number,
                                            .session = key,
                                            .agent = agent,
                                            .ttl_us = session.ttl_us,
                                            .margin_us = std::max(session.ttl_us / 50, margin_min_us),
                                            .timer = timers_.end()})
                     .first->second;
  session.leases.push_back(&lease);
  ask_again(lease, agents_[agent].opens, never);
  return lease;
}

/// Puts the lease into one of its agent's lists; it is due again at `next`, unless it is sent before.
void ClientCore::ask_again(Lease& lease, std::vector<Number>& list, Micros next) {
  lease.try_at = next;
  if (!std::exchange(lease.queued, true)) list.push_back(lease.number);
}

void ClientCore::arm(Lease& lease) {
  Micros due = lease.try_at;
  if (lease.state != Lease::State::closing) {
    due = std::min(due, lease.deadline());
    if (lease.state == Lease::State::open && lease.uses > 0 && !sessions_.at(lease.session).in_jeopardy)
      due = std::min(due, lease.proven + lease.ttl_us * 2 / 3);
  }
  if (due == never) return disarm(lease.timer);
  if (lease.timer == timers_.end() || lease.timer->first != due)
    arm(lease.timer, due, {.of = Timer::Of::lease, .agent = lease.agent, .number = lease.number});
}

void ClientCore::on_due(Lease& lease, Micros now) {
  Agent& agent = agents_[lease.agent];
  const Micros retry = now + retry_every(lease.ttl_us);
  if (lease.state == Lease::State::closing) {
    if (now >= lease.closing_since + settings_.reply_limit_us) return erase(lease);
    ask_again(lease, agent.closes, now + close_again_us);
    return arm(lease);
  }
  if (lease.deadline() <= now)
    return lapse(lease, "no renewal was answered by site " + site_name(lease.agent) + " for the whole time to live",
                 now);
  check_jeopardy(lease, now);
  if (lease.try_at <= now) {
    if (lease.state == Lease::State::open) {
      ask_again(lease, agent.renews, retry);
    } else {
      ask_again(lease, agent.opens, retry);
    }
  }
  arm(lease);
}

void ClientCore::check_jeopardy(Lease& lease, Micros now) {
  Session& session = sessions_.at(lease.session);
  if (lease.uses == 0 || session.in_jeopardy || now < lease.proven + lease.ttl_us * 2 / 3) return;
  session.in_jeopardy = true;
  output_.emplace_back(SessionInJeopardy{lease.session, lease.deadline() - now});
}

/// The agent answered what was sent at `sent`.
void ClientCore::confirm(Lease& lease, Micros sent) {
  lease.proven = lease.proven == never ? sent : std::max(lease.proven, sent);
  lease.try_at = on_grid(lease.proven + renew_every(lease.ttl_us), lease.ttl_us);
  sessions_.at(lease.session).in_jeopardy = false;
  arm(lease);
}

/// Its deadline has passed, or the agent says that it is over.
void ClientCore::lapse(Lease& lease, const std::string& why, Micros now) {
  Session& session = sessions_.at(lease.session);
  if (lease.uses > 0) {
    const SessionKey key = lease.session;
    give_up(key, session, make_error(Code::lease_lost, "the session's lease ran out: " + why), now, true);
    return forget_if_done(key);
  }
  log(Level::info, "an idle lease at site " + site_name(lease.agent) + " ran out: " + why);
  for (const TxnKey key : session.txns)
    for (Branch& branch : txns_.at(key).branches)
      if (branch.agent == lease.agent) branch.begun = false, branch.first = 0;
  renumber(lease);
  if (lease.pending.empty()) erase(lease);
}

/// What is still asked for goes out again under another number; what gave something back has nothing to give back any more.
void ClientCore::renumber(Lease& lease) {
  Agent& agent = agents_[lease.agent];
  if (lease.opened_at != 0) agent.closes.push_back(lease.number);
  auto former = std::exchange(lease.pending, {});
  auto node = agent.leases.extract(lease.number);
  node.key() = lease.number = new_number();
  agent.leases.insert(std::move(node));
  lease.state = Lease::State::opening;
  lease.opened_at = 0, lease.proven = never, lease.capped = never, lease.reclaims = 0, lease.next_request = 1;
  lease.queued = false;
  ask_again(lease, agent.opens, never);
  arm(lease);
  for (auto& [number, pending] : former) {
    disarm(pending.timer);
    forget_request(pending.txn, lease.agent, number);
    auto* lock = std::get_if<wire::LockRequest>(&pending.body);
    if (lock != nullptr && pending.call != CallKey{}) {
      Txn& txn = txns_.at(pending.txn);
      Branch& branch = branch_of(txn, lease.agent);
      std::erase(branch.deferred, number);
      begin_at(lease, txn, branch, pending.made);
      lock->id.session = lease.number;
      calls_.at(pending.call).request = post(lease, std::move(*lock), pending.txn, pending.call, pending.made);
      continue;
    }
    const CallKey call = caller_of(pending);
    if (call != CallKey{})
      complete(call, tl::unexpected(make_error(Code::unreachable, "site " + site_name(lease.agent) +
                                                                      " did not answer while the lease lasted")));
    if (std::holds_alternative<wire::EndRequest>(pending.body)) on_ended(pending);
  }
}

void ClientCore::erase(Lease& lease) {
  const SessionKey key = lease.session;
  disarm(lease.timer);
  for (auto& [number, pending] : lease.pending) disarm(pending.timer);
  if (Session* session = find(key)) std::erase(session->leases, &lease);
  agents_[lease.agent].leases.erase(lease.number);
  forget_if_done(key);
}

/// The session is over: the agent is told until it says so, or until nobody listens.
void ClientCore::close(Lease& lease, Micros now) {
  for (auto& [number, pending] : lease.pending) disarm(pending.timer);
  lease.pending.clear();
  lease.uses = 0;
  if (lease.opened_at == 0) return erase(lease);
  lease.state = Lease::State::closing;
  lease.closing_since = now;
  lease.queued = false;
  ask_again(lease, agents_[lease.agent].closes, now + close_again_us);
  arm(lease);
}

// --- An agent that was started again ---

void ClientCore::note_incarnation(Agent& agent, Number incarnation, Micros now) {
  if (std::exchange(agent.incarnation, incarnation) == incarnation) return;
  std::vector<Number> stale;
  for (const auto& [number, lease] : agent.leases)
    if (lease.state == Lease::State::open && lease.incarnation != incarnation) stale.push_back(number);
  if (stale.empty()) return;
  log(Level::warn, "the agent of site " + agent.site.str() + " was started again; reclaiming what is held there");
  for (const Number number : stale) reopen(agent.leases.at(number), now);
}

void ClientCore::reopen(Lease& lease, Micros now) {
  lease.state = Lease::State::reopening;
  lease.capped = std::min(lease.capped, lease.deadline());
  lease.opened_at = 0;
  lease.queued = false;
  ask_again(lease, agents_[lease.agent].opens, now + retry_every(lease.ttl_us));
  arm(lease);
}

/// The agent knows the session again: it is told what is held, and asked again for what is waited for.
void ClientCore::reclaim(Lease& lease, Micros now) {
  settle_former_life(lease);
  lease.state = Lease::State::open;  // from here on requests are sent, in this order
  lease.reclaims = 0;
  Session& session = sessions_.at(lease.session);
  for (const TxnKey key : session.txns) {
    Txn& txn = txns_.at(key);
    for (Branch& branch : txn.branches) {
      if (branch.agent != lease.agent || !std::exchange(branch.begun, false) || txn.over) continue;
      begin_at(lease, txn, branch, now);
      reclaim(lease, txn, branch, now);
    }
  }
  if (lease.reclaims == 0) lease.capped = never;
  for (auto& [number, pending] : lease.pending)
    if (!pending.queued && !pending.deferred) queue(lease, number, pending);
}

void ClientCore::reclaim(Lease& lease, Txn& txn, const Branch& branch, Micros now) {
  const auto send = [&](std::vector<wire::HeldLock> holds) {
    post(lease, wire::ReclaimRequest{{lease.number, 0, 0}, txn.id, txn.options.start, std::move(holds)}, txn.key, {},
         now);
    ++lease.reclaims;
    ++counters_.reclaims;
  };
  // So many that neither the list nor the message grows too long, whatever the names.
  constexpr std::size_t holds_max = 2'000;
  std::vector<wire::HeldLock> holds;
  for (const auto& [name, hold] : branch.holds) {
    if (hold.count == 0) continue;
    holds.push_back(
        {name, std::string(settings_.modes.name(hold.mode)), hold.count, {hold.fence.epoch, hold.fence.counter}});
    if (holds.size() == holds_max) send(std::exchange(holds, {}));
  }
  if (!holds.empty()) send(std::move(holds));
}

/// Sorts what the agent's former life was asked and has not answered. Locks, downgrades, ends, and unlocks of what is held no
/// more are asked again. An unlock of what is still held (taken several times) is done: so many less are reclaimed.
void ClientCore::settle_former_life(Lease& lease) {
  const wire::LockReply done{lease.number, 0, wire::LockStatus::done, {}, {}, {}};
  std::vector<Number> unlocked, over;
  for (auto& [number, pending] : lease.pending) {
    if (std::exchange(pending.waiting, false)) --lease.uses;
    pending.cancelling = false;
    pending.former_life = true;
    if (const auto* unlock = std::get_if<wire::UnlockRequest>(&pending.body)) {
      const auto& holds = branch_of(txns_.at(pending.txn), lease.agent).holds;
      const auto hold = holds.find(unlock->name);
      if (hold != holds.end() && hold->second.count > 0) unlocked.push_back(number);
    } else if (pending.abandoned || std::holds_alternative<wire::CancelRequest>(pending.body) ||
               std::holds_alternative<wire::BeginRequest>(pending.body) ||
               std::holds_alternative<wire::ReclaimRequest>(pending.body)) {
      over.push_back(number);
    }
  }
  for (const Number number : unlocked) finish(lease, number, done, 0);
  for (const Number number : over) drop_pending(lease, number);
}

void ClientCore::drop_pending(Lease& lease, Number request) {
  const auto found = lease.pending.find(request);
  if (found == lease.pending.end()) return;
  disarm(found->second.timer);
  if (found->second.waiting) --lease.uses;
  forget_request(found->second.txn, lease.agent, request);
  lease.pending.erase(found);
}

// --- Messages about leases ---

void ClientCore::on(Agent& agent, const wire::SessionOpened& message, Micros now) {
  const auto found = agent.leases.find(message.session);
  if (found == agent.leases.end() || found->second.state == Lease::State::closing) return;
  Lease& lease = found->second;
  if (lease.state != Lease::State::open && lease.opened_at != 0) {
    const bool again = lease.state == Lease::State::reopening;
    if (again && lease.incarnation == message.incarnation)
      return lapse(lease, "site " + agent.site.str() + " had forgotten it", now);
    if (!again) lease.state = Lease::State::open;
    lease.incarnation = message.incarnation;
    if (message.ttl_ms > 0)
      lease.ttl_us = std::min(lease.ttl_us, static_cast<Micros>(std::min<Number>(message.ttl_ms, 3'600'000)) * 1000);
    if (lease.queued) std::erase(agent.opens, lease.number), lease.queued = false;
    confirm(lease, lease.opened_at);
    if (again) reclaim(lease, now);
    arm(lease);
  }
  note_incarnation(agent, message.incarnation, now);
}

void ClientCore::on(Agent& agent, const wire::Renewed& message, Micros now) {
  note_incarnation(agent, message.incarnation, now);
  const auto found = agent.renewals.find(message.stamp);
  if (found == agent.renewals.end()) return;
  const Renewal renewal = std::move(found->second);
  agent.renewals.erase(found);
  const std::set<Number> unknown(message.unknown.begin(), message.unknown.end());
  for (const Number number : renewal.leases) {
    const auto lease = agent.leases.find(number);
    if (lease == agent.leases.end() || lease->second.state != Lease::State::open) continue;
    if (unknown.contains(number)) {
      reopen(lease->second, now);
    } else if (lease->second.incarnation == message.incarnation) {
      confirm(lease->second, renewal.sent);
    }
  }
}

void ClientCore::on(Agent& agent, const wire::SessionEnded& message, Micros now) {
  using Why = wire::SessionEnded::Why;
  const auto found = agent.leases.find(message.session);
  if (found == agent.leases.end()) return;
  Lease& lease = found->second;
  if (lease.state == Lease::State::closing) return erase(lease);
  if (message.why == Why::unknown) {
    if (lease.state == Lease::State::open) return reopen(lease, now);
    return;  // the OpenSession on its way, or its repetition, puts it right
  }
  if (message.why != Why::refused) return lapse(lease, "site " + agent.site.str() + " says so: " + message.text, now);
  // Refused: it will not be otherwise if we ask again.
  const auto refused = make_error(Code::limit, "site " + agent.site.str() + " refused the session: " + message.text);
  if (lease.uses > 0) return lapse(lease, refused.message, now);
  std::vector<CallKey> calls;
  for (const auto& [number, pending] : lease.pending)
    if (pending.call != CallKey{}) calls.push_back(pending.call);
  for (const CallKey call : calls) fail(call, refused, now);
  lapse(lease, refused.message, now);
}

}  // namespace gordian::lease
