// What the lock client sends: closings, openings before requests, requests in one message, renewals in one message.
#include <algorithm>

#include "lease/client_core.hpp"

namespace gordian::lease {
namespace {

constexpr wire::LockWireLimits wire_limits;
// So that a message stays below the wire's limit with the request that goes over this.
constexpr std::size_t message_bytes_max = 2u << 20;

/// Never less than the request takes on the wire.
std::size_t size_bound(const wire::LockServiceRequest& request) {
  constexpr std::size_t fixed = 320;  // numbers, headers, and the transaction's id
  return std::visit(
      []<class R>(const R& r) {
        std::size_t bytes = fixed;
        if constexpr (requires { r.items; }) {
          for (const auto& item : r.items) bytes += 16 + item.name.size() + item.mode.size();
        } else if constexpr (requires { r.holds; }) {
          for (const auto& hold : r.holds) bytes += 48 + hold.name.size() + hold.mode.size();
        } else if constexpr (requires { r.name; }) {
          bytes += r.name.size();
        } else if constexpr (requires { r.label; }) {
          bytes += r.label.size();
        }
        return bytes;
      },
      request);
}

}  // namespace

bool ClientCore::has_messages(std::size_t index) const {
  const Agent& agent = agents_[index];
  return !agent.sends.empty() || !agent.opens.empty() || !agent.renews.empty() || !agent.closes.empty();
}

std::vector<wire::FromLockClient> ClientCore::take_messages(std::size_t index, Micros now) {
  advance(now);
  Agent& agent = agents_[index];
  std::vector<wire::FromLockClient> out;
  // A lease that is begun anew asks again for what its former number may be waiting for: that one ends first.
  for (const Number number : std::exchange(agent.closes, {})) {
    if (const auto found = agent.leases.find(number); found != agent.leases.end()) found->second.queued = false;
    out.emplace_back(wire::CloseSession{number});
  }
  if (!agent.opens.empty()) take_opens(agent, out, now);
  if (!agent.sends.empty()) take_requests(agent, out, now);
  if (!agent.renews.empty()) take_renewals(agent, out, now);
  return out;
}

void ClientCore::take_opens(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now) {
  for (const Number number : std::exchange(agent.opens, {})) {
    const auto found = agent.leases.find(number);
    if (found == agent.leases.end()) continue;
    Lease& lease = found->second;
    if (lease.state != Lease::State::opening && lease.state != Lease::State::reopening) continue;
    const Session& session = sessions_.at(lease.session);
    out.emplace_back(wire::OpenSession{number, static_cast<std::uint64_t>(session.ttl_us / 1000), session.lock_delay_ms,
                                       settings_.label});
    // An answer may be one to the first of several: the lease counts from that one.
    if (lease.opened_at == 0) lease.opened_at = now;
    if (lease.state == Lease::State::opening) lease.proven = lease.opened_at;
    lease.queued = false;
    lease.try_at = now + lease.ttl_us / 10;
    arm(lease);
  }
}

void ClientCore::take_requests(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now) {
  wire::Requests message;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (!message.requests.empty()) out.emplace_back(std::exchange(message, {}));
    bytes = 0;
  };
  for (const auto& [number, request] : std::exchange(agent.sends, {})) {
    const auto found = agent.leases.find(number);
    if (found == agent.leases.end()) continue;
    Lease& lease = found->second;
    const auto entry = lease.pending.find(request);
    if (entry == lease.pending.end()) continue;
    entry->second.queued = false;
    if (lease.state == Lease::State::reopening || lease.state == Lease::State::closing) continue;
    prepare(lease, entry->second, now);
    message.requests.push_back(entry->second.body);
    bytes += size_bound(entry->second.body);
    if (bytes >= message_bytes_max || message.requests.size() == wire_limits.requests_per_message) flush();
  }
  flush();
}

/// What depends on the moment of sending.
void ClientCore::prepare(Lease& lease, Pending& pending, Micros now) {
  std::visit([&](auto& body) { body.id.done_below = lease.pending.begin()->first; }, pending.body);
  ++(pending.sent ? counters_.resent : counters_.requests);
  pending.sent = true;
  pending.cancelling = false;
  auto* lock = std::get_if<wire::LockRequest>(&pending.body);
  if (lock == nullptr) return;
  if (pending.call == CallKey{}) {
    lock->wait_us = 0;
    return;
  }
  const Call& call = calls_.at(pending.call);
  if (!call.may_wait) {
    lock->wait_us = 0;
  } else if (call.deadline != never) {
    lock->wait_us = static_cast<std::uint64_t>(std::max<Micros>(1, call.deadline - now));
  }
}

void ClientCore::take_renewals(Agent& agent, std::vector<wire::FromLockClient>& out, Micros now) {
  // A message that was not answered while the longest of its leases could last is not going to be.
  constexpr Micros longest_us = 3'600'000'000;
  constexpr std::size_t stamps_max = 10'000;
  while (!agent.renewals.empty() &&
         (agent.renewals.begin()->second.sent < now - longest_us || agent.renewals.size() > stamps_max))
    agent.renewals.erase(agent.renewals.begin());
  std::vector<Number> numbers;
  const auto flush = [&] {
    if (numbers.empty()) return;
    const Number stamp = ++last_stamp_;
    counters_.renewals += numbers.size();
    agent.renewals.emplace(stamp, Renewal{now, numbers});
    out.emplace_back(wire::Renew{stamp, std::exchange(numbers, {})});
  };
  for (const Number number : std::exchange(agent.renews, {})) {
    const auto found = agent.leases.find(number);
    if (found == agent.leases.end() || found->second.state != Lease::State::open || !found->second.queued) continue;
    found->second.queued = false;
    numbers.push_back(number);
    if (numbers.size() == wire_limits.sessions_per_renew) flush();
  }
  flush();
}

}  // namespace gordian::lease
