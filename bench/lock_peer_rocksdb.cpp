// RocksDB's pessimistic locks: GetForUpdate without a value and without validation takes the lock and reads nothing; an empty
// transaction's rollback releases. Transactions are reused, as its documentation advises.
#include <rocksdb/options.h>
#include <rocksdb/utilities/transaction.h>
#include <rocksdb/utilities/transaction_db.h>

#include <stdexcept>

#include "lock_contestants.hpp"

namespace gordian::bench {
namespace {

void check(const rocksdb::Status& status) {
  if (!status.ok()) throw std::runtime_error("RocksDB: " + status.ToString());
}

class RocksDb : public Contestant {
 public:
  RocksDb(std::size_t threads, const std::string& folder) : txns_(threads) {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::TransactionDBOptions txn_options;
    txn_options.num_stripes = 64;
    txn_options.transaction_lock_timeout = 0;
    rocksdb::TransactionDB* db = nullptr;
    check(rocksdb::TransactionDB::Open(options, txn_options, folder, &db));
    db_.reset(db);
  }

  std::string name() const override { return "RocksDB"; }

  void run(std::size_t thread, Keys keys) override {
    auto& txn = txns_[thread];
    for (std::size_t i = 0; i < keys.size() / key_bytes; ++i) {
      if (i % locks_per_txn == 0) txn.reset(db_->BeginTransaction({}, {}, txn.release()));
      const auto key = key_at(keys, i);
      const auto status = txn->GetForUpdate(read_, db_->DefaultColumnFamily(), rocksdb::Slice(key.data(), key.size()),
                                            static_cast<std::string*>(nullptr), true, false);
      if (!status.IsTimedOut()) check(status);
      if ((i + 1) % locks_per_txn == 0) check(txn->Rollback());
    }
  }

 private:
  std::unique_ptr<rocksdb::TransactionDB> db_;
  rocksdb::ReadOptions read_;
  std::vector<std::unique_ptr<rocksdb::Transaction>> txns_;  // gone before db_
};

}  // namespace

std::unique_ptr<Contestant> make_rocksdb(std::size_t threads, const std::string& folder) {
  return std::make_unique<RocksDb>(threads, folder);
}

}  // namespace gordian::bench
