// A node of the bank: a small transactional engine. Accounts in memory, strict two-phase locking, changes made at commit.
//
// Deadlocks are nobody's concern here: a call that waits fails with `deadlock` when its transaction is a victim, and the engine's
// user drops the transaction and runs it again.
#pragma once

#include <condition_variable>
#include <gordian/table_agent.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace bank {

template <class T>
using Result = tl::expected<T, gordian::LockError>;

class Node;

/// A transaction's part at one node. Used by one thread; its end without commit() is a rollback.
class Branch {
 public:
  Branch(Node& node, gordian::TxnId id, gordian::TxnInfo info);
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;
  ~Branch();

  /// Locks the account, which may take its time, and reads it.
  Result<long> read(const std::string& account);
  /// Of an account that was read. Seen by others after commit().
  void write(const std::string& account, long balance) { changes_[account] = balance; }
  /// Makes the changes and frees the locks. Cannot fail: it has its locks, waits for none, and so is in no deadlock.
  void commit();

 private:
  friend class Node;
  void wake(Result<void> outcome);
  Result<void> wait_for_turn();

  Node& node_;
  const gordian::TxnId id_;
  gordian::LockTxn txn_;
  std::map<std::string, long> changes_;  ///< all there is to undo: an abort frees the locks at once
  std::mutex mutex_;
  std::condition_variable woken_;
  std::optional<Result<void>> outcome_;  ///< of the call that waits; guarded by mutex_
};

class Node : private gordian::LockEvents {
 public:
  /// Errors: an endpoint that is none; the coordinator itself may come later.
  Node(const std::string& site, const std::string& coordinator, const std::vector<std::string>& accounts, long balance);

  /// What the accounts hold together; while no transaction runs.
  [[nodiscard]] long total() const;

 private:
  friend class Branch;
  void granted(const gordian::Party& party, gordian::Ticket, std::uint64_t,
               std::span<const gordian::GrantedItem>) override;
  void failed(const gordian::Party& party, gordian::Ticket, std::uint64_t, const gordian::LockError& error) override;
  void aborted(const gordian::Party&, const gordian::LockError&) override {}  // its next call says so
  std::optional<gordian::TxnInfo> describe(const gordian::TxnId& txn);

  std::unordered_map<std::string, long> accounts_;                ///< each guarded by its lock
  std::mutex mutex_;                                              ///< never held while the lock table is called
  std::unordered_map<gordian::TxnId, gordian::TxnInfo> running_;  ///< guarded by mutex_
  std::optional<gordian::TableAgent> locks_;
};

}  // namespace bank
