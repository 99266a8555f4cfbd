// The mutation gate: the same sources with one safeguard switched off (see CMakeLists.txt). The observer must see a phantom or a
// wrong abort, which it knows nothing of switches to do.
#include <doctest/doctest.h>

#include "sim/world.hpp"

using namespace gordian::sim;

TEST_CASE("without " GORDIAN_MUTATED " somebody is aborted who should not be") {
  constexpr std::uint64_t seeds = 1'000;  // those that hold in the build without mutation: ctest "sim: seeds"
  std::uint64_t seed = 1;
  for (; seed <= seeds; ++seed) {
    const auto result = World({.seed = seed}).run();
    if (!result.violation) continue;
    MESSAGE("seed ", seed, ", step ", result.violation->step, ": ", result.violation->what);
    if (result.violation->property == 1) break;
  }
  CHECK(seed <= seeds);
}
