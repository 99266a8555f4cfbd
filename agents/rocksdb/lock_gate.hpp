// RocksDB's lock waits, seen and ended: the mutex and condition variable that its lock manager waits with.
//
// RocksDB lets its host bring these (TransactionDBOptions::custom_mutex_factory). Its lock manager calls WaitFor on the
// waiting thread, under the mutex of the key's stripe, once it has noted for whom the transaction waits, and again after each
// wake-up that did not help. So nothing has to be asked or polled for, and a wait that must end is woken and told so.
#pragma once

#include <rocksdb/utilities/transaction_db_mutex.h>

#include <memory>

namespace gordian::rocksdb_agent {

struct Branch;

/// Where a thread waits; kept by others to wake it.
struct Gate {
  std::shared_ptr<::rocksdb::TransactionDBMutex> mutex;
  std::shared_ptr<::rocksdb::TransactionDBCondVar> changed;

  /// Makes all who wait there look again; spurious wake-ups are allowed. Takes the stripe's mutex for a moment: who was
  /// about to wait does so then. Call it without any lock of ours.
  void wake() const;
};

/// Says on whose behalf this thread calls RocksDB, while it lives.
class CallingFor {
 public:
  explicit CallingFor(Branch& branch) noexcept;
  CallingFor(const CallingFor&) = delete;
  CallingFor& operator=(const CallingFor&) = delete;
  ~CallingFor();
};

/// For TransactionDBOptions::custom_mutex_factory.
[[nodiscard]] std::shared_ptr<::rocksdb::TransactionDBMutexFactory> make_gates();

}  // namespace gordian::rocksdb_agent
