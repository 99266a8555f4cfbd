// Calls of the lock client: taking locks step by step, giving them back, giving up.
#include <algorithm>

#include "lease/client_core.hpp"
#include "lease/client_errors.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;

// The agent measures the wait itself; only if it says nothing for so long after the deadline the client gives up alone.
constexpr Micros timeout_slack_us = 100'000;

}  // namespace

CallKey ClientCore::new_call(TxnKey txn_key, bool locks) {
  const CallKey key{++last_key_};
  calls_.emplace(key, Call{.txn = txn_key, .locks = locks, .timer = timers_.end()});
  if (Txn* txn = find(txn_key)) txn->calls.push_back(key);
  return key;
}

CallKey ClientCore::refuse(CallKey key, LockError error) {
  complete(key, tl::unexpected(std::move(error)));
  return key;
}

/// The call's one answer; later ones are ignored.
void ClientCore::complete(CallKey key, tl::expected<std::vector<Grant>, LockError> result) {
  const auto found = calls_.find(key);
  if (found == calls_.end()) return;
  disarm(found->second.timer);
  if (Txn* txn = find(found->second.txn)) std::erase(txn->calls, key);
  calls_.erase(found);
  output_.emplace_back(CallDone{key, std::move(result)});
}

/// What it took already is given back, what it asks for is withdrawn.
void ClientCore::fail(CallKey key, LockError error, Micros now) {
  const auto found = calls_.find(key);
  if (found == calls_.end()) return;
  if (found->second.locks) {
    abandon(key, found->second, now);
    if (Txn* txn = find(found->second.txn)) undo(*txn, found->second.got, now);
  }
  complete(key, tl::unexpected(std::move(error)));
}

/// The caller gives up. Whether its transaction still has what it holds, the agent has to say: it may have become a victim
/// while it waited. One that holds nothing has nothing to lose, and need not wait for that.
void ClientCore::withdraw(CallKey key, LockError error, Micros now) {
  const auto found = calls_.find(key);
  if (found == calls_.end() || found->second.withdrawn) return;
  Call& call = found->second;
  const Txn& txn = txns_.at(call.txn);
  const bool holds = !held(txn.key).empty();
  Lease* lease =
      call.step < call.steps.size() ? lease_of(sessions_.at(txn.session), call.steps[call.step].agent) : nullptr;
  const auto pending = lease != nullptr ? lease->pending.find(call.request) : std::map<Number, Pending>::iterator{};
  if (!holds || lease == nullptr || pending == lease->pending.end() || !pending->second.sent)
    return fail(key, std::move(error), now);
  call.withdrawn = std::move(error);
  pending->second.made = now;  // from here on the agent owes an answer
  pending->second.interval = resend_first(*lease);
  send_cancel(*lease, pending->first, pending->second, now);
  arm(*lease, pending->first, pending->second, now);
}

bool ClientCore::withdrawn(const Pending& pending) const {
  const auto call = calls_.find(pending.call);
  return call != calls_.end() && call->second.withdrawn;
}

void ClientCore::abandon(CallKey key, Call& call, Micros now) {
  if (call.step >= call.steps.size()) return;
  Txn& txn = txns_.at(call.txn);
  Lease* lease = lease_of(sessions_.at(txn.session), call.steps[call.step].agent);
  if (lease == nullptr) return;
  const auto found = lease->pending.find(call.request);
  if (found == lease->pending.end() || found->second.call != key) return;
  Pending& pending = found->second;
  if (!pending.sent) {
    std::erase(branch_of(txn, lease->agent).deferred, call.request);
    return drop_pending(*lease, call.request);
  }
  if (std::exchange(pending.waiting, false)) --lease->uses;
  pending.call = {};
  pending.abandoned = true;
  if (!txn.over) send_cancel(*lease, found->first, pending, now);
}

void ClientCore::cancel(CallKey key, Micros now) {
  advance(now);
  const auto found = calls_.find(key);
  if (found != calls_.end() && found->second.locks)
    withdraw(key, make_error(Code::cancelled, "withdrawn by the caller"), now);
}

