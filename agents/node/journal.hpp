// Group commit: takes records off the reactor's thread and puts them on disk, many at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lease/records.hpp"
#include "store/lock_state.hpp"

namespace spdlog {
class logger;
}

namespace gordian::node {

/// Thread-safe. Owns the file and one thread.
class Journal {
 public:
  /// `committed_more` is called on the journal's thread after each commit.
  Journal(store::LockState state, std::shared_ptr<spdlog::logger> log, std::function<void()> committed_more);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  /// Writes what was taken, and ends the thread.
  ~Journal();

  /// Returns at once.
  void take(std::vector<lease::Record> records);
  /// How many records are on disk, counted from the start. A disk that refuses keeps it where it is: nothing is answered then
  /// that is not durable; it is tried again every second.
  [[nodiscard]] std::uint64_t committed() const { return committed_.load(std::memory_order_acquire); }

  /// Waits until all that was taken is on disk; false: not within `longest`. It holds the caller up: for what is rare.
  [[nodiscard]] bool flush(std::chrono::milliseconds longest);

  /// Waits for what was taken, then says that the server stops.
  void stop(bool clean);
  [[nodiscard]] store::Result<std::vector<lease::AuditRecord>> audit(std::size_t limit);

 private:
  void run();

  const std::shared_ptr<spdlog::logger> log_;
  const std::function<void()> committed_more_;
  std::mutex state_mutex_;
  store::LockState state_;  // guarded by state_mutex_
  std::atomic<std::uint64_t> committed_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable written_;
  std::vector<lease::Record> records_;  // guarded by mutex_
  std::uint64_t taken_ = 0;             // guarded by mutex_
  bool stopping_ = false;               // guarded by mutex_
  std::thread thread_;
};

}  // namespace gordian::node
