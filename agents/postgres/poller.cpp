#include "postgres/poller.hpp"

#include <algorithm>

namespace gordian::postgres {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// After a question that took t, the next waits 4 t: at most a fifth of the time. Without a sign of change, 9 t: a tenth.
constexpr int rest_after_question = 4, rest_without_change = 9;
/// A wait of unknown age is looked at again after this.
constexpr milliseconds soon{1};

}  // namespace

Poller::Result Poller::poll(Connection& connection, Agent& agent) {
  const auto waiters = observer_.look(connection);
  if (!waiters) return tl::unexpected(waiters.error());
  ++counters_.looks;
  const auto now = Clock::now();
  const bool changed = take(*waiters, now);
  next_look_ = now + (seen_.empty() && ledger_.empty() ? options_.poll_interval : options_.busy_poll_interval);
  if (now < ask_again_) return Ledger::Complaints{};
  auto pids = come_of_age(now);
  const bool all = !ledger_.empty() && (changed || now >= refresh_);
  if (all) {
    const auto standing = ledger_.pids();
    pids.insert(pids.end(), standing.begin(), standing.end());
  }
  if (pids.empty()) return Ledger::Complaints{};
  auto result = ask(connection, agent, pids, options_.publish_after);
  const auto done = Clock::now();
  ask_again_ = done + rest_after_question * (done - now);
  if (all) refresh_ = done + std::max<Clock::duration>(options_.poll_interval, rest_without_change * (done - now));
  return result;
}

bool Poller::take(const std::vector<Waiter>& waiters, Clock::time_point now) {
  bool changed = false;
  std::map<Branch, Seen> seen;
  for (const auto& waiter : waiters) {
    const auto before = seen_.find(waiter.branch);
    const bool same = before != seen_.end() && before->second.statement_start_us == waiter.statement_start_us;
    const auto age = std::min(waiter.statement_age, options_.publish_after);
    const auto due = same ? before->second.due : now + (options_.publish_after - age);
    seen.insert({waiter.branch, {waiter.statement_start_us, due}});
    changed |= !same && ledger_.knows(waiter.branch);
  }
  for (const auto& branch : ledger_.branches()) changed |= !seen.contains(branch);
  seen_ = std::move(seen);
  return changed;
}

std::vector<int> Poller::come_of_age(Clock::time_point now) const {
  std::vector<int> pids;
  for (const auto& [branch, seen] : seen_)
    if (seen.due <= now && !ledger_.knows(branch)) pids.push_back(branch.pid);
  return pids;
}

Poller::Result Poller::ask(Connection& connection, Agent& agent, const std::vector<int>& pids, microseconds age_min) {
  const auto observation = observer_.ask(connection, pids, age_min);
  if (!observation) return tl::unexpected(observation.error());
  ++counters_.questions;
  auto complaints = ledger_.apply(agent, pids, *observation);
  const auto now = Clock::now();
  for (auto& [branch, seen] : seen_)  // those that gave no answer are asked at the next look again
    if (seen.due <= now) seen.due = now + options_.busy_poll_interval;
  for (const auto& young : observation->young)
    if (const auto seen = seen_.find(young.branch); seen != seen_.end())
      seen->second.due = now + std::max<microseconds>(options_.publish_after - young.age, soon);
  return complaints;
}

Poller::Result Poller::confirm(Connection& connection, Agent& agent, const std::vector<WaitHandle>& waits) {
  std::vector<int> pids;
  for (const auto wait : waits)
    if (const Episode* episode = ledger_.find(wait)) pids.push_back(episode->branch.pid);
  if (pids.empty()) return Ledger::Complaints{};
  return ask(connection, agent, pids, microseconds(0));
}

Poller::Clock::time_point Poller::next_due() const {
  auto next = next_look_;
  for (const auto& [branch, seen] : seen_)
    if (!ledger_.knows(branch)) next = std::min(next, std::max(seen.due, ask_again_));
  return next;
}

void Poller::reset() {
  seen_.clear();
  next_look_ = ask_again_ = refresh_ = {};
}

}  // namespace gordian::postgres
