// Requests of the lock client from their first sending to their final answer.
#include <algorithm>

#include "lease/client_core.hpp"
#include "lease/client_errors.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;
using Level = LockClientOptions::Level;

}  // namespace

ClientCore::Number ClientCore::post(Lease& lease, wire::LockServiceRequest body, TxnKey txn_key, CallKey call,
                                    Micros now) {
  const Number request = lease.next_request++;
  std::visit([&](auto& b) { b.id = {lease.number, request, 0}; }, body);
  Txn& txn = txns_.at(txn_key);
  txn.requests.emplace_back(lease.agent, request);
  Pending& pending = lease.pending
                         .emplace(request, Pending{.body = std::move(body),
                                                   .txn = txn_key,
                                                   .call = call,
                                                   .made = now,
                                                   .interval = resend_first(lease),
                                                   .timer = timers_.end()})
                         .first->second;
  if (const auto* lock = std::get_if<wire::LockRequest>(&pending.body)) {
    Branch& branch = branch_of(txn, lease.agent);
    if (must_wait(branch, *lock)) pending.deferred = true, branch.deferred.push_back(request);
  }
  queue(lease, request, pending);
  arm(lease, request, pending, now);
  return request;
}

void ClientCore::queue(Lease& lease, Number request, Pending& pending) {
  // While it is opened again nothing else is sent; then everything is.
  if (pending.queued || pending.deferred || lease.state == Lease::State::reopening) return;
  pending.queued = true;
  agents_[lease.agent].sends.emplace_back(lease.number, request);
}

/// An unlock that is sent again must not meet a lock taken after it: locks of the same name go out when it was answered.
bool ClientCore::must_wait(const Branch& branch, const wire::LockRequest& request) const {
  if (branch.changing == 0) return false;
  const auto parts = parts_of(request);
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
    const auto hold = branch.holds.find(part.name);
    return hold != branch.holds.end() && hold->second.changing > 0;
  });
}

void ClientCore::release_deferred(Lease& lease, Branch& branch) {
  for (const auto deferred = std::exchange(branch.deferred, {}); const Number request : deferred) {
    const auto found = lease.pending.find(request);
    if (found == lease.pending.end()) continue;
    if (must_wait(branch, std::get<wire::LockRequest>(found->second.body))) {
      branch.deferred.push_back(request);
    } else {
      found->second.deferred = false;
      queue(lease, request, found->second);
    }
  }
}

void ClientCore::send_cancel(Lease& lease, Number target, Pending& pending, Micros now) {
  if (!std::exchange(pending.cancelling, true))
    post(lease, wire::CancelRequest{{lease.number, 0, 0}, target}, pending.txn, {}, now);
}

void ClientCore::forget_request(TxnKey key, std::size_t agent, Number request) {
  if (Txn* txn = find(key)) std::erase(txn->requests, std::pair(agent, request));
}

CallKey ClientCore::caller_of(const Pending& pending) const {
  if (!std::holds_alternative<wire::EndRequest>(pending.body)) return pending.call;
  const Txn* txn = find(pending.txn);
  return txn != nullptr ? txn->end_call : CallKey{};
}

// --- No answer yet ---

void ClientCore::arm(Lease& lease, Number request, Pending& pending, Micros now) {
  Micros due = now + pending.interval;
  const Micros unreachable = std::max(pending.made, agents_[lease.agent].heard) + settings_.reply_limit_us;
  const bool owed = !pending.waiting || withdrawn(pending);
  if (owed && unreachable > now && caller_of(pending) != CallKey{}) due = std::min(due, unreachable);
  arm(pending.timer, due, {.of = Timer::Of::request, .agent = lease.agent, .number = lease.number, .request = request});
}

