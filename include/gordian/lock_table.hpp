// The lock table: modes, queues, conversion, hierarchies, fences and deadlock strategies, in memory and embeddable alone.
//
// It reads no clock, starts no thread and blocks nobody: the time comes in, `lock` answers granted or waiting, and what
// becomes of a waiting request comes out through LockEvents. A blocking call with a condition variable, and a server, are
// both a few lines on top of it. Who waits for whom comes out through WaitObserver, for gordian::Agent or a detector.
//
// Cost: a lock and its release without contention allocate nothing; memory follows the locks that are held, not the
// names that were ever used. Granting, waiting and passing on cost O(modes), however long the queue (docs/lock-table.md).
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/lock_mode.hpp>
#include <gordian/wait.hpp>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian {

/// Microseconds of any clock that never goes back. The table only compares them.
using Micros = std::int64_t;
inline constexpr Micros never = std::numeric_limits<Micros>::max();

/// Grows strictly with every grant of a resource to another holder or in a stronger mode, across restarts too when the
/// epoch does. A re-entrant grant has the fence of the grant it repeats.
struct Fence {
  std::uint64_t epoch = 0;
  std::uint64_t counter = 0;
  friend bool operator==(const Fence&, const Fence&) = default;
  friend auto operator<=>(const Fence&, const Fence&) = default;
};

/// Names one call that had to wait, from its answer `waiting` to its event. Never used again by this table.
enum class Ticket : std::uint64_t {};

/// Names one episode of waiting for one resource. Never used again by this table.
enum class WaitNumber : std::uint64_t {};

/// What a transaction does about deadlocks. Chosen per table, and per transaction where that differs.
enum class Strategy : std::uint8_t {
  detect,      ///< wait; whoever watches (WaitObserver) finds deadlocks and calls abort
  timeout,     ///< wait, but no longer than `lock_timeout`
  no_wait,     ///< a request that would wait is refused
  wait_die,    ///< wait only for younger transactions, else be refused
  wound_wait,  ///< wait only for older transactions; younger ones in the way are aborted (`wounded`)
  ordered,     ///< resources only in ascending order of their bytes; a request out of order is refused
};
[[nodiscard]] std::string_view name(Strategy strategy);

struct LockError {
  enum class Code : std::uint8_t {
    deadlock,      ///< the transaction was chosen as a deadlock's victim; `incident` names it
    timeout,       ///< the deadline passed while it waited
    cancelled,     ///< the caller withdrew the request
    lease_lost,    ///< the session that the transaction belongs to is over
    refused,       ///< it would have to wait, and may not (try, no_wait, wait_die)
    wounded,       ///< an older transaction needed its locks (wound_wait)
    out_of_order,  ///< Strategy::ordered; the message names both resources
    limit,         ///< a limit of LockLimits would be exceeded
    not_held,      ///< this transaction does not hold that resource, or not in a mode that covers the one asked for
    invalid,       ///< the request makes no sense; the message says why
    forced,        ///< an administrator released its locks by force (lock service)
    unreachable,   ///< the agent did not answer in time (lock service)
  };
  Code code;
  std::string message;   ///< what, where, and what to do
  std::string incident;  ///< for `deadlock`
};
[[nodiscard]] std::string_view name(LockError::Code code);

struct LockLimits {
  std::size_t key_bytes = 1024;
  std::size_t waiters_per_resource = 100'000;
  std::size_t locks_per_txn = 1'000'000;
  std::size_t items_per_call = 1'000;  ///< resources of one lock_all, lock_some, or parts of one path
};

struct LockOptions {
  bool wait = true;         ///< false: refused instead of waiting
  Micros now = 0;           ///< only Strategy::timeout looks at it
  Micros deadline = never;  ///< passes when expire() is called with this time or a later one
  std::uint64_t tag = 0;    ///< comes back in the events of this call
};

struct LockAnswer {
  bool waiting = false;  ///< then an event follows, perhaps before this answer is read
  Ticket ticket{};       ///< if waiting
  Fence fence;           ///< if granted
};

/// One of several resources asked for in one call.
struct LockItem {
  std::string_view key;
  Mode mode;
};
struct GrantedItem {
  std::size_t item;  ///< its place in the call's list
  Fence fence;
};
struct LockManyAnswer {
  bool waiting = false;
  Ticket ticket{};
  std::vector<GrantedItem> granted;  ///< by place, if not waiting
};

struct TxnOptions {
  TxnId id;
  /// Its first start, in any unit that grows; a restarted transaction keeps it. Decides age, then the id does.
  std::uint64_t start = 0;
  std::optional<Strategy> strategy{};  ///< none: the table's
  std::uint64_t owner = 0;             ///< the session it belongs to; the table only hands it back
  void* user = nullptr;                ///< comes back in events
};

