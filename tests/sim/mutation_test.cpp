// The mutation gate: the same sources with one safeguard switched off (see CMakeLists.txt). The observer must see a phantom or a
// wrong abort, which it knows nothing of switches to do.
#include <doctest/doctest.h>

#include "sim/shrink.hpp"
#include "sim/world.hpp"

using namespace gordian::sim;

TEST_CASE("without " GORDIAN_MUTATED " somebody is aborted who should not be") {
  constexpr std::uint64_t seeds =
      1'000;  // those that hold in the build without mutation: ctest "sim: the mutants' seeds"
  Options options{.seed = 0, .faults = "restless"};
  Result result;
  while (options.seed < seeds && !(result.violation && result.violation->property == 1)) {
    ++options.seed;
    result = World(options).run();
  }
  REQUIRE(result.violation);
  REQUIRE(result.violation->property == 1);
  MESSAGE("seed ", options.seed, ", step ", result.violation->step, ": ", result.violation->what);

  const auto small = shrink(options, 60);
  REQUIRE(small.result.violation);
  CHECK(small.result.violation->property == 1);
  CHECK(small.options.steps <= 2 * result.violation->step);
  MESSAGE("made small in ", small.runs, " runs: ", replay_command(small.options));
  const auto again = World(small.options).run();
  CHECK(again.steps == small.options.steps);
  CHECK(again.violation->what == small.result.violation->what);
}
