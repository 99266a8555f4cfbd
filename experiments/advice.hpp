// In words what an experiment says: which setting to choose for which workload, what that costs, and what is not sure.
//
// Settings are compared by throughput with the same seeds (of an open system that keeps up, by response time). Those whose 95 %
// interval of the ratio to the best one includes 1 tie with it; of them the one with the fewest aborts is advised.
#pragma once

#include <string>
#include <vector>

#include "experiments/runner.hpp"

namespace gordian::experiments {

inline constexpr std::size_t situations_max = 24;  ///< with a paragraph of their own

/// Paragraphs, plain text. The first one sums up; then one for each workload that was run.
[[nodiscard]] std::vector<std::string> advice(const Outcome& outcome);

}  // namespace gordian::experiments