void ClientCore::cancel_all(TxnKey key, Micros now) {
  advance(now);
  if (const Txn* txn = find(key))
    for (const auto calls = txn->calls; const CallKey call : calls) cancel(call, now);
}

// --- Taking ---

CallKey ClientCore::lock(TxnKey txn_key, std::span<const LockItem> items, const LockTerms& terms, Micros now) {
  advance(now);
  const CallKey key = new_call(txn_key, true);
  Txn* txn = find(txn_key);
  if (txn == nullptr || txn->over) return refuse(key, *error(txn_key));
  if (calls_.size() > settings_.limits.pending_requests)
    return refuse(key, make_error(Code::limit, std::to_string(calls_.size() - 1) +
                                                   " requests are pending; see LockClientLimits::pending_requests"));
  auto steps = plan(items, terms);
  if (!steps) return refuse(key, std::move(steps.error()));
  Call& call = calls_.at(key);
  call.steps = std::move(*steps);
  call.need = terms.need;
  if (const auto& wait = terms.options.wait) {
    call.may_wait = wait->count() > 0;
    if (call.may_wait) {
      // Longer than a hundred years is without end.
      call.deadline = now + std::min<Micros>(wait->count(), Micros{1} << 51);
      arm(call.timer, call.deadline + timeout_slack_us, {.of = Timer::Of::call, .number = static_cast<Number>(key)});
    }
  }
  start_step(key, call, *txn, now);
  return key;
}

void ClientCore::start_step(CallKey key, Call& call, Txn& txn, Micros now) {
  const Step& step = call.steps[call.step];
  Lease& lease = lease_for(txn.session, sessions_.at(txn.session), step.agent);
  begin_at(lease, txn, branch_of(txn, step.agent), now);
  wire::LockRequest request{.id = {lease.number, 0, 0},
                            .txn = txn.id,
                            .start = txn.options.start,
                            .wait_us = {},
                            .scheme = step.scheme,
                            .need = call.need,
                            .items = {}};
  const bool path = step.scheme == wire::LockRequest::Scheme::path;
  for (const Part& part : std::span(step.parts).last(path ? 1 : step.parts.size()))
    request.items.push_back({part.name, std::string(settings_.modes.name(part.mode))});
  call.request = post(lease, std::move(request), txn.key, key, now);
}

/// The transaction is known to the agent from now on; described, if there is something to say.
void ClientCore::begin_at(Lease& lease, Txn& txn, Branch& branch, Micros now) {
  if (std::exchange(branch.begun, true)) return;
  if (branch.first == 0) branch.first = lease.next_request;
  const auto& o = txn.options;
  if (o.priority == 0 && o.restarts == 0 && o.label.empty() && !o.strategy) return;
  post(lease,
       wire::BeginRequest{{lease.number, 0, 0},
                          txn.id,
                          o.start,
                          o.priority,
                          o.restarts,
                          o.strategy ? std::string(gordian::name(*o.strategy)) : std::string(),
                          o.label},
       txn.key, {}, now);
}

ClientCore::Branch& ClientCore::branch_of(Txn& txn, std::size_t agent) {
  for (Branch& branch : txn.branches)
    if (branch.agent == agent) return branch;
  return txn.branches.emplace_back(Branch{.agent = agent});
}

// --- Giving back ---

tl::expected<ClientCore::Branch*, LockError> ClientCore::holder_of(TxnKey key, const Grant& grant) {
  if (auto over = error(key)) return tl::unexpected(std::move(*over));
  const auto agent = agent_named(grant.site);
  if (!agent) return tl::unexpected(agent.error());
  Branch& branch = branch_of(*find(key), *agent);
  const auto hold = branch.holds.find(grant.name);
  const bool held =
      hold != branch.holds.end() && hold->second.count > 0 &&
      (grant.fence == Fence{} || (grant.fence >= hold->second.first && grant.fence <= hold->second.fence));
  if (!held)
    return tl::unexpected(make_error(
        Code::not_held,
        "transaction " + id(key).str() + " does not hold that lock (any more) under the fence of this grant"));
  return &branch;
}

