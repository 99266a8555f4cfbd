// RocksDB whose pessimistic transactions take part in distributed deadlock detection (docs/rocksdb.md).
//
// A Database is a RocksDB TransactionDB and the agent of one site. Its transactions carry their global id; where one has to
// wait for a lock, the coordinator learns for whom, and a victim's call ends at once with the incident. RocksDB's own
// detection is off: it sees this database only, and takes a limit for a deadlock.
#pragma once

#include <rocksdb/utilities/transaction_db.h>

#include <chrono>
#include <functional>
#include <gordian/agent.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian::rocksdb_agent {

struct Error {
  enum class Code : std::uint8_t {
    deadlock,  ///< the transaction was chosen as a deadlock's victim; `incident` names it
    timeout,   ///< a lock did not come free within the lock timeout
    ended,     ///< the transaction was committed or rolled back
    invalid,   ///< the request makes no sense; the message says why
    rocksdb,   ///< any other answer of RocksDB; see `status`
  };
  Code code;
  std::string message;   ///< what, where, and what to do
  std::string incident;  ///< for `deadlock`
  ::rocksdb::Status status;
};

struct Options {
  std::string path;           ///< folder of the database
  ::rocksdb::Options engine;  ///< as for RocksDB
  /// As for RocksDB, except that `custom_mutex_factory` and `lock_mgr_handle` must be empty: the first is how this agent
  /// sees and ends waits, and with range locks it does not work.
  ::rocksdb::TransactionDBOptions locking;
  /// None: the default one only.
  std::vector<::rocksdb::ColumnFamilyDescriptor> column_families;
  /// How long a call waits for a lock; for deadlocks while no coordinator can be reached. Whole milliseconds, at least 1.
  std::chrono::milliseconds lock_timeout{60'000};
  AgentOptions agent;  ///< `site` and `coordinator`; `engine` is set to "rocksdb"
  /// What the agent has to say, from any thread. Unset: nothing is logged.
  std::function<void(AgentCallbacks::Level, std::string_view)> on_log;
};

struct TxnOptions {
  /// For victim policies and people. `work`, where zero, becomes the number of its writes here.
  TxnInfo info;
  std::optional<std::chrono::milliseconds> lock_timeout{};  ///< none: the database's
};

enum class Share : std::uint8_t { exclusive, shared };

struct Branch;

/// The branch here of one global transaction. Used by one thread at a time. Its destruction rolls back what was not
/// committed. Must not outlive its Database.
///
/// Every call may fail with `deadlock`: then the transaction is rolled back and its locks are free already, and every later call
/// fails with the same error; only rollback(), or the destruction, is left to do. A call that fails with another error
/// has changed nothing, and the transaction goes on.
class Transaction {
 public:
  using Family = ::rocksdb::ColumnFamilyHandle*;  ///< none: the default column family

  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) noexcept;
  ~Transaction();

  /// Takes no lock. None: there is no such key.
  [[nodiscard]] tl::expected<std::optional<std::string>, Error> get(std::string_view key, Family family = nullptr);
  /// Locks the key, whether it exists or not, and reads it.
  [[nodiscard]] tl::expected<std::optional<std::string>, Error> get_for_update(std::string_view key,
                                                                               Share share = Share::exclusive,
                                                                               Family family = nullptr);
  tl::expected<void, Error> put(std::string_view key, std::string_view value, Family family = nullptr);
  tl::expected<void, Error> erase(std::string_view key, Family family = nullptr);

  /// Also where RocksDB fails to write it (`rocksdb`), the transaction has ended and its locks are free.
  tl::expected<void, Error> commit();
  /// Also ends a victim. Never fails on one that has ended.
  tl::expected<void, Error> rollback();

  [[nodiscard]] const TxnId& id() const;

 private:
  friend class Database;
  explicit Transaction(std::shared_ptr<Branch> branch) noexcept;
  std::shared_ptr<Branch> branch_;
};

/// Thread-safe. Cost without waits: two uncontended locks a call, two more at the begin and the end of a transaction; the
/// agent hears of a transaction only when it waits or is waited for.
class Database {
 public:
  /// Opens the database and starts the agent; returns before a coordinator was reached.
  /// Errors: invalid (an option cannot be used), rocksdb (it could not be opened).
  [[nodiscard]] static tl::expected<Database, Error> open(Options options);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();

  /// The global transaction's branch at this site. Errors: invalid (that id is running here already).
  [[nodiscard]] tl::expected<Transaction, Error> begin(const TxnId& id, TxnOptions options = {});

  /// For everything else that RocksDB does. What is locked past this class (its Put, transactions of its own) is seen as a
  /// blocker of a local name, never as a waiter: it cannot be part of a deadlock that is found.
  [[nodiscard]] ::rocksdb::TransactionDB& raw() const;
  /// In the order of Options::column_families.
  [[nodiscard]] const std::vector<::rocksdb::ColumnFamilyHandle*>& column_families() const;
  [[nodiscard]] AgentStatus status() const;

 private:
  class Impl;
  explicit Database(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::rocksdb_agent
