// CPUs and disks: pools of servers with one queue each, first come, first served.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "experiments/events.hpp"

namespace gordian::experiments {

/// Work for one client; void when the client's life is another one by then.
struct Job {
  std::uint32_t client;
  std::uint32_t life;
  Ticks time;
};

class Pool {
 public:
  explicit Pool(std::uint64_t servers) : free_(servers) {}

  /// True if a server takes it at once; else it is queued.
  bool take(const Job& job) {
    if (free_ > 0) {
      --free_, ++busy_;
      return true;
    }
    if (head_ > 1024 && head_ * 2 > queue_.size()) {
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
    queue_.push_back(job);
    return false;
  }
  /// A server is done. The job that it takes next, if there is one for which `stands(job)`.
  template <class Stands>
  std::optional<Job> next(Stands stands) {
    while (head_ < queue_.size())
      if (const Job job = queue_[head_++]; stands(job)) return job;
    queue_.clear();
    head_ = 0;
    ++free_, --busy_;
    return std::nullopt;
  }
  [[nodiscard]] std::uint64_t busy() const { return busy_; }

 private:
  std::uint64_t free_;
  std::uint64_t busy_ = 0;
  std::vector<Job> queue_;
  std::size_t head_ = 0;  ///< of the queue, in queue_
};

}  // namespace gordian::experiments
