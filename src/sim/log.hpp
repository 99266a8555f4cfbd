// What happened, for people who replay a run, and a hash of it: the same seed gives the same hash, on every machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "sim/scheduler.hpp"

namespace gordian::sim {

class Log {
 public:
  using Sink =
      std::function<void(Micros since_start_us, std::uint64_t step, std::string_view who, std::string_view what)>;

  Log(const Scheduler& clock, Sink sink) : clock_(clock), sink_(std::move(sink)), start_us_(clock.now()) {}

  /// Whether lines are wanted: making one costs more than many a step.
  [[nodiscard]] bool wanted() const { return static_cast<bool>(sink_); }
  void line(std::string_view who, std::string_view what) {
    if (sink_) sink_(clock_.now() - start_us_, clock_.steps(), who, what);
  }
  /// Everything that happens goes into the hash, whether it is shown or not.
  void happened(std::uint64_t who, std::string_view bytes) {
    mix(static_cast<std::uint64_t>(clock_.now()));
    mix(who);
    for (const char c : bytes) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] Micros start_us() const { return start_us_; }

 private:
  void mix(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15ULL + (hash_ >> 32); }

  const Scheduler& clock_;
  Sink sink_;
  Micros start_us_;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace gordian::sim
