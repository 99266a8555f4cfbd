// The table behind the handles: shards, and everything about a transaction that spans them.
//
// Order of locks: a transaction's, then one shard's, then the registry's; never two of a kind. What must happen without
// them (events to the host, aborts of other transactions, calls that go on) is collected in an Aftermath and run at the end
// of each call. Functions that take an Aftermath want the transaction's lock held, those that do not take all they need.
// acquire.cpp: one resource; release.cpp: giving back and aborting; operations.cpp: calls that wait; table.cpp: the rest.
#pragma once

#include <atomic>
#include <gordian/lock_table.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lock/hash.hpp"
#include "lock/shard.hpp"

namespace gordian::lock {

/// One outcome for the host.
struct Notice {
  enum class Kind : std::uint8_t { granted, failed, aborted };
  Kind kind;
  Party party;
  Ticket ticket;
  std::uint64_t tag;
  std::vector<GrantedItem> items;
  LockError error;
};

/// What is left to do when the locks are released.
struct Aftermath {
  struct Condemned {
    CoreRef core;
    LockError error;
    std::uint64_t ticket;  ///< only this call; 0: the whole transaction
  };
  std::vector<Notice> notices;
  std::vector<Condemned> condemned;
  std::vector<Shard*> told;

  void note(Shard& shard) {
    if (!shard.outbox.empty()) [[unlikely]]
      told.push_back(&shard);
  }
  [[nodiscard]] bool nothing() const { return notices.empty() && condemned.empty() && told.empty(); }
};

/// One resource wanted.
struct Ask {
  std::string_view key;
  Mode mode;
  bool may_wait = true;
  Micros deadline = never;
  std::uint64_t ticket = 0;  ///< 0: one is made if it has to wait
  std::uint32_t item = 0;
  Share share{};
};

struct Outcome {
  Item::State state;
  bool fresh = false;
  Mode before{};
  std::uint64_t fence = 0;
  Request* request = nullptr;
  std::unique_ptr<LockError> error;
};

using Refusal = std::unique_ptr<LockError>;

class Table {
 public:
  explicit Table(LockTableOptions options);

  [[nodiscard]] Core* begin(TxnOptions options);
  /// release_all, and the same core or another one as a new transaction.
  [[nodiscard]] Core* restart(Core* core, TxnOptions options);
  void end(Core& core);

  [[nodiscard]] tl::expected<LockAnswer, LockError> lock(Core& core, std::string_view key, Mode mode,
                                                         const LockOptions& options);
  [[nodiscard]] tl::expected<LockAnswer, LockError> lock_path(Core& core, std::string_view path, Mode mode,
                                                              const LockOptions& options);
  [[nodiscard]] tl::expected<LockManyAnswer, LockError> lock_all(Core& core, std::span<const LockItem> items,
                                                                 const LockOptions& options);
  [[nodiscard]] tl::expected<LockManyAnswer, LockError> lock_some(Core& core, std::span<const LockItem> items,
                                                                  std::size_t need, const LockOptions& options);
  tl::expected<void, LockError> unlock(Core& core, std::string_view key);
  tl::expected<void, LockError> unlock_path(Core& core, std::string_view path);
  tl::expected<void, LockError> downgrade(Core& core, std::string_view key, Mode mode);
  bool cancel(Core& core, Ticket ticket);

  bool abort(const TxnId& txn, const LockError& error, std::optional<WaitNumber> waiting);
  bool abort_holder(const TxnId& txn, const LockError& error, std::string_view key, std::uint64_t since);
  bool advance(std::string_view key, WaitNumber wait, const TxnId& ahead_of);
  void expire(Micros now);
  [[nodiscard]] Micros next_deadline() const;

  /// Calls `f(shard, head)` under the shard's lock, if the resource is held.
  template <class F>
  void look(std::string_view key, F f) const {
    const std::uint64_t hash = hash_key(key, options_.hash_seed);
    Shard& shard = shard_of(hash);
    const Guard guard(shard.lock);
    if (const Head* head = shard.find(static_cast<std::uint32_t>(hash), key)) f(shard, *head);
  }
  [[nodiscard]] std::vector<ResourceView> resources() const;
  [[nodiscard]] const ModeMatrix& modes() const { return rules_.modes; }
  [[nodiscard]] std::string check_invariants() const;

