// The session with the coordinator: what its messages mean, and the engine's answers.
#include <algorithm>
#include <utility>

#include "agent/agent_core.hpp"

namespace gordian::agent {

using Level = AgentCallbacks::Level;

namespace {
// Calls the engine has not answered. Over this limit a confirmation is denied and an order fails at once.
constexpr std::size_t max_open_calls = 10'000;

// Orders carried out that are remembered: an order given again, because its answer was lost, is answered as before.
constexpr std::size_t max_done = 1'000;

std::string order_key(const wire::Abort& order) {
  return order.incident + (order.role == wire::Abort::Role::waiting ? "/waiting/" : "/holding/") + order.victim.str();
}
std::string order_key(const wire::Reorder& order) {
  return order.incident + "/" + std::to_string(order.sequence) + "/ahead of/" + order.blocker.str();
}

wire::Aborted answer_to(std::uint64_t order, wire::Aborted::Outcome outcome, std::string text) {
  return {order, outcome, std::move(text)};
}
}  // namespace

void AgentCore::receive(const wire::ToAgent& message, std::int64_t now_us) {
  last_heard_us_ = now_us;
  std::visit([&](const auto& m) { on(m, now_us); }, message);
}

/// Orders of an older term are refused: that coordinator was replaced. A newer term is believed.
bool AgentCore::older_epoch(std::uint64_t epoch, const char* what) {
  if (epoch >= epoch_) {
    epoch_ = epoch;
    return false;
  }
  ++counters_.orders_refused;
  note(Level::warn, std::string(what) + " of epoch " + std::to_string(epoch) + " refused: epoch " +
                        std::to_string(epoch_) + " was seen");
  return true;
}

void AgentCore::go_offline(std::int64_t now_us, std::int64_t retry_after_us) {
  online_ = false;
  next_hello_us_ = now_us + retry_after_us;
  replies_.clear();
}

void AgentCore::send_failed(std::int64_t now_us) {
  constexpr std::int64_t pause_us = 100'000;
  if (online_) need_snapshot_ = true;
  resend_after_us_ = now_us + pause_us;
}

void AgentCore::on(const wire::Welcome& m, std::int64_t now_us) {
  if (older_epoch(m.epoch, "welcome")) return;
  heartbeat_us_ = static_cast<std::int64_t>(std::max<std::uint64_t>(1, m.heartbeat_ms)) * 1000;
  lease_us_ = static_cast<std::int64_t>(std::max<std::uint64_t>(1, m.lease_ms)) * 1000;
  next_heartbeat_us_ = now_us + heartbeat_us_;
  if (!online_) note(Level::info, "accepted by the coordinator, epoch " + std::to_string(m.epoch));
  online_ = true;
  need_snapshot_ = true;
  last_complaint_.clear();
}

void AgentCore::on(const wire::HeartbeatAck& m, std::int64_t) { (void)older_epoch(m.epoch, "heartbeat"); }

void AgentCore::on(const wire::Resync& m, std::int64_t) {
  if (older_epoch(m.epoch, "resync")) return;
  note(Level::info, "sending a snapshot: " + m.reason);
  need_snapshot_ = true;
}

void AgentCore::on(const wire::Confirm& m, std::int64_t) {
  if (older_epoch(m.epoch, "confirmation")) return;
  if (m.incarnation != options_.incarnation || !options_.engine_confirms) return answer(m);
  ConfirmCall call{next_ticket(), {}};
  for (const auto& edge : m.edges) {
    if ((waits_.contains(edge.sequence) || elsewhere(edge.sequence) != nullptr) &&
        (call.waits.empty() || call.waits.back() != WaitHandle{edge.sequence}))
      call.waits.push_back(WaitHandle{edge.sequence});
  }
  if (call.waits.empty()) return answer(m);
  if (asked_.size() >= max_open_calls) {
    ++counters_.limit_reached;
    wire::Confirmed denial{m.confirm, {}};
    for (const auto& edge : m.edges) denial.denied.push_back({edge.sequence, edge.blocker});
    replies_.emplace_back(std::move(denial));
    return;
  }
  asked_.emplace(call.ticket, m);
  upcalls_.emplace_back(std::move(call));
}

void AgentCore::confirm_ready(std::uint64_t ticket) {
  if (auto question = asked_.extract(ticket)) answer(question.mapped());
}

/// An edge stands if its wait does, and its blocker has blocked it without a break since that message. Of a wait for some of
/// several, none of the others may have changed either: with another one to wait for it may go on.
bool AgentCore::stands(const wire::ConfirmEdge& asked) const {
  if (const auto* other = elsewhere(asked.sequence)) return other->stands(asked);
  const auto wait = waits_.find(asked.sequence);
  if (wait == waits_.end() || !wait->second.published) return false;
  const auto& standing = wait->second;
  if (standing.wait.need != 0 && standing.set_since > asked.since) return false;
  const auto edge = standing.edges.find(asked.blocker);
  return (edge != standing.edges.end() && edge->second.since <= asked.since) ||
         blocks_by_group(standing, asked.blocker, asked.since);
}

void AgentCore::answer(const wire::Confirm& question) {
  wire::Confirmed reply{question.confirm, {}};
  for (const auto& asked : question.edges) {
    if (question.incarnation != options_.incarnation || !stands(asked))
      reply.denied.push_back({asked.sequence, asked.blocker});
  }
  ++counters_.confirmations;
  replies_.emplace_back(std::move(reply));
}

// --- Orders ---

// Mutations are compiled by tests/sim only: what they switch off must be missed there.
bool AgentCore::order_applies(const wire::Abort& order) const {
#ifdef GORDIAN_MUTATION_WAIT_ID  // by transaction
  const auto victim = txns_.find(order.victim);
  if (order.role == wire::Abort::Role::waiting) return victim != txns_.end() && !victim->second.waits.empty();
#endif
#ifdef GORDIAN_MUTATION_ABORT_CONDITION
  if (order.role == wire::Abort::Role::waiting) return true;
#endif
  if (const auto* other = elsewhere(order.sequence)) return other->order_applies(order);
  const auto it = waits_.find(order.sequence);
  if (it == waits_.end()) return false;
  if (order.role == wire::Abort::Role::waiting) {
    if (it->second.wait.waiter != order.victim) return false;
    const auto blocker = TxnId::parse(order.blocker);  // none is named when the order frees a further branch
    return !blocker || stands({order.sequence, *blocker, order.since});
  }
  return stands({order.sequence, order.victim, order.blocker.empty() ? next_number() : order.since});
}

bool AgentCore::order_applies(const wire::Reorder& order) const {
  if (const auto* other = elsewhere(order.sequence)) return other->order_applies(order);
  const auto it = waits_.find(order.sequence);
  if (it == waits_.end()) return false;
  const auto edge = it->second.edges.find(order.blocker);
  if (edge != it->second.edges.end() && edge->second.kind == Kind::soft) return true;
  const auto& groups = it->second.wait.groups;
  return std::any_of(groups.begin(), groups.end(),
                     [&](GroupHandle group) { return ahead_by_group(group, order.blocker); });
}

/// True if the order needs the engine no more: it was refused, or carried out before.
template <class Order>
bool AgentCore::answered_already(const Order& order, const char* what) {
  using Outcome = wire::Aborted::Outcome;
  if (older_epoch(order.epoch, what) || order.incarnation != options_.incarnation) {
    replies_.emplace_back(answer_to(order.order, Outcome::refused, "older epoch or another incarnation"));
    return true;
  }
  if (std::find(done_.begin(), done_.end(), order_key(order)) != done_.end()) {
    replies_.emplace_back(answer_to(order.order, Outcome::done, "done already"));
    return true;
  }
  if (ordered_.size() + reorders_.size() >= max_open_calls) {
    ++counters_.limit_reached;
    replies_.emplace_back(answer_to(order.order, Outcome::failed,
                                    "the engine has not answered " + std::to_string(max_open_calls) + " orders"));
    return true;
  }
  return false;
}

template <class Order>
void AgentCore::remember_done(const Order& order) {
  done_.push_back(order_key(order));
  if (done_.size() > max_done) done_.pop_front();
}

void AgentCore::on(const wire::Abort& m, std::int64_t) {
  if (answered_already(m, "abort order")) return;
  // An order given again may be about a wait that the first attempt ended without freeing the locks: the engine knows.
  const bool for_the_engine = m.attempt > 0 && !waits_.contains(m.sequence) && elsewhere(m.sequence) == nullptr;
  if (!for_the_engine && !order_applies(m)) {
    ++counters_.aborts_stale;
    replies_.emplace_back(answer_to(m.order, wire::Aborted::Outcome::stale, "the wait is over"));
    return;
  }
  AbortCall call{next_ticket(),
                 {m.incident, m.victim, WaitHandle{m.sequence}, static_cast<AbortOrder::Role>(m.role),
                  static_cast<unsigned>(m.attempt), std::chrono::milliseconds(m.grace_ms), m.reason}};
#ifdef GORDIAN_MUTATION_WAIT_ID
  if (m.role == wire::Abort::Role::waiting && order_applies(m))
    call.order.wait = WaitHandle{*txns_.at(m.victim).waits.begin()};
#endif
  ordered_.emplace(call.ticket, m);
  upcalls_.emplace_back(std::move(call));
}

void AgentCore::on(const wire::Reorder& m, std::int64_t) {
  if (answered_already(m, "order to reorder")) return;
  if (!order_applies(m)) {
    ++counters_.reorders_stale;
    replies_.emplace_back(answer_to(m.order, wire::Aborted::Outcome::stale, "it is not behind that request any more"));
    return;
  }
  if (!options_.engine_reorders) {
    ++counters_.reorders_failed;
    replies_.emplace_back(answer_to(m.order, wire::Aborted::Outcome::failed, "this engine does not reorder queues"));
    return;
  }
  ReorderCall call{next_ticket(),
                   {m.incident, WaitHandle{m.sequence}, m.blocker, static_cast<unsigned>(m.attempt),
                    std::chrono::milliseconds(m.grace_ms), m.reason}};
  reorders_.emplace(call.ticket, m);
  upcalls_.emplace_back(std::move(call));
}

void AgentCore::answer_reorder(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text) {
  const auto order = reorders_.extract(ticket);
  if (!order) return;
  switch (outcome) {
    case wire::Aborted::Outcome::done:
      ++counters_.reorders_done;
      remember_done(order.mapped());
      take_from_behind(order.mapped().sequence, order.mapped().blocker);
      break;
    case wire::Aborted::Outcome::stale:
      // Given twice because the first answer took long, and carried out once.
      if (std::find(done_.begin(), done_.end(), order_key(order.mapped())) != done_.end()) {
        outcome = wire::Aborted::Outcome::done;
      } else {
        ++counters_.reorders_stale;
      }
      break;
    case wire::Aborted::Outcome::failed:
    case wire::Aborted::Outcome::refused: ++counters_.reorders_failed; break;
  }
  replies_.emplace_back(answer_to(order.mapped().order, outcome, std::move(text)));
}

void AgentCore::end_wait_of(const wire::Abort& order) {
  if (order.role != wire::Abort::Role::waiting) return;
  if (auto* const other = elsewhere(order.sequence)) return other->end_wait_of(order);
  const auto wait = waits_.find(order.sequence);
  if (wait != waits_.end() && wait->second.wait.waiter == order.victim) end_wait(WaitHandle{order.sequence});
}

void AgentCore::answer_abort(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text) {
  const auto order = ordered_.extract(ticket);
  if (!order) return;
  switch (outcome) {
    case wire::Aborted::Outcome::done:
      ++counters_.aborts_done;
      remember_done(order.mapped());
      // The engine may report the wait's end later; for the coordinator it is over now.
      end_wait_of(order.mapped());
      break;
    case wire::Aborted::Outcome::stale: ++counters_.aborts_stale; break;
    case wire::Aborted::Outcome::failed:
    case wire::Aborted::Outcome::refused: ++counters_.aborts_failed; break;
  }
  replies_.emplace_back(answer_to(order.mapped().order, outcome, std::move(text)));
}

void AgentCore::on(const wire::Error& m, std::int64_t now_us) {
  using Code = wire::Error::Code;
  constexpr std::int64_t retry_refused_us = 2'000'000;
  auto complaint = "coordinator: " + std::string(name(m.code)) + ": " + m.text;
  switch (m.code) {
    case Code::unknown_session:
      note(Level::info,
           "the coordinator does not know this agent (it was restarted, or the lease ran out): hello again");
      return go_offline(now_us, 0);
    case Code::stale_incarnation:
      // An agent started with a clock that was set back: take the next number, nothing was accepted under the old one.
      options_.incarnation = m.number + 1;
      return go_offline(now_us, 0);
    case Code::wait_a_moment: return go_offline(now_us, static_cast<std::int64_t>(m.number) * 1000);
    case Code::malformed:
    case Code::too_large:
      // Something of ours was not understood: what it carried must not be missing from the picture.
      need_snapshot_ = online_;
      resend_after_us_ = now_us + retry_refused_us;
      break;
    case Code::wrong_version:
    case Code::duplicate_site:
    case Code::too_many_sites: go_offline(now_us, retry_refused_us); break;
  }
  if (std::exchange(last_complaint_, complaint) != complaint) note(Level::error, std::move(complaint));
}

}  // namespace gordian::agent
