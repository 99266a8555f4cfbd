// Whose turn it is. Conversions come before waiters. A newcomer or waiter is granted when it is compatible with every holder
// and stands in nobody's way: no conversion and no earlier waiter conflicts with it. So equals keep their order, compatible
// neighbours go together, and none starves: what overtakes a waiter is compatible with it.
//
// Conversions do not wait for each other's place in the queue: who holds already and can be raised without disturbing a
// holder is raised, for to make it wait for another conversion, which may wait for its very lock, would be a deadlock of our
// own making. The holders can't become more while a conversion waits that they conflict with, so it does not starve.
#include <algorithm>
#include <bit>

#include "lock/shard.hpp"

namespace gordian::lock {
namespace {

bool prevents(const Core& core) { return core.strategy == Strategy::wait_die || core.strategy == Strategy::wound_wait; }

}  // namespace

Contention& Shard::contention_of(Head& head) {
  if (head.contention == nullptr) {
    head.contention = contentions_.take();
    *head.contention = Contention{};
    if (head.holder != nullptr) head.contention->held.add(head.mode);
  }
  return *head.contention;
}

/// Frees what nothing is left of.
void Shard::tidy(Head* head) {
  Contention* contention = head->contention;
  if (contention != nullptr && contention->queued == 0 && contention->holders.empty()) {
    contentions_.give(std::exchange(head->contention, nullptr));
    contention = nullptr;
  }
  if (contention == nullptr && head->holder == nullptr) erase(head);
}

bool Shard::admits(const Head& head, Mode mode) const {
  const ModeMatrix& modes = rules_->modes;
  if (head.contention == nullptr) return !has(modes.conflicts(mode), head.mode);
  const Contention& contention = *head.contention;
  const ModeSet kept_waiting = modes.obstructs(mode) & (contention.targets.present | contention.waiting_modes);
  return (modes.conflicts(mode) & contention.held.present) == 0 && kept_waiting == 0;
}

Request* Shard::admit(Head& head, Core& core, Mode mode) {
  Contention& contention = contention_of(head);
  contention.held.add(mode);
  ++step_;
  report_holder(head, core, mode, true);
  if (head.holder == nullptr) {
    head.holder = &core;
    head.mode = mode;
    head.count = 1;
    head.fence = step_;
    return nullptr;
  }
  Request* request = requests_.take();
  *request = {.head = &head, .txn = &core, .fence = step_, .count = 1, .mode = mode, .state = Request::State::holding};
  contention.holders.push_back(request);
  return request;
}

Request* Shard::enqueue(Head& head, Request wanted, Share share) {
  Contention& contention = contention_of(head);
  Request* request = requests_.take();
  *request = wanted;
  request->head = &head;
  request->id = request->place = ++step_;
  if (request->state == Request::State::converting) {
    contention.converting.push_back(request);
    contention.targets.add(request->mode);
  } else {
    contention.waiting[index(request->mode)].push_back(request);
    contention.waiting_modes |= bit(request->mode);
  }
  ++contention.queued;
  if (prevents(*request->txn)) ++contention.preventing;
  if (request->deadline != never) {
    deadlines.emplace(request->deadline, request);
    next_deadline.store(deadlines.begin()->first, std::memory_order_relaxed);
  }
  rules_->registry.add(*request->txn);
  report_wait(head, *request, share);
  report_fronts(head);
  return request;
}

void Shard::drop_deadline(Request* request) {
  if (request->deadline == never) return;
  deadlines.erase({request->deadline, request});
  next_deadline.store(deadlines.empty() ? never : deadlines.begin()->first, std::memory_order_relaxed);
}

/// Takes it out of its list; what becomes of it is the caller's business.
void Shard::unqueue(Request* request) {
  Head& head = *request->head;
  Contention& contention = *head.contention;
  drop_deadline(request);
  if (request->state == Request::State::converting) {
    contention.converting.remove(request);
    contention.targets.remove(request->mode);
  } else {
    RequestList& list = contention.waiting[index(request->mode)];
    list.remove(request);
    if (list.empty()) contention.waiting_modes = static_cast<ModeSet>(contention.waiting_modes & ~bit(request->mode));
  }
  --contention.queued;
  if (prevents(*request->txn)) --contention.preventing;
  ++step_;
  report_wait_over(head, *request);
}

void Shard::withdraw(Request* request) {
  Head* head = request->head;
  unqueue(request);
  requests_.give(request);
  pass_on(head);
}

void Shard::change_mode(Head& head, Request* hold, Core& core, Mode mode) {
  Hold held = hold_of(head, hold);
  if (held.mode == mode) return;
  ++step_;
  report_holder(head, core, held.mode, false);
  if (!rules_->modes.covers(held.mode, mode)) held.fence = step_;
  if (head.contention != nullptr) {
    head.contention->held.remove(held.mode);
    head.contention->held.add(mode);
  }
  held.mode = mode;
  report_holder(head, core, mode, true);
}

void Shard::leave(Head* head, Request* hold, Core& core) {
  Contention* contention = head->contention;
  if (contention == nullptr) {
    erase(head);
    return;
  }
  ++step_;
  const Mode mode = hold_of(*head, hold).mode;
  contention->held.remove(mode);
  report_holder(*head, core, mode, false);
  if (hold == nullptr) {
    head->holder = nullptr;
  } else {
    contention->holders.remove(hold);
    requests_.give(hold);
  }
  pass_on(head);
}

/// Whether any conversion can be granted as far as the counts tell: what is in its way may only be its own hold.
bool Shard::some_conversion_fits(const Contention& contention) const {
  for (ModeSet left = contention.targets.present; left != 0; left = static_cast<ModeSet>(left & (left - 1))) {
    const Mode target = static_cast<Mode>(std::countr_zero(left));
    const ModeSet in_the_way = rules_->modes.conflicts(target) & contention.held.present;
    if (in_the_way == 0) return true;
    if (std::has_single_bit(in_the_way) && contention.held.count[std::countr_zero(in_the_way)] == 1) return true;
  }
  return false;
}

const Request* Shard::front_for(const Contention& contention, Mode mode) const {
  const ModeSet behind = rules_->modes.obstructs(mode);
  if ((contention.targets.present & behind) != 0)
    for (const Request* request = contention.converting.front; request != nullptr; request = request->next)
      if (has(behind, request->mode)) return request;
  const Request* front = nullptr;
  for (ModeSet left = contention.waiting_modes & behind; left != 0; left = static_cast<ModeSet>(left & (left - 1))) {
    const Request* first = contention.waiting[std::countr_zero(left)].front;
    if (front == nullptr || first->place < front->place) front = first;
  }
  return front;
}

/// Whether the first waiter of `mode` may be granted.
bool Shard::has_turn(const Head& head, Mode mode) const {
  const Contention& contention = *head.contention;
  if ((rules_->modes.conflicts(mode) & contention.held.present) != 0) return false;
  const Request* before = front_for(contention, mode);
  return before == nullptr ||
         (before->state == Request::State::waiting && before->place >= contention.waiting[index(mode)].front->place);
}

/// The first waiter whose turn it is; null if none.
Request* Shard::next_waiter(const Head& head) const {
  Request* next = nullptr;
  for (ModeSet left = head.contention->waiting_modes; left != 0; left = static_cast<ModeSet>(left & (left - 1))) {
    const Mode mode = static_cast<Mode>(std::countr_zero(left));
    Request* first = head.contention->waiting[index(mode)].front;
    if ((next == nullptr || first->place < next->place) && has_turn(head, mode)) next = first;
  }
  return next;
}

void Shard::grant_conversion(Head& head, Request* request) {
  unqueue(request);
  change_mode(head, request->hold, *request->txn, request->mode);
  const Hold hold = hold_of(head, request->hold);
  ++hold.count;
  request->fence = hold.fence;
  request->state = Request::State::converted;
  tell_granted(request);
}

void Shard::grant_waiter(Head& head, Request* request) {
  unqueue(request);
  request->state = Request::State::holding;
  request->count = 1;
  request->fence = ++step_;
  head.contention->held.add(request->mode);
  head.contention->holders.push_back(request);
  report_holder(head, *request->txn, request->mode, true);
  tell_granted(request);
}

void Shard::tell_granted(Request* request) {
  tell(PartGranted{CoreRef(*request->txn), request->ticket, request->item});
}

std::vector<Request*> Shard::queue_of(const Contention& contention) {
  std::vector<Request*> queue;
  for (const RequestList& list : contention.waiting)
    for (Request* request = list.front; request != nullptr; request = request->next) queue.push_back(request);
  std::sort(queue.begin(), queue.end(), [](const Request* a, const Request* b) { return a->place < b->place; });
  return queue;
}

/// Grants the waiter past that transaction's conversion, if only that and what comes after it is in the way.
bool Shard::advance_past_conversion(Head* head, Request* request, const TxnId& ahead_of) {
  const Contention& contention = *head->contention;
  const ModeSet behind = rules_->modes.obstructs(request->mode);
  if ((rules_->modes.conflicts(request->mode) & contention.held.present) != 0) return false;
  const Request* ahead = contention.converting.front;
  for (; ahead != nullptr && ahead->txn->options.id != ahead_of; ahead = ahead->next)
    if (has(behind, ahead->mode)) return false;
  if (ahead == nullptr) return false;
  grant_waiter(*head, request);
  pass_on(head);
  return true;
}

bool Shard::advance(Head* head, WaitNumber wait, const TxnId& ahead_of) {
  Contention* contention = head->contention;
  if (contention == nullptr || contention->preventing != 0) return false;
  const std::vector<Request*> queue = queue_of(*contention);
  const auto mover = std::find_if(queue.begin(), queue.end(), [&](Request* r) { return wait_number(*r) == wait; });
  if (mover == queue.end()) return false;
  const auto ahead = std::find_if(queue.begin(), mover, [&](Request* r) { return r->txn->options.id == ahead_of; });
  if (ahead == mover) return advance_past_conversion(head, *mover, ahead_of);
  Request* const request = *mover;
  RequestList& list = contention->waiting[index(request->mode)];
  list.remove(request);
  const std::uint64_t place = (*ahead)->place;
  for (auto passed = ahead; passed != mover; ++passed) (*passed)->place = (*std::next(passed))->place;
  request->place = place;
  list.insert(request);
  ++step_;
  pass_on(head);
  return true;
}

void Shard::pass_on(Head* head) {
  Contention* contention = head->contention;
  if (contention != nullptr && contention->queued != 0) {
    for (Request* request = contention->converting.front; request != nullptr && some_conversion_fits(*contention);) {
      Request* next = request->next;
      const Mode own = hold_of(*head, request->hold).mode;
      if ((rules_->modes.conflicts(request->mode) & contention->held.without(own)) == 0)
        grant_conversion(*head, request);
      request = next;
    }
    while (Request* request = next_waiter(*head)) grant_waiter(*head, request);
    report_fronts(*head);
  }
  tidy(head);
}

}  // namespace gordian::lock