 private:
  // acquire.cpp
  [[nodiscard]] Refusal refusal(Core& core, std::string_view key, Mode mode) const;
  [[nodiscard]] Refusal order_refusal(Core& core, std::string_view key) const;
  [[nodiscard]] Outcome acquire(Core& core, const Ask& ask, Aftermath& after);
  [[nodiscard]] Outcome acquire_taken(Core& core, Shard& shard, Head& head, const Ask& ask, Aftermath& after);
  [[nodiscard]] Outcome reenter(Core& core, Shard& shard, Head& head, Request* hold, const Ask& ask, Aftermath& after);
  [[nodiscard]] Outcome queue_up(Core& core, Shard& shard, Head& head, Request wanted, const Ask& ask,
                                 Aftermath& after);
  [[nodiscard]] Refusal may_wait(const Core& core, const Head& head, const Request& wanted, const Ask& ask,
                                 Aftermath& after) const;
  [[nodiscard]] Refusal age_refusal(const Core& core, const Head& head, const Request& wanted, Aftermath& after) const;
  void raise_stands_in_the_way(Core& core, const Head& head, Mode from, Mode to, Aftermath& after) const;

  // release.cpp
  tl::expected<void, LockError> give_up(Core& core, std::string_view key, const Item* undone, Aftermath& after);
  void release_everything(Core& core, const LockError& why, Aftermath& after);
  bool abort(Core& core, const LockError& error, std::optional<WaitNumber> waiting, Aftermath& after);
  void doom(Core& core, const LockError& error, Aftermath& after);
  [[nodiscard]] bool holds_since(Core& core, std::string_view key, std::uint64_t since) const;
  bool withdraw_wait(Core& core, WaitNumber wait, Aftermath& after);
  [[nodiscard]] bool converts(const Core& core, const Head& head) const;

  // operations.cpp
  /// Takes what it can of a call: none if it is done, or its ticket stays in core.operations, or the refusal; then
  /// nothing of it is held.
  Refusal proceed(Core& core, Operation& operation, bool may_wait, Aftermath& after);
  Refusal proceed_in_turn(Core& core, Operation& operation, bool may_wait, Aftermath& after);
  Refusal proceed_at_once(Core& core, Operation& operation, bool may_wait, Aftermath& after);
  Refusal take(Core& core, Operation& operation, Item& item, bool may_wait, Aftermath& after);
  tl::expected<LockManyAnswer, LockError> start(Core& core, std::unique_ptr<Operation> operation,
                                                const LockOptions& options);
  void part_granted(const PartGranted& part, Aftermath& after);
  void collect(Core& core, Item& item);
  void settle(Core& core, Item& item, Aftermath& after);
  void undo(Core& core, Operation& operation, Aftermath& after);
  bool fail(Core& core, std::uint64_t ticket, const LockError& error, Aftermath& after);
  void fail_all(Core& core, const LockError& error, Aftermath& after);
  [[nodiscard]] Micros deadline_of(const Core& core, const LockOptions& options) const;

  // table.cpp
  void run(Aftermath& after);
  void send(const std::vector<Notice>& notices);
  void deliver(Shard& shard, Aftermath& after);
  void deliver(Event& event, Aftermath& after);
  [[nodiscard]] Shard& shard_of(std::uint64_t hash) const { return shards_[hash >> shard_shift_]; }
  [[nodiscard]] Shard& shard_of(const Head& head) const { return shards_[head.shard]; }
  [[nodiscard]] std::uint64_t next_ticket() { return next_ticket_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] Fence fence(std::uint64_t counter) const { return {options_.epoch, counter}; }
  [[nodiscard]] std::string shown(Mode mode, std::string_view key) const;

  // Constant after construction.
  LockTableOptions options_;
  Rules rules_;
  std::size_t shard_count_;
  unsigned shard_shift_;
  std::unique_ptr<Shard[]> shards_;

  std::atomic<std::uint64_t> next_ticket_{1};
};

/// "'orders/42'", with bytes that are no printable ASCII as \xNN, shortened.
[[nodiscard]] std::string quoted(std::string_view key);
[[nodiscard]] std::unique_ptr<LockError> make_error(LockError::Code code, std::string message);

}  // namespace gordian::lock
