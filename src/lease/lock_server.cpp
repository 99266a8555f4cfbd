// Sessions and time: leases, stalls, the grace period after a restart, and what was written down before it.
#include "lease/lock_server.hpp"

#include <algorithm>

namespace gordian::lease {
namespace {

using wire::SessionEnded;

// Numbers of sessions that are over, so that a message that comes late does not open them again.
constexpr std::size_t ended_max = 10'000;

LockTableOptions with_events(LockTableOptions options, LockEvents* events) {
  options.events = events;
  return options;
}

}  // namespace

LockServer::LockServer(ServerOptions options, ServerTime now)
    : options_(std::move(options)),
      now_(now),
      planned_wake_us_(now.steady_us),
      longest_ttl_us_(options_.found.longest_ttl_us),
      table_(with_events(options_.table, this)) {
  if (options_.journal) {
    restore();
  } else if (!options_.found.clean) {
    grace_until_us_ = now.steady_us + longest_ttl_us_;
  }
}

LockServer::~LockServer() {
  // What the ends of the transactions bring about is told to nobody any more.
  for (auto& [id, session] : sessions_) session.requests.clear();
  // While all of them can still be found: the observer asks for the one that a lock passes on to.
  for (auto& [id, txn] : txns_) txn.handle->release_all();
}

// --- Time ---

void LockServer::advance(ServerTime now) {
  if (now.steady_us - options_.stall_us > planned_wake_us_ && now.steady_us > now_.steady_us) {
    shift_us_ += now.steady_us - now_.steady_us;
    counters_.stalled_us += static_cast<std::uint64_t>(now.steady_us - now_.steady_us);
  }
  now_.steady_us = std::max(now_.steady_us, now.steady_us);
  now_.unix_us = now.unix_us;
  planned_wake_us_ = now_.steady_us;
  run_due_leases();
  if (grace_until_us_ != 0 && !in_grace()) end_grace();
}

void LockServer::tick(ServerTime now) {
  advance(now);
  table_.expire(now_.steady_us);
  expire_held_back();
}

std::int64_t LockServer::next_tick_us() {
  std::int64_t next = table_.next_deadline();
  if (!leases_.empty()) next = std::min(next, leases_.top().at_us + shift_us_);
  if (in_grace()) next = std::min(next, grace_until_us_);
  for (const HeldBack& held : held_back_) next = std::min(next, held.deadline_us);
  planned_wake_us_ = std::max(next, now_.steady_us);
  return next;
}

void LockServer::end_grace() {
  grace_until_us_ = 0;
  release_held_back();
}

/// What waits is withdrawn before anything is released: nobody is granted a lock whose own lease ran out as well.
void LockServer::run_due_leases() {
  std::vector<Session*> over;
  while (!leases_.empty() && leases_.top().at_us <= lease_now_us()) {
    const Due due = leases_.top();
    leases_.pop();
    const auto it = sessions_.find(due.session);
    if (it == sessions_.end()) continue;
    Session& session = it->second;
    if (session.expires_us > due.at_us) {
      leases_.push({session.expires_us, session.id});
      continue;
    }
    if (!session.expired) withdraw_waiting(session);
    over.push_back(&session);
  }
  for (Session* session : over) {
    if (session->expired || session->lock_delay_us == 0) {
      finish(*session);
    } else {
      session->expired = true;
      session->expires_us = lease_now_us() + session->lock_delay_us;
      leases_.push({session->expires_us, session->id});
    }
  }
}

/// The lease ran out.
void LockServer::withdraw_waiting(Session& session) {
  ++counters_.expired_sessions;
  const LockError lost{
      LockError::Code::lease_lost,
      "the lease of the session ran out: it was not renewed for " + std::to_string(session.ttl_us / 1000) + " ms",
      {}};
  std::vector<std::uint64_t> waiting;
  for (const auto& [number, known] : session.requests)
    if (known.reply.status == wire::LockStatus::waiting) waiting.push_back(number);
  for (const std::uint64_t number : waiting) {
    const Remembered known = session.requests.at(number);
    answer(session, number, lost);
    if (known.txn != nullptr && !known.held_back) known.txn->handle->cancel(known.ticket);
  }
  send(session.peer, SessionEnded{session.id, SessionEnded::Why::expired, lost.message});
}

/// Releases everything and forgets the session.
void LockServer::finish(Session& session) {
  const std::uint64_t id = session.id;
  while (!session.txns.empty()) end_txn(**session.txns.begin());
  if (options_.journal) record(SessionGone{id});
  sessions_.erase(id);
  ended_.insert(id);
  ended_order_.push_back(id);
  if (ended_order_.size() > ended_max) {
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
  }
}

// --- Messages ---

void LockServer::receive(const PeerId& peer, const wire::FromLockClient& message, ServerTime now) {
  advance(now);
  std::visit([&](const auto& m) { on(peer, m); }, message);
}

void LockServer::refused(const PeerId& peer, wire::Error why) {
  ++counters_.refused_messages;
  send(peer, std::move(why));
}

std::string LockServer::complaint(const wire::OpenSession& m) {
  const auto& limits = options_.limits;
  const auto in_us = [](std::uint64_t ms) {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(ms, 1ULL << 40)) * 1000;
  };
  if (in_us(m.ttl_ms) < limits.ttl_min_us || in_us(m.ttl_ms) > limits.ttl_max_us)
    return "a time to live of " + std::to_string(m.ttl_ms) + " ms, expected " +
           std::to_string(limits.ttl_min_us / 1000) + " to " + std::to_string(limits.ttl_max_us / 1000) +
           " ms (the agent's ttl_max)";
  if (in_us(m.lock_delay_ms) > limits.lock_delay_max_us)
    return "a lock-delay of " + std::to_string(m.lock_delay_ms) + " ms, expected at most " +
           std::to_string(limits.lock_delay_max_us / 1000) + " ms";
  if (!sessions_.contains(m.session) && sessions_.size() >= limits.sessions) {
    ++counters_.limit_reached;
    return "there are " + std::to_string(sessions_.size()) +
           " sessions already, the limit of this agent (max_sessions)";
  }
  return {};
}