CallKey ClientCore::unlock(TxnKey key, const Grant& grant, Micros now) {
  advance(now);
  const CallKey call = new_call(key, false);
  const auto branch = holder_of(key, grant);
  if (!branch) return refuse(call, branch.error());
  Txn& txn = txns_.at(key);
  give_back(*lease_of(sessions_.at(txn.session), (*branch)->agent), txn, **branch, grant.name, call, now);
  return call;
}

CallKey ClientCore::downgrade(TxnKey key, const Grant& grant, Mode mode, Micros now) {
  advance(now);
  const CallKey call = new_call(key, false);
  const auto branch = holder_of(key, grant);
  if (!branch) return refuse(call, branch.error());
  if (index(mode) >= settings_.modes.size())
    return refuse(call,
                  make_error(Code::invalid, "mode " + std::to_string(index(mode)) + " is none of the client's modes"));
  if (const Hold& hold = (*branch)->holds.find(grant.name)->second; !settings_.modes.covers(hold.mode, mode))
    return refuse(call,
                  make_error(Code::not_held, "held in " + std::string(settings_.modes.name(hold.mode)) +
                                                 ", which does not cover " + std::string(settings_.modes.name(mode))));
  Txn& txn = txns_.at(key);
  if (asks_for(txn, (*branch)->agent, grant.name))
    return refuse(call, make_error(Code::invalid, "another call of transaction " + txn.id.str() +
                                                      " is asking for that resource; wait for it, or cancel it"));
  lower(*lease_of(sessions_.at(txn.session), (*branch)->agent), txn, **branch, grant.name, mode, call, now);
  return call;
}

/// Whether a lock request for `name` is under way: it may have been granted, in a mode that is not known here yet.
bool ClientCore::asks_for(const Txn& txn, std::size_t agent, const std::string& name) {
  const Lease* lease = lease_of(sessions_.at(txn.session), agent);
  return std::any_of(txn.requests.begin(), txn.requests.end(), [&](const auto& entry) {
    if (entry.first != agent) return false;
    const auto* lock = std::get_if<wire::LockRequest>(&lease->pending.at(entry.second).body);
    if (lock == nullptr) return false;
    const auto parts = parts_of(*lock);
    return std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; });
  });
}

void ClientCore::give_back(Lease& lease, Txn& txn, Branch& branch, const std::string& name, CallKey call, Micros now) {
  Hold& hold = branch.holds.find(name)->second;
  if (--hold.count == 0) --lease.uses;
  ++hold.changing, ++branch.changing;
  post(lease, wire::UnlockRequest{{lease.number, 0, 0}, txn.id, name, {hold.fence.epoch, hold.fence.counter}, false},
       txn.key, call, now);
}

/// Whether or not the agent knows already: from now on it is only held in the weaker mode.
void ClientCore::lower(Lease& lease, Txn& txn, Branch& branch, const std::string& name, Mode mode, CallKey call,
                       Micros now) {
  Hold& hold = branch.holds.find(name)->second;
  hold.mode = mode;
  ++hold.changing, ++branch.changing;
  post(lease, wire::DowngradeRequest{{lease.number, 0, 0}, txn.id, name, std::string(settings_.modes.name(mode))},
       txn.key, call, now);
}

/// Of a call that did not get all it wanted: what it took is given back, what it raised is lowered.
void ClientCore::undo(Txn& txn, const std::vector<Got>& got, Micros now) {
  if (txn.over) return;  // its end releases everything
  for (auto it = got.rbegin(); it != got.rend(); ++it) {
    const auto agent = agent_named(it->grant.site);
    Branch& branch = branch_of(txn, *agent);
    Lease* lease = lease_of(sessions_.at(txn.session), *agent);
    const auto hold = branch.holds.find(it->grant.name);
    if (lease == nullptr || hold == branch.holds.end() || hold->second.count == 0) continue;
    const bool raised =
        it->before && hold->second.mode != *it->before && settings_.modes.covers(hold->second.mode, *it->before);
    give_back(*lease, txn, branch, it->grant.name, {}, now);
    if (raised && hold->second.count > 0) lower(*lease, txn, branch, it->grant.name, *it->before, {}, now);
  }
}

}  // namespace gordian::lease