void ClientCore::on_due(Lease& lease, Number request, Micros now) {
  Pending& pending = lease.pending.at(request);
  if (pending.abandoned && txns_.at(pending.txn).over) return;  // the answer to its end settles it
  const CallKey caller = caller_of(pending);
  const Agent& agent = agents_[lease.agent];
  const bool owed = !pending.waiting || withdrawn(pending);
  if (caller != CallKey{} && owed && now >= std::max(pending.made, agent.heard) + settings_.reply_limit_us) {
    auto error = make_error(Code::unreachable, "the agent of site " + agent.site.str() + " at " +
                                                   settings_.agents[lease.agent].endpoint + " has not answered for " +
                                                   std::to_string(settings_.reply_limit_us / 1000) +
                                                   " ms; is it running? Its lease frees what it may have granted");
    if (std::holds_alternative<wire::EndRequest>(pending.body)) txns_.at(pending.txn).end_call = {};
    pending.call = std::holds_alternative<wire::LockRequest>(pending.body) ? pending.call : CallKey{};
    fail(caller, std::move(error), now);
    if (!lease.pending.contains(request)) return;
  }
  queue(lease, request, pending);
  pending.interval = owed ? std::min(2 * pending.interval, lease.ttl_us / 3) : lease.ttl_us / 3;
  arm(lease, request, pending, now);
}

void ClientCore::connected(std::size_t index, Micros now) {
  advance(now);
  Agent& agent = agents_[index];
  for (auto& [number, lease] : agent.leases) {
    const Micros retry = now + lease.ttl_us / 10;
    switch (lease.state) {
      case Lease::State::open: ask_again(lease, agent.renews, retry); break;
      case Lease::State::closing: ask_again(lease, agent.closes, now + resend_first(lease)); break;
      case Lease::State::opening:
      case Lease::State::reopening: ask_again(lease, agent.opens, retry); break;
    }
    for (auto& [request, pending] : lease.pending)
      if (!pending.waiting && !(pending.abandoned && txns_.at(pending.txn).over)) queue(lease, request, pending);
    arm(lease);
  }
}

// --- Answers ---

void ClientCore::receive(std::size_t index, const wire::ToLockClient& message, Micros now) {
  advance(now);
  Agent& agent = agents_[index];
  if (!std::holds_alternative<wire::Error>(message)) agent.heard = now;
  std::visit([&](const auto& m) { on(agent, m, now); }, message);
}

void ClientCore::on(Agent& agent, const wire::Error& message, Micros /*now*/) {
  log(Level::error, "the agent of site " + agent.site.str() + " refused a message (" +
                        std::string(wire::name(message.code)) + "): " + message.text);
}

void ClientCore::on(Agent& agent, const wire::Replies& message, Micros now) {
  for (const auto& reply : message.replies) {
    const auto found = agent.leases.find(reply.session);
    if (found == agent.leases.end()) continue;
    const auto pending = found->second.pending.find(reply.request);
    if (pending == found->second.pending.end()) continue;
    if (reply.status == wire::LockStatus::waiting) {
      on_waiting(found->second, reply.request, pending->second, now);
    } else {
      finish(found->second, reply.request, reply, now);
    }
  }
}

void ClientCore::on(Agent& agent, const wire::TxnAborted& message, Micros now) {
  const auto lease = agent.leases.find(message.session);
  const auto key = ids_.find(message.txn);
  if (lease == agent.leases.end() || key == ids_.end()) return;
  Txn& txn = txns_.at(key->second);
  if (txn.session != lease->second.session) return;
  // A life of that name before this one ended with requests of smaller numbers; this one may not have come to the agent yet.
  const auto branch = std::find_if(txn.branches.begin(), txn.branches.end(),
                                   [&](const Branch& b) { return b.agent == lease->second.agent && b.first != 0; });
  if (message.request != 0 && (branch == txn.branches.end() || message.request < branch->first)) return;
  LockError error{code_of(message.status), message.text, message.incident};
  // Of one transaction alone a lease is lost only by a reclaim; otherwise the whole session is over there.
  if (error.code == Code::lease_lost && lease->second.reclaims == 0) return lapse(lease->second, message.text, now);
  abort(txn, std::move(error), now, true);
}

