// Calls that have to wait, and calls for several resources. All of them are one thing: a list of items of which `need` must be
// granted, taken either in turn (each waits until the one before it is held; all callers in one order) or all at once.
#include <algorithm>

#include "lock/table.hpp"

namespace gordian::lock {
namespace {

using Code = LockError::Code;
using State = Item::State;

std::size_t count(const Operation& operation, State state) {
  return static_cast<std::size_t>(std::count_if(operation.items.begin(), operation.items.end(),
                                                [state](const Item& item) { return item.state == state; }));
}

std::unique_ptr<Operation> operation_for(std::span<const LockItem> items, const LockOptions& options, Micros deadline) {
  auto operation = std::make_unique<Operation>();
  operation->tag = options.tag;
  operation->deadline = deadline;
  operation->need = items.size();
  operation->items.reserve(items.size());
  for (const LockItem& item : items)
    operation->items.push_back({.key = std::string(item.key),
                                .mode = item.mode,
                                .place = static_cast<std::uint32_t>(operation->items.size())});
  return operation;
}

std::vector<GrantedItem> granted_items(const Operation& operation, std::uint64_t epoch) {
  std::vector<GrantedItem> granted;
  for (const Item& item : operation.items)
    if (item.state == State::granted) granted.push_back({item.place, {epoch, item.fence}});
  std::sort(granted.begin(), granted.end(), [](const GrantedItem& a, const GrantedItem& b) { return a.item < b.item; });
  return granted;
}

/// A name that is in the list twice; empty if none is.
std::string_view named_twice(std::span<const LockItem> items) {
  std::vector<std::string_view> names;
  for (const LockItem& item : items) names.push_back(item.key);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice != names.end() ? *twice : std::string_view();
}

void fill(Item& item, Outcome& outcome) {
  item.state = outcome.state;
  item.fresh = outcome.fresh;
  item.before = outcome.before;
  item.fence = outcome.fence;
  item.request = outcome.request;
}

}  // namespace

Micros Table::deadline_of(const Core& core, const LockOptions& options) const {
  if (core.strategy != Strategy::timeout) return options.deadline;
  return std::min(options.deadline, options.now + options_.lock_timeout);
}

tl::expected<LockAnswer, LockError> Table::lock(Core& core, std::string_view key, Mode mode,
                                                const LockOptions& options) {
  Aftermath after;
  LockAnswer answer;
  {
    const Guard guard(core.lock);
    if (Refusal no = refusal(core, key, mode)) [[unlikely]]
      return tl::unexpected(std::move(*no));
    Outcome outcome = acquire(
        core, {.key = key, .mode = mode, .may_wait = options.wait, .deadline = deadline_of(core, options)}, after);
    if (outcome.state == State::refused) return tl::unexpected(std::move(*outcome.error));
    if (outcome.state == State::granted) {
      answer.fence = fence(outcome.fence);
    } else {
      const LockItem wanted{key, mode};
      auto operation = operation_for({&wanted, 1}, options, deadline_of(core, options));
      operation->ticket = outcome.request->ticket;
      fill(operation->items.front(), outcome);
      answer = {.waiting = true, .ticket = Ticket{operation->ticket}, .fence = {}};
      core.operations.push_back(std::move(operation));
    }
  }
  if (!after.nothing()) [[unlikely]]
    run(after);
  return answer;
}

/// Takes one more item of the call. Refused: the reason; nothing is undone here.
Refusal Table::take(Core& core, Operation& operation, Item& item, bool may_wait, Aftermath& after) {
  Refusal no = refusal(core, item.key, item.mode);
  if (!no) {
    const std::size_t granted = count(operation, State::granted);
    const Share share = operation.in_turn ? Share{} : Share{operation.need - granted, operation.items.size() - granted};
    Outcome outcome = acquire(core,
                              {.key = item.key,
                               .mode = item.mode,
                               .may_wait = may_wait,
                               .deadline = operation.deadline,
                               .ticket = operation.ticket,
                               .item = static_cast<std::uint32_t>(&item - operation.items.data()),
                               .share = share},
                              after);
    fill(item, outcome);
    no = std::move(outcome.error);
  }
  if (no) item.state = State::refused;
  return no;
}

Refusal Table::proceed_in_turn(Core& core, Operation& operation, bool may_wait, Aftermath& after) {
  for (Item& item : operation.items) {
    if (item.state == State::granted) continue;
    if (Refusal no = take(core, operation, item, may_wait, after)) return no;
    if (item.state == State::waiting) break;
  }
  return nullptr;
}

Refusal Table::proceed_at_once(Core& core, Operation& operation, bool may_wait, Aftermath& after) {
  Refusal last;
  const auto enough = [&operation] { return count(operation, State::granted) >= operation.need; };
  for (Item& item : operation.items)
    if (!enough()) last = take(core, operation, item, false, after);
  for (Item& item : operation.items)
    if (may_wait && !enough() && item.state == State::refused)
      if (Refusal no = take(core, operation, item, true, after)) last = std::move(no);
  if (count(operation, State::granted) + count(operation, State::waiting) >= operation.need) return nullptr;
  return last ? std::move(last) : make_error(Code::refused, "not enough of the resources are free");
}

Refusal Table::proceed(Core& core, Operation& operation, bool may_wait, Aftermath& after) {
  Refusal no = operation.in_turn ? proceed_in_turn(core, operation, may_wait, after)
                                 : proceed_at_once(core, operation, may_wait, after);
  if (no) {
    undo(core, operation, after);
  } else if (count(operation, State::granted) >= operation.need) {
    for (Item& item : operation.items)
      if (item.state == State::waiting) settle(core, item, after);
  }
  return no;
}

/// Begins a call for several resources.
tl::expected<LockManyAnswer, LockError> Table::start(Core& core, std::unique_ptr<Operation> operation,
                                                     const LockOptions& options) {
  Aftermath after;
  LockManyAnswer answer;
  Refusal no;
  {
    const Guard guard(core.lock);
    operation->ticket = next_ticket();
    operation->deadline = deadline_of(core, options);
    no = proceed(core, *operation, options.wait, after);
    if (!no && count(*operation, State::granted) >= operation->need) {
      answer.granted = granted_items(*operation, options_.epoch);
    } else if (!no) {
      answer.waiting = true;
      answer.ticket = Ticket{operation->ticket};
      core.operations.push_back(std::move(operation));
    }
  }
  run(after);
  if (no) return tl::unexpected(std::move(*no));
  return answer;
}

tl::expected<LockAnswer, LockError> Table::lock_path(Core& core, std::string_view path, Mode mode,
                                                     const LockOptions& options) {
  std::vector<LockItem> parts;
  const auto intention = index(mode) < rules_.modes.size() ? rules_.modes.on_parents(mode) : std::nullopt;
  // A separator at the front belongs to the first part.
  for (std::size_t end = path.find(options_.separator, 1); intention && end < path.size();
       end = path.find(options_.separator, end + 1))
    parts.push_back({path.substr(0, end), *intention});
  parts.push_back({path, mode});
  if (parts.size() > options_.limits.items_per_call || path.size() > options_.limits.key_bytes)
    return tl::unexpected(*make_error(Code::limit, "a path of " + std::to_string(parts.size()) + " parts and " +
                                                       std::to_string(path.size()) +
                                                       " bytes is over a limit (items_per_call, key_bytes)"));
  auto answer = start(core, operation_for(parts, options, never), options);
  if (!answer) return tl::unexpected(std::move(answer.error()));
  return LockAnswer{answer->waiting, answer->ticket, answer->waiting ? Fence{} : answer->granted.back().fence};
}

tl::expected<LockManyAnswer, LockError> Table::lock_all(Core& core, std::span<const LockItem> items,
                                                        const LockOptions& options) {
  return lock_some(core, items, items.size(), options);
}

tl::expected<LockManyAnswer, LockError> Table::lock_some(Core& core, std::span<const LockItem> items, std::size_t need,
                                                         const LockOptions& options) {
  if (items.size() > options_.limits.items_per_call)
    return tl::unexpected(
        *make_error(Code::limit, std::to_string(items.size()) + " resources in one call, the limit is " +
                                     std::to_string(options_.limits.items_per_call) + " (items_per_call)"));
  if (need == 0 || need > items.size())
    return tl::unexpected(*make_error(
        Code::invalid, std::to_string(need) + " of " + std::to_string(items.size()) + " resources can't be asked for"));
  if (const auto twice = need < items.size() ? named_twice(items) : std::string_view(); !twice.empty())
    return tl::unexpected(
        *make_error(Code::invalid, quoted(twice) + " is named twice; of alternatives each is named once"));
  auto operation = operation_for(items, options, never);
  operation->need = need;
  operation->in_turn = need == items.size();
  if (operation->in_turn)
    std::stable_sort(operation->items.begin(), operation->items.end(),
                     [](const Item& a, const Item& b) { return a.key < b.key; });
  return start(core, std::move(operation), options);
}

/// A request of a waiting call was granted by whoever was in its way: the call goes on, or is done.
void Table::part_granted(const PartGranted& part, Aftermath& after) {
  Core& core = *part.core;
  const Guard guard(core.lock);
  const auto found = std::find_if(core.operations.begin(), core.operations.end(),
                                  [&](const auto& operation) { return operation->ticket == part.ticket; });
  if (found == core.operations.end()) return;
  Operation& operation = **found;
  Item& item = operation.items[part.item];
  if (item.state != State::waiting) return;
  collect(core, item);
  // Out of the list while it goes on: its own earlier items are no obstacle to it.
  std::unique_ptr<Operation> own = std::move(*found);
  core.operations.erase(found);
  Refusal no;
  if (own->in_turn || count(*own, State::granted) >= own->need) no = proceed(core, *own, true, after);
  Notice notice{.kind = Notice::Kind::granted,
                .party = core.party(),
                .ticket = Ticket{own->ticket},
                .tag = own->tag,
                .items = {},
                .error = {}};
  if (no) {
    notice.kind = Notice::Kind::failed;
    notice.error = std::move(*no);
  } else if (count(*own, State::granted) < own->need) {
    core.operations.push_back(std::move(own));
    return;
  } else {
    notice.items = granted_items(*own, options_.epoch);
  }
  after.notices.push_back(std::move(notice));
}

/// The request was granted: the transaction takes over what it holds by it. Takes the shard's lock.
void Table::collect(Core& core, Item& item) {
  Request* request = std::exchange(item.request, nullptr);
  core.held.make_room();
  Shard& shard = shard_of(*request->head);
  const Guard guard(shard.lock);
  item.state = State::granted;
  item.fence = request->fence;
  if (request->state == Request::State::holding) {
    core.held.add({request->head, request});
  } else {
    shard.give_back(request);
  }
}

/// A waiting item waits no longer: it is withdrawn, or given back if it was granted in between.
void Table::settle(Core& core, Item& item, Aftermath& after) {
  Shard& shard = shard_of(*item.request->head);
  {
    const Guard guard(shard.lock);
    if (item.request->state == Request::State::waiting || item.request->state == Request::State::converting) {
      shard.withdraw(std::exchange(item.request, nullptr));
      item.state = State::refused;
      after.note(shard);
      return;
    }
  }
  collect(core, item);
  (void)give_up(core, item.key, &item, after);
  item.state = State::refused;
}

/// Nothing of the call is held or waited for any more.
void Table::undo(Core& core, Operation& operation, Aftermath& after) {
  for (auto item = operation.items.rbegin(); item != operation.items.rend(); ++item) {
    if (item->state == State::waiting) settle(core, *item, after);
    if (item->state == State::granted) (void)give_up(core, item->key, &*item, after);
    item->state = State::refused;
  }
}

bool Table::fail(Core& core, std::uint64_t ticket, const LockError& error, Aftermath& after) {
  const auto found = std::find_if(core.operations.begin(), core.operations.end(),
                                  [ticket](const auto& operation) { return operation->ticket == ticket; });
  if (found == core.operations.end()) return false;
  const std::unique_ptr<Operation> operation = std::move(*found);
  core.operations.erase(found);
  undo(core, *operation, after);
  after.notices.push_back({.kind = Notice::Kind::failed,
                           .party = core.party(),
                           .ticket = Ticket{operation->ticket},
                           .tag = operation->tag,
                           .items = {},
                           .error = error});
  return true;
}

void Table::fail_all(Core& core, const LockError& error, Aftermath& after) {
  while (!core.operations.empty()) fail(core, core.operations.front()->ticket, error, after);
}

bool Table::cancel(Core& core, Ticket ticket) {
  Aftermath after;
  bool done;
  {
    const Guard guard(core.lock);
    done = fail(core, static_cast<std::uint64_t>(ticket),
                {Code::cancelled, "the call was withdrawn while it waited", {}}, after);
  }
  run(after);
  return done;
}

void Table::expire(Micros now) {
  Aftermath after;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    Shard& shard = shards_[i];
    if (shard.next_deadline.load(std::memory_order_relaxed) > now) continue;
    const Guard guard(shard.lock);
    for (const auto& [deadline, request] : shard.deadlines) {
      if (deadline > now) break;
      after.condemned.push_back(
          {CoreRef(*request->txn),
           {Code::timeout, shown(request->mode, request->head->key()) + " was not granted before the deadline", {}},
           request->ticket});
    }
  }
  run(after);
}

Micros Table::next_deadline() const {
  Micros next = never;
  for (std::size_t i = 0; i < shard_count_; ++i)
    next = std::min(next, shards_[i].next_deadline.load(std::memory_order_relaxed));
  return next;
}

}  // namespace gordian::lock