/// Who an event is about.
struct Party {
  TxnId txn;
  std::uint64_t owner;
  void* user;
};

/// What becomes of requests that wait. Called outside the table's locks, from whatever thread called the table, in order
/// for each resource; may call the table. Must not throw.
class LockEvents {
 public:
  virtual ~LockEvents() = default;
  /// `items` by place in the call; of a path the last one is the resource itself.
  virtual void granted(const Party& party, Ticket ticket, std::uint64_t tag, std::span<const GrantedItem> items) = 0;
  /// Nothing of this call is held.
  virtual void failed(const Party& party, Ticket ticket, std::uint64_t tag, const LockError& error) = 0;
  /// The transaction was aborted: its locks are free, all its calls fail with this error. `failed` of those that wait
  /// comes first.
  virtual void aborted(const Party& party, const LockError& error) = 0;
};

/// A wait for one resource, by groups: the holders of a resource form one group per mode held.
struct WaitBegun {
  WaitNumber wait;
  std::string resource;
  TxnId waiter;
  Mode mode;         ///< asked for; the target of a conversion
  bool conversion;   ///< the waiter holds the resource already: it is no blocker of its own
  ModeSet groups;    ///< the holder groups that stand in its way; their members are hard blockers
  Ticket ticket;     ///< waits of one k-of-n call share it
  std::size_t need;  ///< so many of the call's waits must end for it to go on…
  std::size_t of;    ///< …of so many: as `need`, unless it is a call for any or some of several
  std::uint64_t step;
  std::uint64_t start;  ///< the waiter's TxnOptions::start
};

/// Who waits for whom, in O(modes) events per change, however long the queue. Called like LockEvents; per resource the
/// order of calls is the order of changes, and `step` grows with it. A resource's holders are reported while it has waits.
class WaitObserver {
 public:
  virtual ~WaitObserver() = default;
  virtual void wait_begun(const WaitBegun& wait) = 0;
  virtual void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) = 0;
  virtual void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) = 0;
  virtual void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) = 0;
  /// Waits in `mode` that began after `front` (and no conversions) stand behind that request: a soft blocker, reported
  /// only while no holder stands in the way of `mode`. None: nobody is in the way. The end of `front`'s own wait may be
  /// told first: then it blocks nobody any more, and who is in the way instead follows.
  virtual void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                             std::uint64_t step) = 0;
  /// The last wait for it is over: its groups are forgotten.
  virtual void resource_calm(const std::string& resource, std::uint64_t step) = 0;
};

/// A blocker of one wait, by name.
struct BlockerView {
  TxnId txn;
  Kind kind;            ///< hard, or soft
  std::uint64_t since;  ///< the step from which it has held (or waited, if soft) without a break
};

struct HolderView {
  TxnId txn;
  Mode mode;
  std::uint32_t count;
  Fence fence;
};
struct WaiterView {
  TxnId txn;
  Mode mode;
  bool conversion;
  WaitNumber wait;
};
/// One resource as it is now; waiters in the order of the queue, conversions first.
struct ResourceView {
  std::string key;
  std::vector<HolderView> holders;
  std::vector<WaiterView> waiters;
};

struct LockTableOptions {
  std::uint64_t epoch = 1;  ///< of all fences; must be larger than that of any table before it on the same resources
  Strategy strategy = Strategy::detect;
  Micros lock_timeout = 10'000'000;  ///< for Strategy::timeout
  ModeMatrix modes = gordian::modes::standard();
  char separator = '/';         ///< of the parts of a path (lock_path)
  std::size_t shards = 64;      ///< rounded up to a power of two, at most 65536
  std::uint64_t hash_seed = 0;  ///< give a random one where strangers choose the names
  LockLimits limits;
  LockEvents* events = nullptr;      ///< borrowed; none: only requests that do not wait make sense
  WaitObserver* observer = nullptr;  ///< borrowed
};

class LockTable;
namespace lock {
class Table;
class Core;
}  // namespace lock

/// A transaction's handle. Used by one thread at a time; other threads may abort it by its id. Its destruction releases
/// everything. Must not outlive its table.
class LockTxn {
 public:
  LockTxn(LockTxn&& other) noexcept;
  LockTxn& operator=(LockTxn&& other) noexcept;
  ~LockTxn();

