// Aborts that come from outside: the coordinator's orders, and an administrator's force.
#include <algorithm>

#include "lease/lock_server.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;

}  // namespace

bool LockServer::abort_waiting(const TxnId& txn, const std::string& incident, WaitNumber wait, ServerTime now) {
  advance(now);
#ifdef GORDIAN_MUTATION_ABORT_CONDITION  // see agent/session.cpp
  const bool done = wait == WaitNumber{} ? table_.abort(txn, incident) : table_.abort(txn, incident, wait);
#else
  const bool done = table_.abort(txn, incident, wait);
#endif
  if (done) ++counters_.aborted;
  return done;
}

bool LockServer::abort_holding(const TxnId& txn, const std::string& incident, const std::string& name, WaitNumber wait,
                               ServerTime now) {
  advance(now);
  const auto blockers = table_.blockers(name, wait);
  if (std::none_of(blockers.begin(), blockers.end(), [&](const BlockerView& b) { return b.txn == txn; })) return false;
  const auto it = txns_.find(txn);
  if (it == txns_.end() || it->second.doom) return false;
  abort(it->second, {Code::deadlock,
                     "transaction " + txn.str() + " was aborted to break a deadlock (incident " + incident +
                         "); its locks are released, start it again",
                     incident});
  ++counters_.aborted;
  return true;
}

bool LockServer::reorder(const std::string& name, WaitNumber wait, const TxnId& ahead_of, ServerTime now) {
  advance(now);
  const bool done = table_.advance(name, wait, ahead_of);
  if (done) ++counters_.reordered;
  return done;
}

tl::expected<ForcedUnlock, std::string> LockServer::unlock_by_force(const std::string& name, const std::string& why,
                                                                    const std::string& by, ServerTime now) {
  advance(now);
  const auto before = table_.resource(name);
  if (!before) return tl::unexpected(std::string("nobody holds it"));
  ForcedUnlock done{name, {}, {}};
  const LockError reason{
      Code::forced, "released by force by " + (by.empty() ? std::string("somebody") : by) + ": " + why, {}};
  for (const HolderView& holder : before->holders) {
    const auto it = txns_.find(holder.txn);
    if (it == txns_.end()) continue;
    abort(it->second, reason);
    done.aborted.push_back(holder.txn);
  }
  counters_.forced += done.aborted.size();
  // The next grant has a larger fence than theirs. If nobody waited, one is made here, so that there is a number to tell the guard.
  LockTxn bump = table_.begin({.id = TxnId("gordian-unlock")});
  if (const auto answer = bump.lock(name, Mode{0}, {.wait = false})) done.fence = answer->fence;
  if (const auto after = table_.resource(name))
    for (const HolderView& holder : after->holders) done.fence = std::max(done.fence, holder.fence);
  bump.release_all();
  record(AuditRecord{now.unix_us, "unlock --force " + name, why, by});
  return done;
}

}  // namespace gordian::lease
