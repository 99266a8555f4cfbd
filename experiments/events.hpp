// What happens next in a model, and when. Plain values in one heap: nothing is allocated per event.
//
// sim/scheduler.hpp does the same for whole worlds, with a function for each event; a model has millions of events a second.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

namespace gordian::experiments {

/// Millionths of a unit.
using Ticks = std::int64_t;
inline constexpr double ticks_per_unit = 1e6;
inline Ticks ticks(double units) { return static_cast<Ticks>(units * ticks_per_unit + 0.5); }

struct Event {
  enum class Kind : std::uint8_t {
    submit,      ///< a terminal has thought
    arrival,     ///< an open system's next transaction
    restart,     ///< a victim has waited long enough
    step,        ///< a service step is over
    served,      ///< by a CPU or disk; `detail` is its pool
    request,     ///< a lock request reaches its site
    answer,      ///< its answer reaches the client
    deadline,    ///< of a wait; `detail` is the wait's number
    pause,       ///< the client stops
    lease_over,  ///< it has not renewed its lease
    pass,        ///< periodic detection
    message,     ///< between sites; `detail` says which
    tick,        ///< probes are due again
  };
  Ticks at;
  std::uint64_t order;
  std::uint32_t client;
  std::uint32_t life;  ///< of the client when it was planned: one who started again has another
  std::uint32_t detail;
  Kind kind;
};

class Events {
 public:
  [[nodiscard]] Ticks now() const { return now_; }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }

  /// Time passes and nothing happens.
  void skip_to(Ticks when) { now_ = std::max(now_, when); }
  /// Cost: O(log events).
  void at(Ticks when, Event::Kind kind, std::uint32_t client = 0, std::uint32_t life = 0, std::uint32_t detail = 0) {
    heap_.push_back({std::max(when, now_), ++planned_, client, life, detail, kind});
    std::ranges::push_heap(heap_, later);
  }
  /// There is one.
  [[nodiscard]] Ticks next_at() const { return heap_.front().at; }
  /// There is one.
  Event next() {
    std::ranges::pop_heap(heap_, later);
    const Event event = heap_.back();
    heap_.pop_back();
    now_ = event.at;
    return event;
  }

 private:
  static bool later(const Event& a, const Event& b) { return std::tie(a.at, a.order) > std::tie(b.at, b.order); }

  Ticks now_ = 0;
  std::uint64_t planned_ = 0;
  std::vector<Event> heap_;
};

}  // namespace gordian::experiments
