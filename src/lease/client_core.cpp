// Sessions and transactions of the lock client, and the time.
#include "lease/client_core.hpp"

#include <algorithm>

#include "lease/client_errors.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;

constexpr auto ttl_min = std::chrono::milliseconds(100);
constexpr auto ttl_max = std::chrono::hours(1);

}  // namespace

ClientCore::ClientCore(ClientSettings settings) : settings_(std::move(settings)) {
  for (const auto& agent : settings_.agents) agents_.push_back({.site = agent.site});
}

ClientCore::Session* ClientCore::find(SessionKey key) {
  const auto found = sessions_.find(key);
  return found != sessions_.end() ? &found->second : nullptr;
}
const ClientCore::Session* ClientCore::find(SessionKey key) const {
  const auto found = sessions_.find(key);
  return found != sessions_.end() ? &found->second : nullptr;
}
ClientCore::Txn* ClientCore::find(TxnKey key) {
  const auto found = txns_.find(key);
  return found != txns_.end() ? &found->second : nullptr;
}
const ClientCore::Txn* ClientCore::find(TxnKey key) const {
  const auto found = txns_.find(key);
  return found != txns_.end() ? &found->second : nullptr;
}

const SiteId& ClientCore::site_of(std::string_view name) const {
  return settings_.agents[rendezvous(settings_.agents, name)].site;
}

LockClientStatus ClientCore::status() const {
  auto status = counters_;
  status.sessions = static_cast<std::size_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [](const auto& entry) { return !entry.second.over; }));
  for (const auto& agent : agents_)
    for (const auto& [number, lease] : agent.leases) status.pending += lease.pending.size();
  return status;
}

// --- Time ---

void ClientCore::arm(Timers::iterator& timer, Micros due, const Timer& target) {
  disarm(timer);
  timer = timers_.emplace(due, target);
}

void ClientCore::disarm(Timers::iterator& timer) {
  if (timer != timers_.end()) timers_.erase(timer);
  timer = timers_.end();
}

void ClientCore::advance(Micros now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const Timer due = timers_.begin()->second;
    if (due.of == Timer::Of::call) {
      disarm(calls_.at(CallKey{due.number}).timer);
      withdraw(CallKey{due.number}, make_error(Code::timeout, "not granted within the time given"), now);
      continue;
    }
    Lease& lease = agents_[due.agent].leases.at(due.number);
    if (due.of == Timer::Of::lease) {
      disarm(lease.timer);
      on_due(lease, now);
    } else {
      disarm(lease.pending.at(due.request).timer);
      on_due(lease, due.request, now);
    }
  }
}

// --- Sessions ---

tl::expected<SessionKey, LockError> ClientCore::open(const SessionOptions& options) {
  if (options.ttl < ttl_min || options.ttl > ttl_max)
    return tl::unexpected(make_error(
        Code::invalid, "time to live of " + std::to_string(options.ttl.count()) + " ms, expected 100 ms to 1 h"));
  if (options.lock_delay.count() < 0) return tl::unexpected(make_error(Code::invalid, "lock_delay is negative"));
  if (sessions_.size() >= settings_.limits.sessions)
    return tl::unexpected(
        make_error(Code::limit, "this client has " + std::to_string(sessions_.size()) +
                                    " sessions already; close some, or raise LockClientLimits::sessions"));
  const SessionKey key{++last_key_};
  sessions_.emplace(key, Session{.ttl_us = std::chrono::microseconds(options.ttl).count(),
                                 .lock_delay_ms = static_cast<std::uint64_t>(options.lock_delay.count())});
  return key;
}

CallKey ClientCore::close(SessionKey key, Micros now) {
  advance(now);
  const CallKey call = new_call(TxnKey{}, false);
  Session* session = find(key);
  if (session == nullptr || session->over) {
    if (session != nullptr && !session->leases.empty() && session->close_call == CallKey{}) {
      session->close_call = call;  // lost a moment ago; the agents are being told
      return call;
    }
    complete(call, std::vector<Grant>{});
    return call;
  }
  session->close_call = call;
  give_up(key, *session, make_error(Code::lease_lost, "the session was closed"), now, false);
  forget_if_done(key);
  return call;
}

