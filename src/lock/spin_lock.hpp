// A lock of one word for sections of some nanoseconds. Spins a bounded time, then gives up its time slice: its owner may have
// been preempted. Not recursive; no fairness, for nobody waits long enough to need it. Lives in lock/ only.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

namespace gordian::lock {

class SpinLock {
 public:
  void lock() noexcept {
    if (taken_.exchange(1, std::memory_order_acquire) == 0) [[likely]]
      return;
    wait();
  }
  void unlock() noexcept { taken_.store(0, std::memory_order_release); }

 private:
  // A critical section takes less than 100 ns: who still waits after this many looks is waiting for a scheduler.
  static constexpr int looks_before_yield = 200;

  void wait() noexcept {
    do {
      for (int looks = 0; taken_.load(std::memory_order_relaxed) != 0; ++looks) {
        if (looks < looks_before_yield) {
          pause();
        } else {
          sched_yield();
        }
      }
    } while (taken_.exchange(1, std::memory_order_acquire) != 0);
  }
  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }

  std::atomic<std::uint32_t> taken_{0};
};

/// Holds a SpinLock for a scope, or until unlock().
class [[nodiscard]] Guard {
 public:
  explicit Guard(SpinLock& lock) noexcept : lock_(&lock) { lock.lock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    if (lock_ != nullptr) lock_->unlock();
  }
  void unlock() noexcept {
    lock_->unlock();
    lock_ = nullptr;
  }

 private:
  SpinLock* lock_;
};

}  // namespace gordian::lock
