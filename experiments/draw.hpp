// Random times and choices for a model, from the simulation's generator: the same on every machine that rounds alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "sim/random.hpp"

namespace gordian::experiments {

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t stream) : random_(seed, stream) {}

  /// 0 ≤ … < 1.
  double uniform() { return static_cast<double>(random_.next() >> 11) * 0x1p-53; }
  double exponential(double mean) { return -mean * std::log1p(-uniform()); }
  bool chance(double probability) { return uniform() < probability; }
  /// 0 … `bound` − 1.
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }
  /// Both included.
  std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }

 private:
  sim::Random random_;
};

}  // namespace gordian::experiments
