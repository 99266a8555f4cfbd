// What is done when the locks are released, and the table's beginning and end.
#include "lock/table.hpp"

#include <bit>
#include <type_traits>

namespace gordian::lock {
namespace {

/// Calls the observer for what is its business.
struct Observe {
  WaitObserver& observer;
  void operator()(const PartGranted&) const {}
  void operator()(const WaitBegun& e) const { observer.wait_begun(e); }
  void operator()(const WaitEnded& e) const { observer.wait_ended(e.wait, e.resource, e.step); }
  void operator()(const HolderChanged& e) const {
    if (e.joined) {
      observer.holder_joined(e.resource, e.group, e.txn, e.step);
    } else {
      observer.holder_left(e.resource, e.group, e.txn, e.step);
    }
  }
  void operator()(const FrontChanged& e) const { observer.front_changed(e.resource, e.mode, e.front, e.step); }
  void operator()(const ResourceCalm& e) const { observer.resource_calm(e.resource, e.step); }
};

}  // namespace

std::string quoted(std::string_view key) {
  constexpr std::size_t most = 100;
  constexpr const char* digits = "0123456789abcdef";
  std::string text = "'";
  for (const char c : key.substr(0, most)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return text + (key.size() > most ? "…'" : "'");
}

std::unique_ptr<LockError> make_error(LockError::Code code, std::string message) {
  return std::make_unique<LockError>(LockError{code, std::move(message), {}});
}

std::string Table::shown(Mode mode, std::string_view key) const {
  return std::string(rules_.modes.name(mode)) + " on " + quoted(key);
}

Table::Table(LockTableOptions options) : options_(std::move(options)) {
  rules_.modes = options_.modes;
  rules_.epoch = options_.epoch;
  rules_.observed = options_.observer != nullptr;
  constexpr std::size_t most_shards = 1 << 16;
  options_.limits.key_bytes = std::min<std::size_t>(options_.limits.key_bytes, 65535);
  shard_count_ = std::bit_ceil(std::clamp<std::size_t>(options_.shards, 2, most_shards));
  shard_shift_ = static_cast<unsigned>(64 - std::countr_zero(shard_count_));
  shards_ = std::make_unique<Shard[]>(shard_count_);
  for (std::size_t i = 0; i < shard_count_; ++i) shards_[i].open(rules_, static_cast<std::uint16_t>(i));
}

Core* Table::begin(TxnOptions options) {
  auto* core = new Core(*this, std::move(options));
  core->strategy = core->options.strategy.value_or(options_.strategy);
  return core;
}

Core* Table::restart(Core* core, TxnOptions options) {
  end(*core);
  // Events and orders for the old transaction may still be on their way: they must not meet the new one.
  if (core->shared()) {
    core->unref();
    return begin(std::move(options));
  }
  core->options = std::move(options);
  core->strategy = core->options.strategy.value_or(options_.strategy);
  core->ended = false;
  core->doom.reset();
  return core;
}

/// Does what is left to do, and what that leaves to do, until nothing is left.
void Table::run(Aftermath& after) {
  while (!after.nothing()) {
    if (!after.notices.empty()) {
      send(std::exchange(after.notices, {}));
    } else if (!after.condemned.empty()) {
      const Aftermath::Condemned next = std::move(after.condemned.back());
      after.condemned.pop_back();
      if (next.ticket == 0) {
        abort(*next.core, next.error, std::nullopt, after);
      } else {
        const Guard guard(next.core->lock);
        fail(*next.core, next.ticket, next.error, after);
      }
    } else {
      Shard* shard = after.told.back();
      after.told.pop_back();
      deliver(*shard, after);
    }
  }
}

void Table::send(const std::vector<Notice>& notices) {
  if (options_.events == nullptr) return;
  for (const Notice& notice : notices) switch (notice.kind) {
      case Notice::Kind::granted:
        options_.events->granted(notice.party, notice.ticket, notice.tag, notice.items);
        break;
      case Notice::Kind::failed: options_.events->failed(notice.party, notice.ticket, notice.tag, notice.error); break;
      case Notice::Kind::aborted: options_.events->aborted(notice.party, notice.error); break;
    }
}

/// Empties the shard's outbox, unless someone is at it: then it is left to him, so that the order is kept.
void Table::deliver(Shard& shard, Aftermath& after) {
  std::vector<Event> events;
  {
    const Guard guard(shard.lock);
    if (shard.delivering) return;
    shard.delivering = true;
  }
  for (;;) {
    {
      const Guard guard(shard.lock);
      events.clear();
      events.swap(shard.outbox);
      if (events.empty()) {
        shard.delivering = false;
        return;
      }
    }
    for (Event& event : events) deliver(event, after);
  }
}

void Table::deliver(Event& event, Aftermath& after) {
  if (const auto* part = std::get_if<PartGranted>(&event)) {
    part_granted(*part, after);
    send(std::exchange(after.notices, {}));
  } else if (options_.observer != nullptr) {
    std::visit(Observe{*options_.observer}, event);
  }
}

bool Table::advance(std::string_view key, WaitNumber wait, const TxnId& ahead_of) {
  Aftermath after;
  bool done = false;
  const std::uint64_t hash = hash_key(key, options_.hash_seed);
  Shard& shard = shard_of(hash);
  {
    const Guard guard(shard.lock);
    Head* head = shard.find(static_cast<std::uint32_t>(hash), key);
    done = head != nullptr && shard.advance(head, wait, ahead_of);
    after.note(shard);
  }
  run(after);
  return done;
}

std::vector<ResourceView> Table::resources() const {
  std::vector<ResourceView> views;
  for (std::size_t i = 0; i < shard_count_; ++i) {
    const Guard guard(shards_[i].lock);
    shards_[i].for_each_head([&](const Head& head) { views.push_back(shards_[i].view(head)); });
  }
  return views;
}

}  // namespace gordian::lock
