// Giving back: one lock, all of them, or all of a transaction that is aborted.
#include "lock/table.hpp"

namespace gordian::lock {
namespace {

using Code = LockError::Code;

tl::unexpected<LockError> not_held(const Core& core, std::string_view key) {
  return tl::unexpected(
      LockError{Code::not_held, "transaction " + core.options.id.str() + " does not hold " + quoted(key), {}});
}

bool still_queued(const Request& request) {
  return request.state == Request::State::waiting || request.state == Request::State::converting;
}

}  // namespace

/// Whether one of its calls waits to raise this resource.
bool Table::converts(const Core& core, const Head& head) const {
  for (const auto& operation : core.operations)
    for (const Item& item : operation->items)
      if (item.state == Item::State::waiting && item.request->head == &head) return true;
  return false;
}

/// Undoes one grant. `undone`: of this item of a call; if that raised the mode, it is what it was before.
tl::expected<void, LockError> Table::give_up(Core& core, std::string_view key, const Item* undone, Aftermath& after) {
  const std::uint64_t hash = hash_key(key, options_.hash_seed);
  Shard& shard = shard_of(hash);
  const Guard guard(shard.lock);
  Head* head = shard.find(static_cast<std::uint32_t>(hash), key);
  const std::size_t place = head != nullptr ? core.held.find(head) : HeldList::npos;
  if (place == HeldList::npos) return not_held(core, key);
  Request* request = core.held[place].request;
  const Hold hold = hold_of(*head, request);
  if (hold.count == 1 && converts(core, *head))
    return tl::unexpected(LockError{
        Code::invalid,
        "a call of transaction " + core.options.id.str() + " waits to raise " + quoted(key) + "; cancel it first",
        {}});
  if (--hold.count == 0) {
    core.held.remove(place);
    if (core.strategy == Strategy::ordered) core.highest.clear();
    shard.leave(head, request, core);
  } else if (undone != nullptr && !undone->fresh && hold.mode == rules_.modes.join(undone->before, undone->mode)) {
    shard.change_mode(*head, request, core, undone->before);
    shard.pass_on(head);
  }
  after.note(shard);
  return {};
}

tl::expected<void, LockError> Table::unlock(Core& core, std::string_view key) {
  Aftermath after;
  tl::expected<void, LockError> result;
  {
    const Guard guard(core.lock);
    if (core.doom) return tl::unexpected(*core.doom);
    result = give_up(core, key, nullptr, after);
  }
  run(after);
  return result;
}

tl::expected<void, LockError> Table::unlock_path(Core& core, std::string_view path) {
  Aftermath after;
  tl::expected<void, LockError> result;
  {
    const Guard guard(core.lock);
    if (core.doom) return tl::unexpected(*core.doom);
    // The last part first, so that nobody sees it held without its parents.
    result = give_up(core, path, nullptr, after);
    for (std::size_t end = path.rfind(options_.separator); result && end != std::string_view::npos && end != 0;
         end = path.rfind(options_.separator, end - 1))
      (void)give_up(core, path.substr(0, end), nullptr, after);
  }
  run(after);
  return result;
}

tl::expected<void, LockError> Table::downgrade(Core& core, std::string_view key, Mode mode) {
  Aftermath after;
  {
    const Guard guard(core.lock);
    if (core.doom) return tl::unexpected(*core.doom);
    const std::uint64_t hash = hash_key(key, options_.hash_seed);
    Shard& shard = shard_of(hash);
    const Guard shard_guard(shard.lock);
    Head* head = shard.find(static_cast<std::uint32_t>(hash), key);
    const std::size_t place = head != nullptr ? core.held.find(head) : HeldList::npos;
    if (place == HeldList::npos) return not_held(core, key);
    Request* request = core.held[place].request;
    const Mode held = hold_of(*head, request).mode;
    if (index(mode) >= rules_.modes.size() || !rules_.modes.covers(held, mode))
      return tl::unexpected(LockError{Code::not_held,
                                      "transaction " + core.options.id.str() + " holds " + quoted(key) + " in " +
                                          std::string(rules_.modes.name(held)) +
                                          ", which does not cover the mode asked for",
                                      {}});
    shard.change_mode(*head, request, core, mode);
    shard.pass_on(head);
    after.note(shard);
  }
  run(after);
  return {};
}

/// Everything that waits fails with `why`, everything held is released.
void Table::release_everything(Core& core, const LockError& why, Aftermath& after) {
  if (!core.operations.empty()) [[unlikely]]
    fail_all(core, why, after);
  for (std::size_t place = core.held.size(); place-- > 0;) {
    const Held held = core.held[place];
    Shard& shard = shard_of(*held.head);
    const Guard guard(shard.lock);
    shard.leave(held.head, held.request, core);
    after.note(shard);
  }
  core.held.clear();
}

void Table::end(Core& core) {
  Aftermath after;
  {
    const Guard guard(core.lock);
    static const LockError cancelled{Code::cancelled, "the transaction ended while this call waited", {}};
    release_everything(core, cancelled, after);
    core.ended = true;
    core.highest.clear();
  }
  rules_.registry.remove(core);
  run(after);
}

/// Takes this one wait of the transaction out of its queue; false if it is over already.
bool Table::withdraw_wait(Core& core, WaitNumber wait, Aftermath& after) {
  for (const auto& operation : core.operations)
    for (Item& item : operation->items) {
      if (item.state != Item::State::waiting) continue;
      Shard& shard = shard_of(*item.request->head);
      const Guard guard(shard.lock);
      if (shard.wait_number(*item.request) != wait) continue;
      if (!still_queued(*item.request)) return false;
      shard.withdraw(std::exchange(item.request, nullptr));
      item.state = Item::State::refused;
      after.note(shard);
      return true;
    }
  return false;
}

bool Table::abort(Core& core, const LockError& error, std::optional<WaitNumber> waiting, Aftermath& after) {
  const Guard guard(core.lock);
  if (core.ended || core.doom) return false;
  if (waiting && !withdraw_wait(core, *waiting, after)) return false;
  doom(core, error, after);
  return true;
}

void Table::doom(Core& core, const LockError& error, Aftermath& after) {
  core.doom = std::make_unique<LockError>(error);
  release_everything(core, error, after);
  after.notices.push_back(
      {.kind = Notice::Kind::aborted, .party = core.party(), .ticket = {}, .tag = 0, .items = {}, .error = error});
}

bool Table::abort(const TxnId& txn, const LockError& error, std::optional<WaitNumber> waiting) {
  Aftermath after;
  bool done = false;
  for (const CoreRef& core : rules_.registry.find(txn)) done = abort(*core, error, waiting, after) || done;
  run(after);
  return done;
}

bool Table::holds_since(Core& core, std::string_view key, std::uint64_t since) const {
  const std::uint64_t hash = hash_key(key, options_.hash_seed);
  Shard& shard = shard_of(hash);
  const Guard guard(shard.lock);
  Head* head = shard.find(static_cast<std::uint32_t>(hash), key);
  const std::size_t place = head != nullptr ? core.held.find(head) : HeldList::npos;
  return place != HeldList::npos && hold_of(*head, core.held[place].request).fence <= since;
}

// The check and the end are one step under the transaction's lock: it takes and gives back nothing in between.
bool Table::abort_holder(const TxnId& txn, const LockError& error, std::string_view key, std::uint64_t since) {
  Aftermath after;
  bool done = false;
  for (const CoreRef& core : rules_.registry.find(txn)) {
    const Guard guard(core->lock);
    if (core->ended || core->doom || !holds_since(*core, key, since)) continue;
    doom(*core, error, after);
    done = true;
  }
  run(after);
  return done;
}

}  // namespace gordian::lock