void ClientCore::drop(SessionKey key, Micros now) {
  advance(now);
  Session* session = find(key);
  if (session == nullptr) return;
  session->dropped = true;
  if (!session->over) give_up(key, *session, make_error(Code::lease_lost, "the session was closed"), now, false);
  forget_if_done(key);
}

/// The session is over, for whatever reason: all calls fail, the agents are told. With `tell`: the user is, too.
void ClientCore::give_up(SessionKey key, Session& session, LockError reason, Micros now, bool tell) {
  session.over = reason;
  for (const TxnKey txn_key : session.txns) {
    Txn& txn = txns_.at(txn_key);
    if (!txn.over) txn.over = reason;
    clear_holds(txn);
    while (!txn.calls.empty()) complete(txn.calls.back(), tl::unexpected(*txn.over));
    if (txn.end_call != CallKey{}) complete(std::exchange(txn.end_call, {}), tl::unexpected(reason));
    txn.ends = 0;
    txn.branches.clear();
    txn.requests.clear();
  }
  for (const auto leases = session.leases; Lease * lease : leases) close(*lease, now);
  if (tell) {
    ++counters_.sessions_lost;
    log(LockClientOptions::Level::warn, "a session is lost: " + reason.message);
    output_.emplace_back(SessionLost{key, std::move(reason)});
  }
}

void ClientCore::forget_if_done(SessionKey key) {
  Session* session = find(key);
  if (session == nullptr || !session->over || !session->leases.empty()) return;
  if (session->close_call != CallKey{}) complete(std::exchange(session->close_call, {}), std::vector<Grant>{});
  for (const auto txns = session->txns; const TxnKey txn : txns) forget_if_done(txn);
  session = find(key);  // the last of its transactions may have taken it along
  if (session != nullptr && session->dropped && session->txns.empty()) sessions_.erase(key);
}

Micros ClientCore::remaining_us(SessionKey key, Micros now) const {
  const Session* session = find(key);
  if (session == nullptr || session->over) return 0;
  Micros remaining = session->ttl_us;
  for (const Lease* lease : session->leases)
    if (lease->uses > 0) remaining = std::min(remaining, lease->deadline() - now);
  return std::max<Micros>(0, remaining);
}

std::optional<LockError> ClientCore::lost(SessionKey key) const {
  const Session* session = find(key);
  return session != nullptr ? session->over : make_error(Code::lease_lost, "the session was closed");
}

void ClientCore::stop(Micros now) {
  advance(now);
  const auto reason = make_error(Code::lease_lost, "the lock client was stopped");
  std::vector<SessionKey> keys;
  for (const auto& [key, session] : sessions_) keys.push_back(key);
  for (const SessionKey key : keys) {
    if (Session* session = find(key); !session->over) give_up(key, *session, reason, now, false);
    if (Session* session = find(key); session != nullptr && session->close_call != CallKey{})
      complete(std::exchange(session->close_call, {}), tl::unexpected(reason));
  }
}

// --- Transactions ---

tl::expected<TxnKey, LockError> ClientCore::begin(SessionKey session_key, ClientTxnOptions options, Micros now) {
  advance(now);
  Session* session = find(session_key);
  if (session == nullptr || session->over) return tl::unexpected(lost(session_key).value());
  if (options.label.size() > wire::Limits{}.text_bytes)
    return tl::unexpected(make_error(
        Code::limit, "the label has " + std::to_string(options.label.size()) + " bytes, at most 4096 are allowed"));
  const TxnKey key{++last_key_};
  auto id = options.id ? *options.id : TxnId(settings_.identity + "-" + std::to_string(last_key_));
  if (!ids_.emplace(id, key).second)
    return tl::unexpected(
        make_error(Code::invalid, "transaction " + id.str() + " is in use in this client; wait for its end() first"));
  txns_.emplace(key, Txn{.key = key, .session = session_key, .options = std::move(options), .id = std::move(id)});
  session->txns.insert(key);
  return key;
}