void LockServer::on(const PeerId& peer, const wire::OpenSession& m) {
  if (auto wrong = complaint(m); !wrong.empty()) {
    return send(peer, SessionEnded{m.session, SessionEnded::Why::refused, std::move(wrong)});
  }
  const auto it = sessions_.find(m.session);
  if (ended_.contains(m.session) || (it != sessions_.end() && it->second.expired))
    return send(peer, SessionEnded{m.session, SessionEnded::Why::unknown,
                                   "that session is over; open one with another number"});
  open(peer, m);
}

void LockServer::open(const PeerId& peer, const wire::OpenSession& m) {
  const auto [it, fresh] = sessions_.try_emplace(m.session);
  Session& session = it->second;
  session.id = m.session;
  session.peer = peer;
  session.label = m.label;
  session.ttl_us = static_cast<std::int64_t>(m.ttl_ms) * 1000;
  session.lock_delay_us = static_cast<std::int64_t>(m.lock_delay_ms) * 1000;
  session.expires_us = lease_now_us() + session.ttl_us;
  if (fresh) leases_.push({session.expires_us, session.id});
  if (session.ttl_us > longest_ttl_us_) {
    longest_ttl_us_ = session.ttl_us;
    record(LongestLease{longest_ttl_us_});
  }
  if (options_.journal) record(SessionRecord{session.id, session.ttl_us, session.lock_delay_us, session.label});
  const std::int64_t grace_us = in_grace() ? grace_until_us_ - now_.steady_us : 0;
  send(peer, wire::SessionOpened{session.id, options_.table.epoch, m.ttl_ms,
                                 static_cast<std::uint64_t>((grace_us + 999) / 1000)});
}

void LockServer::on(const PeerId& peer, const wire::Renew& m) {
  wire::Renewed renewed{m.stamp, options_.table.epoch, {}};
  for (const std::uint64_t id : m.sessions) {
    Session* session = find_session(id);
    if (session == nullptr) {
      renewed.unknown.push_back(id);
      continue;
    }
    session->peer = peer;
    session->expires_us = lease_now_us() + session->ttl_us;
  }
  send(peer, std::move(renewed));
}

void LockServer::on(const PeerId& peer, const wire::CloseSession& m) {
  if (const auto it = sessions_.find(m.session); it != sessions_.end()) finish(it->second);
  send(peer, SessionEnded{m.session, SessionEnded::Why::closed, {}});
}

void LockServer::on(const PeerId& peer, const wire::Requests& m) {
  std::optional<std::uint64_t> told;
  for (const auto& request : m.requests) {
    const std::uint64_t id = std::visit([](const auto& r) { return r.id.session; }, request);
    if (Session* session = find_session(id)) {
      session->peer = peer;
      handle(*session, request);
    } else if (told != id) {
      told = id;
      send(peer, SessionEnded{id, SessionEnded::Why::unknown, "no such session is open here"});
    }
  }
}

/// None if it is over, or in its lock-delay.
LockServer::Session* LockServer::find_session(std::uint64_t id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() || it->second.expired ? nullptr : &it->second;
}

// --- Out ---

void LockServer::send(const PeerId& peer, wire::ToLockClient message) {
  replies_at_.erase(peer);  // replies after this one are not to overtake it
  outgoing_.push_back({peer, std::move(message), recorded_});
}

/// Replies to one connection travel together.
void LockServer::reply(Session& session, wire::LockReply reply) {
  constexpr std::size_t together_max = 1'000;
  const auto [it, fresh] = replies_at_.try_emplace(session.peer, outgoing_.size());
  if (fresh || std::get<wire::Replies>(outgoing_[it->second].message).replies.size() >= together_max) {
    it->second = outgoing_.size();
    outgoing_.push_back({session.peer, wire::Replies{}, recorded_});
  }
  Outgoing& last = outgoing_[it->second];
  std::get<wire::Replies>(last.message).replies.push_back(std::move(reply));
  last.after = recorded_;
}

void LockServer::record(Record record) {
  ++recorded_;
  records_.push_back(std::move(record));
}

std::vector<Outgoing> LockServer::take_outgoing() {
  replies_at_.clear();
  return std::exchange(outgoing_, {});
}

std::vector<Record> LockServer::take_records() { return std::exchange(records_, {}); }

}  // namespace gordian::lease
