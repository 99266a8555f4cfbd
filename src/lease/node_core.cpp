#include "lease/node_core.hpp"

#include <algorithm>
#include <utility>

namespace gordian::lease {

using Level = AgentCallbacks::Level;

NodeCore::NodeCore(agent::Options agent, std::vector<std::string> coordinators, ServerOptions server, ServerTime now)
    : now_(now),
      modes_(server.table.modes),
      agent_(std::move(agent), std::move(coordinators), now.steady_us),
      reporter_(modes_, *this),
      server_(
          [&] {
            server.table.observer = &reporter_;
            server.txn_ended = [this](const TxnId& txn) { agent_.forget(txn); };
            return std::move(server);
          }(),
          now) {}

void NodeCore::receive(const PeerId& client, const wire::FromLockClient& message, ServerTime now) {
  now_ = now;
  server_.receive(client, message, now);
}

void NodeCore::receive(agent::LinkId link, const wire::ToAgent& message, ServerTime now) {
  now_ = now;
  agent_.receive(link, message, now.steady_us);
  carry_out_orders();
}

void NodeCore::tick(ServerTime now) {
  now_ = now;
  if (now.steady_us >= server_.next_tick_us()) server_.tick(now);
}

std::vector<agent::LinkChange> NodeCore::take_link_changes(ServerTime now) {
  now_ = now;
  return agent_.take_link_changes(now.steady_us);
}

std::vector<agent::LinkMessage> NodeCore::take_for_coordinators(ServerTime now) {
  now_ = now;
  return agent_.take_outgoing(now.steady_us);
}

std::int64_t NodeCore::next_due_us(ServerTime now) {
  const std::int64_t due = std::min(server_.next_tick_us(), agent_.next_due_us());
  return agent_.has_outgoing() ? std::min(due, now.steady_us) : due;
}

std::vector<agent::Note> NodeCore::take_notes() {
  carry_out_orders();  // the agent may have something to say
  return std::exchange(notes_, {});
}

// --- Orders of the coordinator ---

void NodeCore::carry_out_orders() {
  for (auto& call : agent_.take_upcalls()) {
    if (const auto* order = std::get_if<agent::AbortCall>(&call)) {
      carry_out(*order);
    } else if (const auto* reorder = std::get_if<agent::ReorderCall>(&call)) {
      carry_out(*reorder);
    } else if (auto* note = std::get_if<agent::Note>(&call)) {
      notes_.push_back(std::move(*note));
    }
  }
}

void NodeCore::carry_out(const agent::AbortCall& call) {
  const AbortOrder& order = call.order;
  auto waits = reporter_.find(order.wait);
#ifdef GORDIAN_MUTATION_ABORT_CONDITION  // see agent/session.cpp
  if (waits.empty()) waits.emplace_back();
#endif
  const auto hold_up = [&](const agent::TableReporter::TableWait& wait) {
    return server_.abort_holding(order.victim, order.incident, wait.resource, wait.number, now_);
  };
  const bool done =
      order.role == AbortOrder::Role::waiting
          ? !waits.empty() && server_.abort_waiting(order.victim, order.incident, waits.front().number, now_)
          : std::any_of(waits.begin(), waits.end(), hold_up);
  notes_.push_back({Level::debug, "order to abort " + order.victim.str() + " for incident " + order.incident + ": " +
                                      (done ? "done" : "too late")});
  agent_.answer_abort(call.ticket, done ? wire::Aborted::Outcome::done : wire::Aborted::Outcome::stale,
                      done ? "" : "the wait was over");
}

void NodeCore::carry_out(const agent::ReorderCall& call) {
  const ReorderOrder& order = call.order;
  const auto waits = reporter_.find(order.wait);  // one: those of a call for some of several are behind no queue
  const bool done =
      waits.size() == 1 && server_.reorder(waits.front().resource, waits.front().number, order.ahead_of, now_);
  notes_.push_back({Level::debug, "order to go ahead of " + order.ahead_of.str() + " for incident " + order.incident +
                                      ": " + (done ? "done" : "too late")});
  agent_.answer_reorder(call.ticket, done ? wire::Aborted::Outcome::done : wire::Aborted::Outcome::stale,
                        done ? "" : "it is not behind that request any more");
}

// --- Reports ---

void NodeCore::complain(const AgentError& error) {
  if (error.message == last_complaint_) return;  // once, not for every wait
  last_complaint_ = error.message;
  notes_.push_back({Level::warn, "not reported: " + error.message});
}

std::optional<WaitHandle> NodeCore::begin_wait(Wait wait) {
  const auto handle = agent_.begin_wait(std::move(wait), now_.steady_us);
  if (handle) return *handle;
  complain(handle.error());
  return std::nullopt;
}

bool NodeCore::set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers, std::uint32_t need) {
  const auto set = agent_.set_blockers(wait, blockers, need);
  if (!set && set.error().code != AgentError::Code::unknown_wait) complain(set.error());
  return set.has_value();
}

std::optional<GroupHandle> NodeCore::begin_group(std::string resource, std::string mode, Kind kind) {
  const auto group = agent_.begin_group(std::move(resource), std::move(mode), kind);
  if (group) return *group;
  complain(group.error());
  return std::nullopt;
}

void NodeCore::named(const TxnId& txn) {
  if (const auto described = agent_.describe(txn, server_.info(txn)); !described) complain(described.error());
}

}  // namespace gordian::lease
