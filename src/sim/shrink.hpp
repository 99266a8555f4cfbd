// From a run that fails to a smaller one that fails in the same way: fewer kinds of faults, fewer clients, fewer steps.
#pragma once

#include "sim/world.hpp"

namespace gordian::sim {

struct Shrunk {
  Options options;  ///< stops at the failing step
  Result result;
  unsigned runs;  ///< that it took
};
/// `options` must fail; `limit`: at most so many runs. Cost: a run each, most of them shorter than the first.
[[nodiscard]] Shrunk shrink(Options options, unsigned limit = 100);

/// The command line that replays a run: "gordian sim --seed 7 --faults lossy --steps 1234".
[[nodiscard]] std::string replay_command(const Options& options);

}  // namespace gordian::sim
