// The engine's side: where each wait is, and one numbering for all sessions. The map and the links are in member_links.cpp.
#include "agent/agent_router.hpp"

#include <algorithm>
#include <utility>

namespace gordian::agent {
namespace {

std::uint64_t number_of(WaitHandle wait) { return static_cast<std::uint64_t>(wait); }

}  // namespace

// --- Where waits are ---

AgentCore& AgentRouter::owner(const TxnId& txn) {
  return owners_.size() == 1 ? *owners_.front() : *owners_[wire::owner(*map_, txn)];
}

AgentRouter::Place AgentRouter::place(WaitHandle wait) {
  const auto it = places_.find(number_of(wait));
  return it == places_.end() ? Place{owners_.front(), number_of(wait)} : it->second;
}

WaitHandle AgentRouter::handle(std::uint64_t sequence) const {
  const auto it = renamed_.find(sequence);
  return WaitHandle{it == renamed_.end() ? sequence : it->second};
}

AgentCore* AgentRouter::holding(std::uint64_t sequence) {
  for (auto& link : links_)
    if (link.core->holds(sequence)) return link.core.get();
  return nullptr;
}

std::size_t AgentRouter::waits() const {
  std::size_t sum = 0;
  for (const auto& link : links_) sum += link.core->waits();
  return sum;
}

void AgentRouter::ended(std::uint64_t sequence) {
  if (places_.empty()) return;
  places_.erase(number_of(handle(sequence)));
  renamed_.erase(sequence);
}

/// The transaction has another owner now: for the old one the wait is over, for the new one it begins.
void AgentRouter::move(std::uint64_t sequence, AgentCore& from, AgentCore& to, std::int64_t now_us) {
  const auto name = handle(sequence);
  const auto moved = to.begin_wait(from.withdraw(sequence, now_us), now_us);
  if (!moved) return note(AgentCallbacks::Level::error, "a wait was lost on its way: " + moved.error().message);
  places_[number_of(name)] = {&to, number_of(*moved)};
  if (*moved != name) renamed_[number_of(*moved)] = number_of(name);
}

void AgentRouter::place_waits(std::int64_t now_us) {
  std::size_t count = 0;
  for (auto& link : links_) {
    for (const auto sequence : link.core->held()) {
      auto& where = owner(link.core->waiter(sequence));
      if (&where != link.core.get()) {
        move(sequence, *link.core, where, now_us);
        ++count;
      } else if (owners_.size() > 1) {
        places_.try_emplace(number_of(handle(sequence)), Place{link.core.get(), sequence});
      }
    }
  }
  if (count > 0) note(AgentCallbacks::Level::info, std::to_string(count) + " waits moved to their owners");
}

// --- Reports ---

tl::expected<WaitHandle, AgentError> AgentRouter::begin_wait(Wait wait, std::int64_t now_us) {
  auto& core = owner(wait.waiter);
  auto begun = core.begin_wait(std::move(wait), now_us);
  if (begun && owners_.size() > 1) places_.emplace(number_of(*begun), Place{&core, number_of(*begun)});
  return begun;
}

tl::expected<void, AgentError> AgentRouter::set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                                                         std::optional<std::uint32_t> need) {
  const auto at = place(wait);
  return at.core->set_blockers(WaitHandle{at.sequence}, blockers, need);
}

tl::expected<void, AgentError> AgentRouter::renew_blocker(WaitHandle wait, const TxnId& blocker) {
  const auto at = place(wait);
  return at.core->renew_blocker(WaitHandle{at.sequence}, blocker);
}

void AgentRouter::end_wait(WaitHandle wait) {
  const auto at = place(wait);
  at.core->end_wait(WaitHandle{at.sequence});
}

tl::expected<GroupHandle, AgentError> AgentRouter::begin_group(std::string resource, std::string mode, Kind kind) {
  std::optional<GroupHandle> begun;
  for (auto& link : links_) {
    const auto group = link.core->begin_group(resource, mode, kind, begun);
    if (!group) {
      if (begun) end_group(*begun);
      return group;
    }
    begun = *group;
  }
  return *begun;
}

void AgentRouter::join_group(GroupHandle group, const TxnId& txn) {
  for (auto& link : links_) link.core->join_group(group, txn);
}
void AgentRouter::leave_group(GroupHandle group, const TxnId& txn) {
  for (auto& link : links_) link.core->leave_group(group, txn);
}
void AgentRouter::end_group(GroupHandle group) {
  for (auto& link : links_) link.core->end_group(group);
}

tl::expected<void, AgentError> AgentRouter::describe(const TxnId& txn, TxnInfo info) {
  for (auto& link : links_)
    if (auto described = link.core->describe(txn, info); !described) return described;
  return {};
}

void AgentRouter::forget(const TxnId& txn) {
  for (auto& link : links_) link.core->forget(txn);
}

// --- Answers: tickets are the agent's, so one core at most knows each ---

void AgentRouter::confirm_ready(std::uint64_t ticket) {
  for (auto& link : links_) link.core->confirm_ready(ticket);
}
void AgentRouter::answer_abort(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text) {
  for (auto& link : links_) link.core->answer_abort(ticket, outcome, text);
}
void AgentRouter::answer_reorder(std::uint64_t ticket, wire::Aborted::Outcome outcome, std::string text) {
  for (auto& link : links_) link.core->answer_reorder(ticket, outcome, text);
}

std::vector<Upcall> AgentRouter::take_upcalls() {
  auto calls = std::exchange(notes_, {});
  for (auto& link : links_) {
    for (auto& call : link.core->take_upcalls()) {
      if (auto* confirm = std::get_if<ConfirmCall>(&call)) {
        for (auto& wait : confirm->waits) wait = handle(number_of(wait));
      } else if (auto* abort = std::get_if<AbortCall>(&call)) {
        abort->order.wait = handle(number_of(abort->order.wait));
      } else if (auto* reorder = std::get_if<ReorderCall>(&call)) {
        reorder->order.wait = handle(number_of(reorder->order.wait));
      } else if (auto* said = std::get_if<Note>(&call); said != nullptr && links_.size() > 1) {
        said->text = (link.member.empty() ? link.endpoint : "coordinator " + link.member) + ": " + said->text;
      }
      calls.push_back(std::move(call));
    }
  }
  return calls;
}

void count(AgentStatus& sum, const AgentStatus& one) {
  sum.deltas_sent += one.deltas_sent;
  sum.snapshots_sent += one.snapshots_sent;
  sum.confirmations += one.confirmations;
  sum.aborts_done += one.aborts_done;
  sum.aborts_stale += one.aborts_stale;
  sum.aborts_failed += one.aborts_failed;
  sum.orders_refused += one.orders_refused;
  sum.limit_reached += one.limit_reached;
  sum.reorders_done += one.reorders_done;
  sum.reorders_stale += one.reorders_stale;
  sum.reorders_failed += one.reorders_failed;
}

AgentStatus AgentRouter::status() const {
  AgentStatus sum = gone_;
  sum.coordinators = owners_.size();
  for (const auto& link : links_) {
    const auto one = link.core->status();
    count(sum, one);
    sum.connected = sum.connected || one.connected;
    sum.connected_to += one.connected ? 1 : 0;
    sum.epoch = std::max(sum.epoch, one.epoch);
    sum.incarnation = one.incarnation;
    sum.waits += one.waits, sum.published += one.published;
    sum.groups = std::max(sum.groups, one.groups);
  }
  return sum;
}

void AgentRouter::note(AgentCallbacks::Level level, std::string text) {
  notes_.emplace_back(Note{level, std::move(text)});
}

}  // namespace gordian::agent
