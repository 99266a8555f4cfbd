// Random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64.
//
// No std distribution: those differ between libraries. No floating point.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace gordian::sim {

class Random {
 public:
  /// Streams of one seed are independent: what one of them is asked for never changes another.
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) {
    std::uint64_t x = seed * 0xd1342543de82ef95ULL + stream * 0x9e3779b97f4a7c15ULL + 1;
    for (auto& word : state_) word = splitmix(x);
  }

  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  /// 0 … `bound` − 1; `bound` is not 0. The bias is far below what a simulation could notice.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// `low` … `high`, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  /// True so many times out of a million.
  bool chance(std::uint32_t ppm) { return below(1'000'000) < ppm; }

 private:
  static std::uint64_t splitmix(std::uint64_t& x) {
    std::uint64_t z = (x += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  std::array<std::uint64_t, 4> state_;
};

}  // namespace gordian::sim