CallKey ClientCore::end(TxnKey key, Micros now) {
  advance(now);
  const CallKey call = new_call(TxnKey{}, false);
  Txn* txn = find(key);
  if (txn == nullptr) return refuse(call, make_error(Code::invalid, "the transaction has ended"));
  if (txn->over) return refuse(call, *txn->over);
  txn->end_call = call;
  txn->ended = true;
  txn->over = make_error(Code::invalid, "transaction " + txn->id.str() + " has ended");
  const auto cancelled = make_error(Code::cancelled, "transaction " + txn->id.str() + " has ended");
  for (const auto calls = txn->calls; const CallKey waiting : calls)
    if (calls_.at(waiting).locks) fail(waiting, cancelled, now);
  clear_holds(*txn);
  end_everywhere(*txn, now);
  if (txn->ends == 0) {
    complete(std::exchange(txn->end_call, {}), std::vector<Grant>{});
    forget_if_done(key);
  }
  return call;
}

void ClientCore::drop(TxnKey key, Micros now) {
  advance(now);
  Txn* txn = find(key);
  if (txn == nullptr) return;
  txn->dropped = true;
  if (!txn->over) (void)end(key, now);
  forget_if_done(key);
}

/// Its branches are told to end, its calls fail. `tell`: the user learns of it.
void ClientCore::abort(Txn& txn, LockError error, Micros now, bool tell) {
  if (txn.over) return;
  txn.over = error;
  for (const auto calls = txn.calls; const CallKey call : calls) fail(call, error, now);
  clear_holds(txn);
  end_everywhere(txn, now);
  if (tell) output_.emplace_back(TxnLost{txn.key, std::move(error)});
}

void ClientCore::end_everywhere(Txn& txn, Micros now) {
  Session& session = sessions_.at(txn.session);
  for (Branch& branch : txn.branches) {
    Lease* lease = lease_of(session, branch.agent);
    if (lease == nullptr || !branch.begun) continue;
    if (lease->opened_at == 0) {  // nothing was ever sent: there is nothing to end
      for (auto next = lease->pending.begin(); next != lease->pending.end();) {
        const auto it = next++;
        if (it->second.txn == txn.key) drop_pending(*lease, it->first);
      }
      continue;
    }
    post(*lease, wire::EndRequest{{lease->number, 0, 0}, txn.id}, txn.key, {}, now);
    ++txn.ends;
  }
}

void ClientCore::forget_if_done(TxnKey key) {
  Txn* txn = find(key);
  if (txn == nullptr || !txn->over || txn->ends > 0) return;
  if (const auto named = ids_.find(txn->id); named != ids_.end() && named->second == key) ids_.erase(named);
  if (!txn->dropped) return;
  const SessionKey session_key = txn->session;
  sessions_.at(session_key).txns.erase(key);
  txns_.erase(key);
  forget_if_done(session_key);
}

/// What it held counts no more; the requests that give it back are the caller's.
void ClientCore::clear_holds(Txn& txn) {
  Session& session = sessions_.at(txn.session);
  for (Branch& branch : txn.branches) {
    Lease* lease = lease_of(session, branch.agent);
    for (const auto& [name, hold] : branch.holds)
      if (lease != nullptr && hold.count > 0) --lease->uses;
    branch.holds.clear();
    branch.changing = 0;
  }
}

const TxnId& ClientCore::id(TxnKey key) const { return txns_.at(key).id; }

std::optional<LockError> ClientCore::error(TxnKey key) const {
  const Txn* txn = find(key);
  return txn != nullptr ? txn->over : make_error(Code::invalid, "the transaction has ended");
}

std::vector<Grant> ClientCore::held(TxnKey key) const {
  std::vector<Grant> grants;
  if (const Txn* txn = find(key))
    for (const Branch& branch : txn->branches)
      for (const auto& [name, hold] : branch.holds)
        if (hold.count > 0) grants.push_back({name, agents_[branch.agent].site, hold.mode, hold.fence});
  return grants;
}

}  // namespace gordian::lease
