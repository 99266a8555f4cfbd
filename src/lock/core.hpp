// A transaction as the table knows it: what it holds, the calls of it that wait, and why it was aborted if it was.
//
// `lock` guards everything that is not constant between two restarts; a shard's lock is taken under it, never the other way
// round. Counted references: events and abort orders may outlive the handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <gordian/lock_table.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lock/head.hpp"
#include "lock/spin_lock.hpp"

namespace gordian::lock {

class Table;

/// One resource that a transaction holds; `request` is null if it is the head's first holder.
struct Held {
  Head* head;
  Request* request;
};

/// What one transaction holds, newest last. An index by head is made once a search would be long, and kept from then on.
class HeldList {
 public:
  /// To be called before each add(), while throwing is harmless.
  void make_room() {
    if (list_.size() == list_.capacity()) list_.reserve(list_.empty() ? 16 : 2 * list_.size());
    if (index_ && list_.size() >= index_->bucket_count()) [[unlikely]]
      index_->reserve(2 * list_.size());
  }
  void add(Held held) noexcept {
    if (index_) [[unlikely]]
      index_->emplace(held.head, list_.size());
    list_.push_back(held);
  }
  /// npos if it is not held.
  [[nodiscard]] std::size_t find(const Head* head);
  void remove(std::size_t place);
  void clear() {
    list_.clear();
    index_.reset();
  }
  [[nodiscard]] std::size_t size() const { return list_.size(); }
  [[nodiscard]] const Held& operator[](std::size_t place) const { return list_[place]; }

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

 private:
  static constexpr std::size_t short_search = 16;
  std::vector<Held> list_;
  std::unique_ptr<std::unordered_map<const Head*, std::size_t>> index_;
};

/// One resource of a call that has to wait.
struct Item {
  enum class State : std::uint8_t { untouched, waiting, granted, refused };
  std::string key;
  Mode mode{};
  std::uint32_t place = 0;  ///< in the caller's list
  State state = State::untouched;
  bool fresh = false;  ///< the transaction did not hold it before
  Mode before{};       ///< if not fresh: in which mode it held it
  std::uint64_t fence = 0;
  Request* request = nullptr;  ///< while waiting
};

/// A call that has to wait. Its items are taken one after the other (all of them, or a path), or all at once (`need` of them).
struct Operation {
  std::uint64_t ticket = 0;
  std::uint64_t tag = 0;
  Micros deadline = never;
  std::size_t need = 1;
  bool in_turn = true;
  std::vector<Item> items;
};

class Core {
 public:
  Core(Table& its_table, TxnOptions its_options) : table(its_table), options(std::move(its_options)) {}

  /// Whether this one began before the other.
  [[nodiscard]] bool older_than(const Core& other) const {
    if (options.start != other.options.start) return options.start < other.options.start;
    return options.id < other.options.id;
  }
  [[nodiscard]] Party party() const { return {options.id, options.owner, options.user}; }

  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  [[nodiscard]] bool shared() const { return refs_.load(std::memory_order_acquire) != 1; }

  Table& table;
  SpinLock lock;
  /// Constant between two restarts: others read it while it holds or waits.
  TxnOptions options;
  Strategy strategy{};
  std::atomic<bool> registered{false};  ///< can be found by its id; written under the registry's lock
  bool ended = false;
  HeldList held;
  std::vector<std::unique_ptr<Operation>> operations;
  std::unique_ptr<LockError> doom;  ///< it was aborted: all its calls fail with this
  std::string highest;              ///< Strategy::ordered: the highest resource held, empty if it must be looked for

 private:
  ~Core() = default;
  std::atomic<std::uint32_t> refs_{1};
};

/// A counted reference.
class CoreRef {
 public:
  explicit CoreRef(Core& core) noexcept : core_(&core) { core.ref(); }
  CoreRef(CoreRef&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  CoreRef& operator=(CoreRef&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~CoreRef() {
    if (core_ != nullptr) core_->unref();
  }
  Core& operator*() const { return *core_; }
  Core* operator->() const { return core_; }

 private:
  Core* core_;
};

/// Transactions that can be aborted by id: those that wait, and those that the observer was told of. The others are not in
/// it, so that a transaction without contention pays nothing. Thread-safe; taken under a shard's lock.
class Registry {
 public:
  void add(Core& core);
  void remove(Core& core);
  [[nodiscard]] std::vector<CoreRef> find(const TxnId& txn);

 private:
  SpinLock lock_;
  std::unordered_multimap<TxnId, Core*> cores_;
};

}  // namespace gordian::lock
