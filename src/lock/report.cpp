// What a shard tells: waits by resource and holder group, in O(modes) per change; and, on demand, blockers by name.
//
// The holders of a resource are told once, when its first wait begins, and from then on only who joins and leaves a group.
// A wait names the groups it conflicts with. Of requests queued ahead only the first in the way of each mode is told, and
// only while no holder is in the way: it is itself kept by a holder, so every cycle through another one ahead is also one
// through a hard blocker, now or as soon as that one holds.
#include <algorithm>

#include "lock/shard.hpp"

namespace gordian::lock {

namespace {

/// Calls `f(core, hold)` for each holder.
template <class F>
void for_each_holder(const Head& head, F f) {
  if (head.holder != nullptr) f(*head.holder, head.mode, head.count, head.fence);
  if (head.contention == nullptr) return;
  for (const Request* hold = head.contention->holders.front; hold != nullptr; hold = hold->next)
    f(*hold->txn, hold->mode, hold->count, hold->fence);
}

/// Calls `f(request)` for each waiter in the order of the queue, conversions first.
template <class F>
void for_each_queued(const Head& head, F f) {
  if (head.contention == nullptr) return;
  for (const Request* request = head.contention->converting.front; request != nullptr; request = request->next)
    f(*request);
  for (const Request* request : Shard::queue_of(*head.contention)) f(*request);
}

}  // namespace

void Shard::report_wait(Head& head, Request& request, Share share) {
  if (!rules_->observed) return;
  if (head.contention->queued == 1) report_holders(head);
  tell(WaitBegun{.wait = wait_number(request),
                 .resource = std::string(head.key()),
                 .waiter = request.txn->options.id,
                 .mode = request.mode,
                 .conversion = request.state == Request::State::converting,
                 .groups = rules_->modes.conflicts(request.mode),
                 .ticket = Ticket{request.ticket},
                 .need = share.need,
                 .of = share.of,
                 .step = step_,
                 .start = request.txn->options.start});
}

void Shard::report_wait_over(Head& head, Request& request) {
  if (!rules_->observed) return;
  tell(WaitEnded{wait_number(request), std::string(head.key()), step_});
  if (head.contention->queued != 0) return;
  head.contention->fronts.fill(0);
  tell(ResourceCalm{std::string(head.key()), step_});
}

void Shard::report_holder(Head& head, Core& core, Mode mode, bool joined) {
  if (!rules_->observed || !head.queued()) return;
  if (joined) rules_->registry.add(core);
  tell(HolderChanged{joined, std::string(head.key()), mode, core.options.id, step_});
}

void Shard::report_holders(Head& head) {
  for_each_holder(head,
                  [&](Core& core, Mode mode, std::uint32_t, std::uint64_t) { report_holder(head, core, mode, true); });
}

void Shard::report_fronts(Head& head) {
  if (!rules_->observed || !head.queued()) return;
  Contention& contention = *head.contention;
  for (std::size_t i = 0; i < rules_->modes.size(); ++i) {
    const Mode mode = static_cast<Mode>(i);
    const bool shown =
        has(contention.waiting_modes, mode) && (rules_->modes.conflicts(mode) & contention.held.present) == 0;
    const Request* front = shown ? front_for(contention, mode) : nullptr;
    const std::uint64_t id = front != nullptr ? front->id : 0;
    if (std::exchange(contention.fronts[i], id) == id) continue;
    tell(FrontChanged{std::string(head.key()), mode,
                      front != nullptr ? std::optional(wait_number(*front)) : std::nullopt, step_});
  }
}

const Request* Shard::find_wait(const Head& head, WaitNumber wait) const {
  if (head.contention == nullptr) return nullptr;
  const auto in = [&](const RequestList& list) {
    const Request* request = list.front;
    while (request != nullptr && wait_number(*request) != wait) request = request->next;
    return request;
  };
  if (const Request* request = in(head.contention->converting)) return request;
  for (const RequestList& list : head.contention->waiting)
    if (const Request* request = in(list)) return request;
  return nullptr;
}

bool Shard::held_since(const Head& head, const TxnId& txn, std::uint64_t since) const {
  bool held = false;
  for_each_holder(head, [&](const Core& core, Mode, std::uint32_t, std::uint64_t fence) {
    held = held || (fence <= since && core.options.id == txn);
  });
  return held;
}

std::vector<BlockerView> Shard::blockers(const Head& head, const Request& request) const {
  std::vector<BlockerView> blockers;
  for_each_holder(head, [&](const Core& core, Mode mode, std::uint32_t, std::uint64_t fence) {
    if (&core != request.txn && has(rules_->modes.conflicts(request.mode), mode))
      blockers.push_back({core.options.id, Kind::hard, fence});
  });
  if (blockers.empty() && request.state == Request::State::waiting)
    if (const Request* front = front_for(*head.contention, request.mode); front != nullptr && front->id != request.id)
      blockers.push_back({front->txn->options.id, Kind::soft, front->id});
  return blockers;
}

ResourceView Shard::view(const Head& head) const {
  ResourceView view{std::string(head.key()), {}, {}};
  for_each_holder(head, [&](const Core& core, Mode mode, std::uint32_t count, std::uint64_t fence) {
    view.holders.push_back({core.options.id, mode, count, Fence{rules_->epoch, fence}});
  });
  for_each_queued(head, [&](const Request& request) {
    view.waiters.push_back(
        {request.txn->options.id, request.mode, request.state == Request::State::converting, wait_number(request)});
  });
  return view;
}

}  // namespace gordian::lock
