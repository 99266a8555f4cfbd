// One resource for one transaction: granted, waiting or refused. Here is also what each strategy says to a wait.
#include "lock/table.hpp"

namespace gordian::lock {
namespace {

using Code = LockError::Code;

Outcome refused(Refusal error) { return {.state = Item::State::refused, .error = std::move(error)}; }

/// Calls `f(core)` for each transaction that `wanted`, put into the queue now, would wait for.
template <class F>
void for_each_in_the_way(const ModeMatrix& modes, const Head& head, const Request& wanted, F f) {
  const ModeSet conflicts = modes.conflicts(wanted.mode);
  if (head.holder != nullptr && head.holder != wanted.txn && has(conflicts, head.mode)) f(*head.holder);
  if (head.contention == nullptr) return;
  const auto each = [&](const RequestList& list) {
    for (const Request* request = list.front; request != nullptr; request = request->next)
      if (request->txn != wanted.txn && has(conflicts, request->mode)) f(*request->txn);
  };
  each(head.contention->holders);
  if (wanted.state == Request::State::converting) return;
  each(head.contention->converting);
  for (const RequestList& list : head.contention->waiting) each(list);
}

}  // namespace

/// Why this request makes no sense or may not be made now; null if it may.
Refusal Table::refusal(Core& core, std::string_view key, Mode mode) const {
  if (core.doom) [[unlikely]]
    return std::make_unique<LockError>(*core.doom);
  if (core.ended) [[unlikely]]
    return make_error(Code::invalid,
                      "transaction " + core.options.id.str() + " has ended; restart() begins another one");
  if (key.empty() || key.size() > options_.limits.key_bytes) [[unlikely]]
    return make_error(Code::limit, "a resource's name has 1 to " + std::to_string(options_.limits.key_bytes) +
                                       " bytes, this one has " + std::to_string(key.size()));
  if (index(mode) >= rules_.modes.size()) [[unlikely]]
    return make_error(Code::invalid, "mode " + std::to_string(index(mode)) + " is not one of the table's " +
                                         std::to_string(rules_.modes.size()));
  if (core.held.size() >= options_.limits.locks_per_txn) [[unlikely]]
    return make_error(Code::limit, "transaction " + core.options.id.str() + " holds " +
                                       std::to_string(core.held.size()) + " locks, the limit (locks_per_txn)");
  for (const auto& operation : core.operations)
    for (const Item& item : operation->items)
      if (item.state == Item::State::waiting && item.key == key)
        return make_error(Code::invalid,
                          "transaction " + core.options.id.str() + " waits for " + quoted(key) + " already");
  if (core.strategy == Strategy::ordered) [[unlikely]]
    return order_refusal(core, key);
  return nullptr;
}

Refusal Table::order_refusal(Core& core, std::string_view key) const {
  bool held = false;
  if (core.highest.empty() || key <= core.highest)
    for (std::size_t place = 0; place < core.held.size(); ++place) {
      const std::string_view own = core.held[place].head->key();
      if (own > core.highest) core.highest = own;
      held = held || own == key;
    }
  if (held || key > core.highest || core.highest.empty()) return nullptr;
  return make_error(Code::out_of_order, quoted(key) + " comes before " + quoted(core.highest) + ", which transaction " +
                                            core.options.id.str() +
                                            " holds already; take resources in ascending order");
}

Outcome Table::acquire(Core& core, const Ask& ask, Aftermath& after) {
  const std::uint64_t hash = hash_key(ask.key, options_.hash_seed);
  const auto tag = static_cast<std::uint32_t>(hash);
  Shard& shard = shard_of(hash);
  core.held.make_room();
  const Guard guard(shard.lock);
  Head* head = shard.find(tag, ask.key);
  if (head == nullptr) [[likely]] {
    head = shard.insert(tag, ask.key, &core, ask.mode);
    core.held.add({head, nullptr});
    return {.state = Item::State::granted, .fresh = true, .fence = head->fence};
  }
  Outcome outcome = acquire_taken(core, shard, *head, ask, after);
  after.note(shard);
  return outcome;
}

Outcome Table::acquire_taken(Core& core, Shard& shard, Head& head, const Ask& ask, Aftermath& after) {
  if (head.holder == &core) return reenter(core, shard, head, nullptr, ask, after);
  if (head.contention != nullptr)
    if (const std::size_t place = core.held.find(&head); place != HeldList::npos)
      return reenter(core, shard, head, core.held[place].request, ask, after);
  if (shard.admits(head, ask.mode)) {
    Request* hold = shard.admit(head, core, ask.mode);
    core.held.add({&head, hold});
    return {.state = Item::State::granted, .fresh = true, .fence = hold_of(head, hold).fence};
  }
  return queue_up(core, shard, head, {.mode = ask.mode, .state = Request::State::waiting}, ask, after);
}

Outcome Table::reenter(Core& core, Shard& shard, Head& head, Request* hold, const Ask& ask, Aftermath& after) {
  const Hold held = hold_of(head, hold);
  const Mode before = held.mode;
  const Mode target = rules_.modes.join(before, ask.mode);
  const bool raise = target != before;
  // Should a call that waits be undone, what it raised is lowered; but not below what is asked for here.
  for (const auto& operation : core.operations)
    for (Item& item : operation->items)
      if (operation->ticket != ask.ticket && item.state == Item::State::granted && item.key == head.key())
        item.before = rules_.modes.join(item.before, ask.mode);
  if (raise && (rules_.modes.conflicts(target) & Shard::held_beside(head, before)) != 0) {
    const Request wanted{.hold = hold, .mode = target, .before = before, .state = Request::State::converting};
    return queue_up(core, shard, head, wanted, ask, after);
  }
  if (raise) {
    raise_stands_in_the_way(core, head, before, target, after);
    shard.change_mode(head, hold, core, target);
    if (head.queued()) shard.report_fronts(head);
  }
  ++held.count;
  return {.state = Item::State::granted, .before = before, .fence = held.fence};
}

Outcome Table::queue_up(Core& core, Shard& shard, Head& head, Request wanted, const Ask& ask, Aftermath& after) {
  wanted.txn = &core;
  if (Refusal no = may_wait(core, head, wanted, ask, after)) return refused(std::move(no));
  if (wanted.state == Request::State::converting)
    raise_stands_in_the_way(core, head, wanted.before, wanted.mode, after);
  wanted.ticket = ask.ticket != 0 ? ask.ticket : next_ticket();
  wanted.item = ask.item;
  wanted.deadline = ask.deadline;
  Request* request = shard.enqueue(head, wanted, ask.share);
  return {.state = Item::State::waiting,
          .fresh = wanted.state == Request::State::waiting,
          .before = wanted.before,
          .request = request};
}

/// Why this request may not wait; null if it may.
Refusal Table::may_wait(const Core& core, const Head& head, const Request& wanted, const Ask& ask,
                        Aftermath& after) const {
  const ModeMatrix& modes = rules_.modes;
  const auto first_in_the_way = [&] {
    std::string name;
    for_each_in_the_way(modes, head, wanted, [&name](const Core& other) {
      if (name.empty()) name = other.options.id.str();
    });
    return name;
  };
  const std::string_view key = head.key();
  if (!ask.may_wait || core.strategy == Strategy::no_wait)
    return make_error(Code::refused,
                      shown(wanted.mode, key) + " is not free: transaction " + first_in_the_way() + " is in the way");
  if (head.contention != nullptr && head.contention->queued >= options_.limits.waiters_per_resource)
    return make_error(Code::limit, quoted(key) + " has " + std::to_string(head.contention->queued) +
                                       " waiters, the limit (waiters_per_resource)");
  const bool conversion = wanted.state == Request::State::converting;
  if (conversion && core.strategy == Strategy::ordered)
    return make_error(Code::out_of_order, "raising " + quoted(key) + " from " + std::string(modes.name(wanted.before)) +
                                              " to " + std::string(modes.name(wanted.mode)) +
                                              " would wait for transaction " + first_in_the_way() + "; ask for " +
                                              std::string(modes.name(wanted.mode)) + " of " + quoted(key) + " at once");
  if (conversion)
    for (const auto& operation : core.operations)
      for (const Item& item : operation->items)
        if (item.key == key)
          return make_error(Code::invalid, quoted(key) + " belongs to a call of transaction " + core.options.id.str() +
                                               " that waits; it can't be raised until that is over");
  return core.strategy == Strategy::wait_die || core.strategy == Strategy::wound_wait
             ? age_refusal(core, head, wanted, after)
             : nullptr;
}

/// wait_die: refused if someone in the way is older. wound_wait: condemns who is in the way and younger.
Refusal Table::age_refusal(const Core& core, const Head& head, const Request& wanted, Aftermath& after) const {
  const std::string_view key = head.key();
  Refusal no;
  for_each_in_the_way(rules_.modes, head, wanted, [&](Core& other) {
    if (core.strategy == Strategy::wait_die && !no && other.older_than(core))
      no = make_error(Code::refused, shown(wanted.mode, key) + ": transaction " + other.options.id.str() +
                                         " is in the way and older (wait_die); start again with the same start time");
    if (core.strategy == Strategy::wound_wait && core.older_than(other))
      after.condemned.push_back({CoreRef(other),
                                 {Code::wounded,
                                  "transaction " + core.options.id.str() + " is older and needs " + quoted(key) +
                                      " (wound_wait); start again with the same start time",
                                  {}},
                                 0});
  });
  return no;
}

/// A holder is about to hold `to`: waiters that it was not in the way of may now have to wait for it, and their strategies
/// have a word to say. O(1) unless such strategies wait here; then O(waiters).
void Table::raise_stands_in_the_way(Core& core, const Head& head, Mode from, Mode to, Aftermath& after) const {
  if (head.contention == nullptr || head.contention->preventing == 0) return;
  const ModeSet newly = rules_.modes.obstructs(to) & ~rules_.modes.obstructs(from);
  const auto each = [&](const RequestList& list) {
    for (const Request* request = list.front; request != nullptr; request = request->next) {
      Core& waiter = *request->txn;
      if (!has(newly, request->mode) || &waiter == &core) continue;
      if (waiter.strategy == Strategy::wait_die && core.older_than(waiter))
        after.condemned.push_back({CoreRef(waiter),
                                   {Code::refused,
                                    shown(request->mode, head.key()) + ": transaction " + core.options.id.str() +
                                        " came in the way and is older (wait_die)",
                                    {}},
                                   request->ticket});
      if (waiter.strategy == Strategy::wound_wait && waiter.older_than(core))
        after.condemned.push_back({CoreRef(core),
                                   {Code::wounded,
                                    "transaction " + waiter.options.id.str() + " is older and waits for " +
                                        quoted(head.key()) + " (wound_wait)",
                                    {}},
                                   0});
    }
  };
  each(head.contention->converting);
  for (const RequestList& list : head.contention->waiting) each(list);
}

}  // namespace gordian::lock
