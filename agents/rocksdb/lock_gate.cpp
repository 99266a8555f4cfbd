#include "rocksdb/lock_gate.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "rocksdb/waits.hpp"

namespace gordian::rocksdb_agent {
namespace {

using ::rocksdb::Status;

thread_local Branch* calling_branch = nullptr;

class Mutex final : public ::rocksdb::TransactionDBMutex {
 public:
  Status Lock() override {
    mutex.lock();
    return Status::OK();
  }
  /// A stripe is held for moments only: like RocksDB's own, this waits for it whatever the time, unless that is 0.
  Status TryLockFor(std::int64_t timeout_us) override {
    if (timeout_us != 0) return Lock();
    return mutex.try_lock() ? Status::OK() : Status::TimedOut(Status::SubCode::kMutexTimeout);
  }
  void UnLock() override { mutex.unlock(); }

  std::mutex mutex;
};

class CondVar final : public ::rocksdb::TransactionDBCondVar, public std::enable_shared_from_this<CondVar> {
 public:
  Status Wait(std::shared_ptr<::rocksdb::TransactionDBMutex> mutex) override { return WaitFor(std::move(mutex), -1); }

  /// TimedOut makes RocksDB try once more and then give up: any other failure would make it wait again.
  Status WaitFor(std::shared_ptr<::rocksdb::TransactionDBMutex> mutex, std::int64_t timeout_us) override {
    if (calling_branch != nullptr &&
        !calling_branch->waits.begins_to_wait(*calling_branch, {mutex, shared_from_this()}))
      return Status::TimedOut(Status::SubCode::kLockTimeout);
    std::unique_lock lock(static_cast<Mutex&>(*mutex).mutex, std::adopt_lock);
    bool in_time = true;
    if (timeout_us < 0)
      changed_.wait(lock);
    else
      in_time = changed_.wait_for(lock, std::chrono::microseconds(timeout_us)) == std::cv_status::no_timeout;
    lock.release();  // RocksDB goes on with it locked
    if (calling_branch != nullptr && calling_branch->condemned) in_time = false;
    return in_time ? Status::OK() : Status::TimedOut(Status::SubCode::kLockTimeout);
  }
  void Notify() override { changed_.notify_one(); }
  void NotifyAll() override { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

class Factory final : public ::rocksdb::TransactionDBMutexFactory {
 public:
  std::shared_ptr<::rocksdb::TransactionDBMutex> AllocateMutex() override { return std::make_shared<Mutex>(); }
  std::shared_ptr<::rocksdb::TransactionDBCondVar> AllocateCondVar() override { return std::make_shared<CondVar>(); }
};

}  // namespace

void Gate::wake() const {
  mutex->Lock();
  mutex->UnLock();
  changed->NotifyAll();
}

CallingFor::CallingFor(Branch& branch) noexcept { calling_branch = &branch; }
CallingFor::~CallingFor() { calling_branch = nullptr; }

std::shared_ptr<::rocksdb::TransactionDBMutexFactory> make_gates() { return std::make_shared<Factory>(); }

}  // namespace gordian::rocksdb_agent
