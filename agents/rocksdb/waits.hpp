// Who waits for whom in one RocksDB, told to the agent as it happens; and the orders to abort, carried out.
//
// What the agent knows never claims a wait that is over: before a transaction lets go of its locks it is taken from the
// blockers of all waits, and only then RocksDB releases. So a confirmation needs no second look. What is late is only the
// next blocker: it is reported when the waiter, woken by the release, has looked again.
//
// An order names a wait and a blocker by its id. So that it can't mean a later branch of that id (the victim, run again), a wait
// whose blocker comes back under its old id is reported as a new wait, of the same age.
//
// Locks, in this order: a stripe of RocksDB, Waits::mutex_, Branch::mutex. Nothing of RocksDB is called under ours.
#pragma once

#include <rocksdb/utilities/transaction_db.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <gordian/agent.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "rocksdb/database.hpp"
#include "rocksdb/lock_gate.hpp"

namespace gordian::rocksdb_agent {

class Waits;

/// One transaction here. Who has set `busy` owns `txn`: a call of its user, or the order that rolls it back in between.
struct Branch {
  Branch(Waits& all, TxnId name, TxnInfo about, ::rocksdb::Transaction* fresh)
      : waits(all), id(std::move(name)), info(std::move(about)), number(fresh->GetID()), txn(fresh) {}

  Waits& waits;
  const TxnId id;
  const TxnInfo info;
  const std::uint64_t number;                   ///< by which RocksDB knows it
  std::unique_ptr<::rocksdb::Transaction> txn;  ///< none: it has ended
  std::atomic<std::uint64_t> writes{0};
  std::atomic<bool> condemned{false};  ///< set under Waits::mutex_; makes its wait end

  std::mutex mutex;  ///< guards these:
  bool busy = false;
  std::condition_variable idle;
  std::optional<Error> error;        ///< why all its calls fail
  std::vector<AbortAnswer> answers;  ///< to orders, due when its locks are free

  // Guarded by Waits::mutex_.
  bool ending = false;             ///< lets go of its locks just now: blocks nobody any more
  bool described = false;          ///< the agent knows its `info`
  std::optional<Gate> gate;        ///< where it waits
  std::string place;               ///< the key that it waits for; of meaning while `gate` is set
  std::optional<WaitHandle> wait;  ///< as reported; none while it has no blocker
  std::chrono::steady_clock::time_point waits_since;
  std::vector<Branch*> blockers;         ///< as reported, sorted
  std::vector<std::uint64_t> strangers;  ///< blockers that are no branches, sorted
  std::unordered_set<TxnId> departed;    ///< once among the blockers of `wait`
  std::unordered_set<Branch*> blocked;   ///< whose `blockers` this is one of
};

/// Thread-safe.
class Waits {
 public:
  using Log = std::function<void(AgentCallbacks::Level, std::string_view)>;
  Waits(const SiteId& site, Log log);

  void attach(Agent agent);
  /// Says goodbye and waits for orders in progress.
  void detach() { agent_.reset(); }
  [[nodiscard]] AgentStatus status() const { return agent_->status(); }

  /// False if a branch of that name is running.
  [[nodiscard]] bool enter(const std::shared_ptr<Branch>& branch);
  /// Its locks are free, or it never had any.
  void leave(Branch& branch);

  /// The branch, which RocksDB says has to wait, is about to; on its own thread, under the stripe's mutex. False: it must
  /// not wait any longer.
  [[nodiscard]] bool begins_to_wait(Branch& branch, Gate gate);
  /// Its call goes on.
  void waits_no_longer(Branch& branch);

  /// Comes before any release of its locks. False: it was condemned, and must be rolled back instead of committed.
  [[nodiscard]] bool lets_go(Branch& branch);
  /// Another branch holds that key in shared mode now: who waits for it has one blocker more, and RocksDB does not tell.
  void shared(std::uint32_t family, std::string_view key);

  void carry_out(const AbortOrder& order, const AbortAnswer& answer);

 private:
  void leave_place(Branch& branch);
  [[nodiscard]] bool applies(const AbortOrder& order, const Branch& victim) const;
  void set_blockers(Branch& branch, std::vector<Branch*> blockers, std::vector<std::uint64_t> strangers);
  void depart(Branch& branch, const Branch& blocker);
  void end_report(Branch& branch);
  void report(Branch& branch);
  void describe(Branch& branch);
  [[nodiscard]] TxnId local_name(std::uint64_t stranger) const;

  const std::string strangers_prefix_;
  const Log log_;
  std::optional<Agent> agent_;
  std::atomic<std::size_t> waiting_{0};  ///< how many wait, for a look without the mutex

  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, Branch*> by_number_;  ///< by RocksDB's id
  std::unordered_map<TxnId, std::shared_ptr<Branch>> by_name_;
  std::unordered_map<std::string, std::unordered_set<Branch*>> places_;  ///< who waits, by key
};

/// Rolls back a branch that the caller has made busy, and answers the orders that asked for it; it is idle then.
void roll_back(Branch& branch);

}  // namespace gordian::rocksdb_agent
