// One part of the table: the resources whose hash falls here, their queues, and what must be told about them.
//
// Everything in it is guarded by `lock`. It knows modes and queues; which transaction may wait, and calls that span resources,
// are table.hpp's. Its functions are in slots.cpp (names), queue.cpp (whose turn it is) and report.cpp (what is told).
#pragma once

#include <atomic>
#include <gordian/lock_table.hpp>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lock/core.hpp"
#include "lock/head.hpp"
#include "lock/pool.hpp"
#include "lock/spin_lock.hpp"

namespace gordian::lock {

/// A request was granted: its call goes on.
struct PartGranted {
  CoreRef core;
  std::uint64_t ticket;
  std::uint32_t item;
};
struct WaitEnded {
  WaitNumber wait;
  std::string resource;
  std::uint64_t step;
};
struct HolderChanged {
  bool joined;
  std::string resource;
  Mode group;
  TxnId txn;
  std::uint64_t step;
};
struct FrontChanged {
  std::string resource;
  Mode mode;
  std::optional<WaitNumber> front;
  std::uint64_t step;
};
struct ResourceCalm {
  std::string resource;
  std::uint64_t step;
};
using Event = std::variant<PartGranted, WaitBegun, WaitEnded, HolderChanged, FrontChanged, ResourceCalm>;

/// What all shards share; constant after construction but for the registry in it.
struct Rules {
  ModeMatrix modes = gordian::modes::standard();
  std::uint64_t epoch = 1;
  bool observed = false;
  Registry registry;
};

/// A wait is one of `of` that stand at once for one call, which needs `need` of them.
struct Share {
  std::size_t need = 1;
  std::size_t of = 1;
};

struct Slot {
  Head* head = nullptr;
  std::uint32_t tag = 0;
};

class alignas(64) Shard {
 public:
  Shard() = default;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  ~Shard();
  void open(Rules& rules, std::uint16_t number);

  SpinLock lock;

 private:
  // With `lock` in the first cache line: all of a shard that a lock without contention touches, but the heads themselves.
  std::uint32_t mask_ = 0;
  Slot* slots_ = nullptr;
  std::uint32_t live_ = 0;
  std::uint16_t number_ = 0;
  std::uint64_t step_ = 0;  ///< counts every change here: fences, request ids, events
  Pool<Head, &Head::next_free, 32> heads_;

 public:
  // Names (slots.cpp).
  [[nodiscard]] Head* find(std::uint32_t tag, std::string_view key) const {
    for (std::uint32_t at = tag & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.head == nullptr) return nullptr;
      if (slot.tag == tag && slot.head->key() == key) return slot.head;
    }
  }
  /// A new head, held by `core` in `mode`. The name must not be there yet.
  Head* insert(std::uint32_t tag, std::string_view key, Core* core, Mode mode);
  void erase(Head* head) noexcept;
  template <class F>
  void for_each_head(F f) const {
    for (std::uint32_t at = 0; at <= mask_; ++at)
      if (slots_[at].head != nullptr) f(*slots_[at].head);
  }
  [[nodiscard]] std::size_t size() const { return live_; }

  // Queues (queue.cpp).
  /// Modes held by others than a holder of `own`.
  [[nodiscard]] static ModeSet held_beside(const Head& head, Mode own) {
    return head.contention != nullptr ? head.contention->held.without(own) : ModeSet{0};
  }
  /// Whether a newcomer gets `mode` at once: no holder, conversion or waiter stands in its way.
  [[nodiscard]] bool admits(const Head& head, Mode mode) const;
  /// Adds a holder beside the others. Null: it became the first holder.
  Request* admit(Head& head, Core& core, Mode mode);
  /// Puts `wanted` into the queue (txn, mode, state, ticket, item, deadline; of a conversion also hold and before).
  Request* enqueue(Head& head, Request wanted, Share share);
  /// Takes a waiting or converting request out and lets those go on whom it kept; the request goes back to the pool.
  void withdraw(Request* request);
  /// The hold has `mode` from now on; a stronger one gets a fence of its own.
  void change_mode(Head& head, Request* hold, Core& core, Mode mode);
  /// The hold ends, and those whose turn it is get the lock. The head may be gone afterwards.
  void leave(Head* head, Request* hold, Core& core);
  /// Grants what can be granted. The head may be gone afterwards.
  void pass_on(Head* head);
  /// Lets a waiter past that transaction's request: LockTable::advance. The head may be gone afterwards.
  bool advance(Head* head, WaitNumber wait, const TxnId& ahead_of);
  void give_back(Request* request) { requests_.give(request); }

  /// The waiters in the order of the queue, without conversions.
  [[nodiscard]] static std::vector<Request*> queue_of(const Contention& contention);

  // Reports (report.cpp).
  [[nodiscard]] WaitNumber wait_number(const Request& request) const { return WaitNumber{number(request.id)}; }
  void tell(Event event) { outbox.push_back(std::move(event)); }
  [[nodiscard]] const Request* find_wait(const Head& head, WaitNumber wait) const;
  [[nodiscard]] bool held_since(const Head& head, const TxnId& txn, std::uint64_t since) const;
  [[nodiscard]] std::vector<BlockerView> blockers(const Head& head, const Request& request) const;
  [[nodiscard]] ResourceView view(const Head& head) const;
  /// Tells which requests stand first in the way, where that changed.
  void report_fronts(Head& head);
  /// The first queued request that keeps waiters of `mode` behind it; null if none.
  [[nodiscard]] const Request* front_for(const Contention& contention, Mode mode) const;

  std::vector<Event> outbox;
  bool delivering = false;  ///< someone is emptying the outbox: order is kept by leaving it to him
  /// Requests with a deadline, earliest first; its first one can be read without the lock.
  std::set<std::pair<Micros, Request*>> deadlines;
  std::atomic<Micros> next_deadline{never};

 private:
  friend class Checker;
  static constexpr std::uint32_t first_slots = 16;

  [[nodiscard]] std::uint64_t number(std::uint64_t id) const { return std::uint64_t{number_} << 48 | id; }
  void put(Head* head);
  void resize(std::uint32_t slots);
  Contention& contention_of(Head& head);
  void tidy(Head* head);
  void drop_deadline(Request* request);
  void unqueue(Request* request);
  [[nodiscard]] bool has_turn(const Head& head, Mode mode) const;
  [[nodiscard]] bool some_conversion_fits(const Contention& contention) const;
  [[nodiscard]] Request* next_waiter(const Head& head) const;
  void grant_conversion(Head& head, Request* request);
  void grant_waiter(Head& head, Request* request);
  void tell_granted(Request* request);
  bool advance_past_conversion(Head* head, Request* request, const TxnId& ahead_of);
  void report_wait(Head& head, Request& request, Share share);
  void report_wait_over(Head& head, Request& request);
  void report_holder(Head& head, Core& core, Mode mode, bool joined);
  void report_holders(Head& head);

  Rules* rules_ = nullptr;
  std::unique_ptr<Slot[]> slot_memory_;
  Pool<Contention, &Contention::next_free, 4> contentions_;
  Pool<Request, &Request::next, 32> requests_;
};

}  // namespace gordian::lock
