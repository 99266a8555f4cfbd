#include "postgres/ledger.hpp"

#include <algorithm>

namespace gordian::postgres {
namespace {

/// What the agent refused, for the log; but that a wait is over is no news: the agent ends a victim's by itself.
void note(const AgentError& error, Ledger::Complaints& complaints) {
  if (error.code != AgentError::Code::unknown_wait) complaints.push_back(error.message);
}

int firmness(Kind kind) {
  switch (kind) {
    case Kind::hard: return 0;
    case Kind::dotted: return 1;
    case Kind::soft: return 2;
  }
  return 3;
}

std::vector<Blocker> for_agent(const Blockers& blockers) {
  std::vector<Blocker> list;
  for (const auto& [txn, standing] : blockers) list.push_back({txn, standing.kind});
  return list;
}

bool same_for_agent(const Blockers& a, const Blockers& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first && x.second.kind == y.second.kind; });
}

}  // namespace

Blockers blockers_of(const SeenWait& wait) {
  Blockers blockers;
  for (const auto& seen : wait.blockers) {
    auto& standing = blockers.try_emplace(seen.txn, Standing{seen.kind, {}}).first->second;
    if (firmness(seen.kind) < firmness(standing.kind)) standing = {seen.kind, {}};
    if (seen.kind == standing.kind) standing.branches.insert(seen.branch);
  }
  return blockers;
}

std::vector<TxnId> renewed(const Blockers& before, const Blockers& now) {
  std::vector<TxnId> txns;
  for (const auto& [txn, standing] : now) {
    const auto old = before.find(txn);
    if (old == before.end()) continue;
    const bool one_stayed = std::any_of(standing.branches.begin(), standing.branches.end(),
                                        [&](const Branch& branch) { return old->second.branches.contains(branch); });
    if (!one_stayed || (standing.kind == Kind::hard && old->second.kind != Kind::hard)) txns.push_back(txn);
  }
  return txns;
}

Ledger::Complaints Ledger::apply(Agent& agent, const std::vector<int>& asked, const Observation& seen) {
  Complaints complaints;
  const std::set<int> pids(asked.begin(), asked.end());
  std::set<Episode> now;
  for (const auto& wait : seen.waits) now.insert({wait.branch, wait.waitstart_us, wait.waiter});
  for (auto entry = standing_.begin(); entry != standing_.end();) {
    if (!pids.contains(entry->first.branch.pid) || now.contains(entry->first)) {
      ++entry;
      continue;
    }
    agent.end_wait(entry->second.handle);
    episodes_.erase(entry->second.handle);
    entry = standing_.erase(entry);
  }
  describe(agent, seen.txns, complaints);  // before the waits, so that nobody is judged by half
  for (const auto& wait : seen.waits) {
    const Episode episode{wait.branch, wait.waitstart_us, wait.waiter};
    if (const auto entry = standing_.find(episode); entry != standing_.end())
      update(agent, entry->second, blockers_of(wait), complaints);
    else
      begin(agent, episode, wait, complaints);
  }
  forget_unused(agent);
  return complaints;
}

void Ledger::describe(Agent& agent, const std::map<TxnId, TxnInfo>& txns, Complaints& complaints) {
  for (const auto& [txn, info] : txns) {
    const auto known = described_.find(txn);
    if (known != described_.end() && known->second == info) continue;
    if (auto done = agent.describe(txn, info); done)
      described_.insert_or_assign(txn, info);
    else
      note(done.error(), complaints);
  }
}

void Ledger::begin(Agent& agent, const Episode& episode, const SeenWait& wait, Complaints& complaints) {
  auto blockers = blockers_of(wait);
  const auto handle =
      agent.begin_wait({wait.waiter, for_agent(blockers), wait.resource, wait.mode, wait.detail, wait.age});
  if (!handle) {
    note(handle.error(), complaints);
    return;
  }
  standing_.insert({episode, {*handle, std::move(blockers)}});
  episodes_.insert({*handle, episode});
}

void Ledger::update(Agent& agent, Entry& entry, Blockers now, Complaints& complaints) {
  if (now == entry.blockers) return;
  if (!same_for_agent(now, entry.blockers))
    if (auto done = agent.set_blockers(entry.handle, for_agent(now)); !done) {
      note(done.error(), complaints);
      return;
    }
  for (const auto& txn : renewed(entry.blockers, now))
    if (auto done = agent.renew_blocker(entry.handle, txn); !done) note(done.error(), complaints);
  entry.blockers = std::move(now);
}

void Ledger::forget_unused(Agent& agent) {
  std::set<TxnId> used;
  for (const auto& [episode, entry] : standing_) {
    used.insert(episode.waiter);
    for (const auto& [txn, standing] : entry.blockers) used.insert(txn);
  }
  std::erase_if(described_, [&](const auto& described) {
    if (used.contains(described.first)) return false;
    agent.forget(described.first);
    return true;
  });
}

void Ledger::clear(Agent& agent) {
  for (const auto& [episode, entry] : standing_) agent.end_wait(entry.handle);
  standing_.clear();
  episodes_.clear();
  forget_unused(agent);
}

std::vector<int> Ledger::pids() const {
  std::vector<int> pids;
  for (const auto& [episode, entry] : standing_) pids.push_back(episode.branch.pid);
  return pids;
}

std::vector<Branch> Ledger::branches() const {
  std::vector<Branch> branches;
  for (const auto& [episode, entry] : standing_) branches.push_back(episode.branch);
  return branches;
}

bool Ledger::knows(const Branch& branch) const {
  const auto first = standing_.lower_bound(Episode{branch, 0, TxnId("-")});
  return first != standing_.end() && first->first.branch == branch;
}

const Episode* Ledger::find(WaitHandle handle) const {
  const auto found = episodes_.find(handle);
  return found == episodes_.end() ? nullptr : &found->second;
}

std::vector<Branch> Ledger::branches_blocking(WaitHandle handle, const TxnId& txn) const {
  const Episode* episode = find(handle);
  if (episode == nullptr) return {};
  const auto& blockers = standing_.at(*episode).blockers;
  const auto found = blockers.find(txn);
  if (found == blockers.end()) return {};
  return {found->second.branches.begin(), found->second.branches.end()};
}

}  // namespace gordian::postgres
