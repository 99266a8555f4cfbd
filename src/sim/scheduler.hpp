// Virtual time: what happens next, and when. Events of one instant happen in the order in which they were planned.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace gordian::sim {

using Micros = std::int64_t;

class Scheduler {
 public:
  [[nodiscard]] Micros now() const { return now_; }
  /// How many events have happened.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

  /// Not before now. Cost: O(log events).
  void at(Micros when, std::function<void()> what) {
    events_.push_back({std::max(when, now_), ++planned_, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), later);
  }
  /// False if nothing is planned.
  bool run_one() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    ++steps_;
    event.what();
    return true;
  }

 private:
  struct Event {
    Micros at;
    std::uint64_t order;
    std::function<void()> what;
  };
  static bool later(const Event& a, const Event& b) { return std::pair(a.at, a.order) > std::pair(b.at, b.order); }

  Micros now_ = 1'000'000'000;  // some uptime: nothing may depend on a clock that starts at zero
  std::uint64_t steps_ = 0;
  std::uint64_t planned_ = 0;
  std::vector<Event> events_;
};

}  // namespace gordian::sim