void ClientCore::on_waiting(Lease& lease, Number request, Pending& pending, Micros now) {
  if (!std::holds_alternative<wire::LockRequest>(pending.body)) return;
  if (pending.abandoned || withdrawn(pending))
    if (!txns_.at(pending.txn).over) send_cancel(lease, request, pending, now);
  if (pending.abandoned || std::exchange(pending.waiting, true)) return;
  ++lease.uses;
  pending.interval = lease.ttl_us / 3;
  arm(lease, request, pending, now);
}

void ClientCore::finish(Lease& lease, Number request, const wire::LockReply& reply, Micros now) {
  const auto node = lease.pending.extract(request);
  const Pending& pending = node.mapped();
  disarm(node.mapped().timer);
  forget_request(pending.txn, lease.agent, request);
  if (pending.waiting) --lease.uses;
  if (const auto* lock = std::get_if<wire::LockRequest>(&pending.body)) {
    on_locked(lease, *lock, pending, reply, now);
  } else if (const auto* unlock = std::get_if<wire::UnlockRequest>(&pending.body)) {
    on_changed(lease, unlock->name, true, pending, reply, now);
  } else if (const auto* downgrade = std::get_if<wire::DowngradeRequest>(&pending.body)) {
    on_changed(lease, downgrade->name, false, pending, reply, now);
  } else if (std::holds_alternative<wire::EndRequest>(pending.body)) {
    // Nothing of the transaction is left at this agent, and nothing that it asked for comes any more.
    for (const auto requests = txns_.at(pending.txn).requests; const auto& [agent, number] : requests) {
      if (agent != lease.agent || number > request) continue;
      complete(lease.pending.at(number).call, std::vector<Grant>{});
      drop_pending(lease, number);
    }
    on_ended(pending);
  } else if (std::holds_alternative<wire::ReclaimRequest>(pending.body)) {
    on_reclaimed(lease, pending, reply, now);
  } else if (std::holds_alternative<wire::BeginRequest>(pending.body) && reply.status != wire::LockStatus::done) {
    if (Txn* txn = find(pending.txn)) abort(*txn, error_of(reply), now, true);
  }
}

void ClientCore::on_locked(Lease& lease, const wire::LockRequest& request, const Pending& pending,
                           const wire::LockReply& reply, Micros now) {
  Txn& txn = txns_.at(pending.txn);
  if (txn.over) return;  // its end follows, and releases whatever this was
  if (reply.status != wire::LockStatus::done) {
    auto error = error_of(reply);
    if (error.code == Code::lease_lost && pending.call != CallKey{}) {
      if (pending.waiting) ++lease.uses;  // it was in use: this is not an idle lease that ran out
      return lapse(lease, "site " + site_name(lease.agent) + " says so: " + error.message, now);
    }
    if (ends_transaction(error.code)) return abort(txn, std::move(error), now, true);
    if (withdrawn(pending)) error = *calls_.at(pending.call).withdrawn;
    return fail(pending.call, std::move(error), now);
  }
  auto got = record(lease, txn, request, reply);
  if (pending.call == CallKey{}) return undo(txn, got, now);
  Call& call = calls_.at(pending.call);
  for (Got& one : got) {
    one.place = call.steps[call.step].parts[one.place].place;
    call.got.push_back(std::move(one));
  }
  if (call.withdrawn) return fail(pending.call, *call.withdrawn, now);  // and gives back what it got
  if (++call.step < call.steps.size()) return start_step(pending.call, call, txn, now);
  std::sort(call.got.begin(), call.got.end(), [](const Got& a, const Got& b) { return a.place < b.place; });
  std::vector<Grant> grants;
  for (Got& one : call.got) grants.push_back(std::move(one.grant));
  complete(pending.call, std::move(grants));
}