  /// Errors: any. What the transaction holds already is raised to a mode that covers both, or counted once more.
  [[nodiscard]] tl::expected<LockAnswer, LockError> lock(std::string_view key, Mode mode,
                                                         const LockOptions& options = {});
  /// The path's last part in `mode`, all before it in the intention mode that goes with it: "a/b/c" locks "a" and "a/b" too.
  /// All or nothing.
  [[nodiscard]] tl::expected<LockAnswer, LockError> lock_path(std::string_view path, Mode mode,
                                                              const LockOptions& options = {});
  /// All of them or nothing, under one deadline. They are taken in one order by all callers, so calls of lock_all never
  /// deadlock among each other alone.
  [[nodiscard]] tl::expected<LockManyAnswer, LockError> lock_all(std::span<const LockItem> items,
                                                                 const LockOptions& options = {});
  /// `need` of them (1: any), the first that are granted; the others are given back. Fewer than all: each is
  /// named once.
  [[nodiscard]] tl::expected<LockManyAnswer, LockError> lock_some(std::span<const LockItem> items, std::size_t need,
                                                                  const LockOptions& options = {});
  /// Undoes one lock(); the resource is free when all are undone. Errors: not_held, or the transaction was aborted.
  tl::expected<void, LockError> unlock(std::string_view key);
  /// Undoes one lock_path().
  tl::expected<void, LockError> unlock_path(std::string_view path);
  /// Holds it in the weaker `mode` from now on. Errors: not_held.
  tl::expected<void, LockError> downgrade(std::string_view key, Mode mode);
  /// Withdraws a call that waits: failed(cancelled) follows. False if it waits no longer.
  bool cancel(Ticket ticket);

  /// Ends the transaction: calls that wait are cancelled, all locks released. Cost: O(held).
  void release_all();
  /// release_all, and the handle is a new transaction: capacity is reused.
  void restart(TxnOptions options);

  [[nodiscard]] const TxnId& id() const;
  [[nodiscard]] std::size_t held() const;                ///< resources held
  [[nodiscard]] std::optional<LockError> error() const;  ///< why all calls fail, if they do

 private:
  friend class LockTable;
  explicit LockTxn(lock::Core* core) noexcept : core_(core) {}
  lock::Core* core_;
};

/// Thread-safe: any function from any thread.
class LockTable {
 public:
  explicit LockTable(LockTableOptions options = {});
  LockTable(const LockTable&) = delete;
  LockTable& operator=(const LockTable&) = delete;
  ~LockTable();

  [[nodiscard]] LockTxn begin(TxnOptions options);

  /// Aborts a transaction that was named to the observer or waits: calls that wait fail, all later calls fail with
  /// `deadlock` and the incident, its locks are released. With `waiting`: only while that wait still stands.
  /// False if nothing was done: unknown, ended or aborted already, or that wait is over.
  bool abort(const TxnId& txn, std::string_view incident, std::optional<WaitNumber> waiting = std::nullopt);
  /// The same for one that was chosen elsewhere: only while it has held `key` without a break since `step` (held_since).
  bool abort_holder(const TxnId& txn, std::string_view incident, std::string_view key, std::uint64_t step);
  /// The same for a session that is over: `lease_lost`. `why` is shown.
  bool lose_lease(const TxnId& txn, std::string_view why);

  /// Lets a waiting request jump the queue: it goes ahead of the one by which `ahead_of` waits for `key`, and is granted at
  /// once if it is compatible with the holders and with all who are still ahead. The others keep their order. True if it
  /// was ahead or has the lock now; false if nothing was done: the wait is over, is a conversion (which stands behind
  /// nobody), or is not behind that transaction; or somebody waits there by wait_die or wound_wait, which have settled who
  /// waits for whom; or a conversion that would still be ahead is in the way. Cost: O(waiters of `key`).
  bool advance(std::string_view key, WaitNumber wait, const TxnId& ahead_of);

  /// Fails the waits whose deadline is `now` or earlier. Cost: O(shards + those).
  void expire(Micros now);
  /// The earliest deadline of a wait, or `never`. Cost: O(shards).
  [[nodiscard]] Micros next_deadline() const;

  /// Who stands in the way of that wait now; empty if it is over. Cost: O(blockers).
  [[nodiscard]] std::vector<BlockerView> blockers(std::string_view key, WaitNumber wait) const;
  /// For confirmations: does the wait still stand? Cost: O(waiters of `key`).
  [[nodiscard]] bool waits(std::string_view key, WaitNumber wait) const;
  /// For confirmations: has `txn` held `key` without a break since `step`, as an event or BlockerView said?
  /// Cost: O(holders of `key`).
  [[nodiscard]] bool held_since(std::string_view key, const TxnId& txn, std::uint64_t step) const;

  [[nodiscard]] std::optional<ResourceView> resource(std::string_view key) const;
  /// Every resource that is held, shard by shard: each one consistent in itself. For people.
  [[nodiscard]] std::vector<ResourceView> resources() const;
  [[nodiscard]] const ModeMatrix& modes() const;
  /// Empty if all is well, else the first contradiction. O(everything); for tests, while nobody else uses the table.
  [[nodiscard]] std::string check_invariants() const;

 private:
  std::unique_ptr<lock::Table> table_;
};

}  // namespace gordian
