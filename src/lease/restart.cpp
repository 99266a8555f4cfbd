// After a restart: what a journal gives back, requests that wait for the end of the grace period, and holders that reclaim.
#include <algorithm>

#include "lease/lock_server.hpp"

namespace gordian::lease {
namespace {

using wire::LockStatus;
using Code = LockError::Code;

LockError error(Code code, std::string message) { return {code, std::move(message), {}}; }

}  // namespace

/// With a journal: everything is held again, under the fences of before, and every lease is a whole one from now on.
void LockServer::restore() {
  for (const SessionRecord& r : options_.found.sessions) {
    Session& session = sessions_[r.session];
    session.id = r.session;
    session.label = r.label;
    session.ttl_us = r.ttl_us;
    session.lock_delay_us = r.lock_delay_us;
    session.expires_us = lease_now_us() + r.ttl_us;
    leases_.push({session.expires_us, session.id});
  }
  // The end of a hold is written after the grants that it made possible, and may be missing: of holds that conflict the newest
  // stands, and the others are gone.
  auto holds = options_.found.holds;
  std::stable_sort(holds.begin(), holds.end(),
                   [](const HoldRecord& one, const HoldRecord& other) { return other.fence < one.fence; });
  std::vector<HoldGone> gone;
  for (const HoldRecord& r : holds) {
    Session* session = find_session(r.session);
    const auto mode = table_.modes().find(r.mode);
    if (session == nullptr || !mode) continue;
    const auto txn = txn_of(*session, r.txn, r.request, r.start);
    if (!txn) continue;
    const wire::HeldLock held{r.name, r.mode, r.count, {r.fence.epoch, r.fence.counter}};
    if (!reclaim(**txn, held, r.request, r.item)) {
      gone.push_back({r.txn, r.name});
      continue;
    }
    (*txn)->holds.at(r.name).since_unix_us = r.since_unix_us;
    // The answer may have been lost with the server before.
    auto& known = session->requests[r.request];
    known.reply.session = session->id;
    known.reply.request = r.request;
    known.reply.status = wire::LockStatus::done;
    known.reply.grants.push_back({r.item, held.fence});
  }
  records_.clear();  // all of it is on disk already
  recorded_ = 0;
  for (auto& over : gone) record(std::move(over));
}

void LockServer::hold_back(Session& session, Txn& txn, const wire::LockRequest& r, std::int64_t deadline_us) {
  if (r.wait_us == std::uint64_t{0})
    return answer(session, r.id.request, LockStatus::refused,
                  "the agent was started again; only those who held locks before may have them for another " +
                      std::to_string((grace_until_us_ - now_.steady_us) / 1000) + " ms");
  if (held_back_.size() >= options_.limits.held_back)
    return answer(session, r.id.request,
                  error(Code::limit,
                        std::to_string(held_back_.size()) + " requests wait for the end of the grace period already"));
  wait_for(session, r.id.request, txn, true);
  held_back_.push_back({session.id, r, deadline_us});
  answer_waiting(session, r.id.request);
}

void LockServer::release_held_back() {
  for (const HeldBack& held : std::exchange(held_back_, {})) {
    Session* session = find_session(held.session);
    if (session == nullptr) continue;
    const std::uint64_t request = held.request.id.request;
    const auto known = session->requests.find(request);
    if (known == session->requests.end() || !known->second.held_back) continue;
    Txn* txn = find_txn(*session, held.request.txn);
    if (txn == nullptr || txn->doom) {
      answer(*session, request, txn == nullptr ? error(Code::cancelled, "the transaction ended") : *txn->doom);
    } else if (held.deadline_us <= now_.steady_us) {
      answer(*session, request, LockStatus::timeout, "the time to wait was over before the agent's grace period was");
    } else {
      lock_now(*session, held.request.id, *txn, held.request, held.deadline_us);
    }
  }
}

void LockServer::expire_held_back() {
  std::erase_if(held_back_, [this](const HeldBack& held) {
    if (held.deadline_us > now_.steady_us) return false;
    if (Session* session = find_session(held.session))
      if (const auto known = session->requests.find(held.request.id.request);
          known != session->requests.end() && known->second.held_back)
        answer(*session, held.request.id.request, LockStatus::timeout,
               "the time to wait is over; the agent was started again");
    return true;
  });
}

/// Takes what was held before. Errors: somebody else has it.
tl::expected<void, LockError> LockServer::reclaim(Txn& txn, const wire::HeldLock& held, std::uint64_t request,
                                                  std::uint64_t item) {
  const auto mode = table_.modes().find(held.mode);
  if (!mode) return tl::unexpected(error(Code::invalid, "there is no lock mode \"" + held.mode + "\" here"));
  constexpr std::uint64_t count_max = 1'000'000;
  if (held.count == 0 || held.count > count_max)
    return tl::unexpected(error(Code::invalid, "a lock is held 1 to 1000000 times"));
  Fence fence;
  for (std::uint64_t taken = 0; taken < held.count; ++taken) {
    const auto answer = txn.handle->lock(held.name, *mode, {.wait = false});
    if (!answer) {
      for (; taken > 0; --taken) (void)txn.handle->unlock(held.name);
      return tl::unexpected(answer.error());
    }
    fence = answer->fence;
  }
  if (!txn.holds.contains(held.name)) ++counters_.locks;
  txn.holds.insert_or_assign(
      held.name, Hold{*mode, held.count, fence, {held.fence.epoch, held.fence.counter}, now_.unix_us, request, item});
  return {};
}

void LockServer::on(Session& session, const wire::ReclaimRequest& r) {
  const auto txn = txn_of(session, r.txn, r.id.request, r.start);
  if (!txn) return answer(session, r.id.request, txn.error());
  Txn& it = **txn;
  if (it.doom) return answer(session, r.id.request, *it.doom);
  for (const auto& held : r.holds) {
    const auto known = it.holds.find(held.name);
    // Claiming less is fine: the answer to an upgrade was lost with the server before.
    const auto mode = table_.modes().find(held.mode);
    if (known != it.holds.end() && mode && table_.modes().covers(known->second.mode, *mode) &&
        known->second.shown >= Fence{held.fence.epoch, held.fence.counter})
      continue;
    auto done = in_grace() && known == it.holds.end()
                    ? reclaim(it, held, r.id.request, 0)
                    : tl::unexpected(error(Code::lease_lost,
                                           "the agent was started again and does not know this lock to be held; "
                                           "the time to reclaim is over"));
    if (!done) {
      const LockError lost = error(Code::lease_lost, "a lock could not be reclaimed: " + done.error().message);
      abort(it, lost);
      return answer(session, r.id.request, lost);
    }
  }
  ++counters_.reclaimed;
  answer(session, r.id.request, LockStatus::done);
}

}  // namespace gordian::lease