/// Writes down what was granted, by place in the request.
std::vector<ClientCore::Got> ClientCore::record(Lease& lease, Txn& txn, const wire::LockRequest& request,
                                                const wire::LockReply& reply) {
  Branch& branch = branch_of(txn, lease.agent);
  const auto parts = parts_of(request);
  std::vector<Got> got;
  for (const auto& granted : reply.grants) {
    if (granted.item >= parts.size()) continue;
    const Part& part = parts[granted.item];
    const Fence fence{granted.fence.epoch, granted.fence.counter};
    Hold& hold =
        branch.holds.try_emplace(part.name, Hold{.mode = part.mode, .first = fence, .fence = fence}).first->second;
    const auto before = hold.count > 0 ? std::optional(hold.mode) : std::nullopt;
    // Of one given back but not answered yet, only what is granted now is sure.
    hold.mode = before ? settings_.modes.join(*before, part.mode) : part.mode;
    if (!before) hold.first = fence, ++lease.uses;
    hold.fence = std::max(hold.fence, fence);
    ++hold.count;
    keep_raised(txn, part, lease.agent);
    got.push_back({granted.item, {part.name, agents_[lease.agent].site, hold.mode, fence}, before});
  }
  return got;
}

/// Should a call that is under way be undone, what it raised is not lowered below what was granted meanwhile.
void ClientCore::keep_raised(const Txn& txn, const Part& part, std::size_t agent) {
  for (const CallKey key : txn.calls)
    for (Got& got : calls_.at(key).got)
      if (got.before && got.grant.name == part.name && got.grant.site == agents_[agent].site)
        got.before = settings_.modes.join(*got.before, part.mode);
}

/// An unlock or a downgrade was answered.
void ClientCore::on_changed(Lease& lease, const std::string& name, bool unlocked, const Pending& pending,
                            const wire::LockReply& reply, Micros now) {
  // Asked for before the agent's start: what it does not know to be held was freed by it, or reclaimed in the weaker mode.
  const bool freed = pending.former_life && reply.status == wire::LockStatus::not_held;
  const bool done = reply.status == wire::LockStatus::done || freed;
  Txn* txn = find(pending.txn);
  if (txn != nullptr && !txn->over) {
    Branch& branch = branch_of(*txn, lease.agent);
    const auto found = branch.holds.find(name);
    if (found != branch.holds.end() && found->second.changing > 0) {
      Hold& hold = found->second;
      --hold.changing, --branch.changing;
      const bool kept = reply.status == wire::LockStatus::invalid || reply.status == wire::LockStatus::limit;
      if (unlocked && kept && ++hold.count == 1) ++lease.uses;
      if (hold.count == 0 && hold.changing == 0) branch.holds.erase(found);
    }
    release_deferred(lease, branch);
    if (!done && ends_transaction(code_of(reply.status))) abort(*txn, error_of(reply), now, true);
  }
  if (done) return complete(pending.call, std::vector<Grant>{});
  complete(pending.call, tl::unexpected(error_of(reply)));
}

void ClientCore::on_ended(const Pending& pending) {
  Txn* txn = find(pending.txn);
  if (txn == nullptr || txn->ends == 0 || --txn->ends > 0) return;
  if (txn->end_call != CallKey{}) complete(std::exchange(txn->end_call, {}), std::vector<Grant>{});
  forget_if_done(pending.txn);
}

void ClientCore::on_reclaimed(Lease& lease, const Pending& pending, const wire::LockReply& reply, Micros now) {
  if (lease.reclaims > 0 && --lease.reclaims == 0) {
    lease.capped = never;
    arm(lease);
  }
  if (reply.status == wire::LockStatus::done) return;
  auto error = error_of(reply);
  if (!ends_transaction(error.code)) error = make_error(Code::lease_lost, "not reclaimed: " + error.message);
  if (Txn* txn = find(pending.txn)) abort(*txn, std::move(error), now, true);
}

}  // namespace gordian::lease
