// Which charts a report has, and what is on them: those that the plan asks for, then those that every report has.
//
// A plan with more axes than a chart can show (x, and lines) gets one chart for each point of the others.
#pragma once

#include <vector>

#include "experiments/chart.hpp"
#include "experiments/runner.hpp"

namespace gordian::experiments {

inline constexpr std::size_t charts_max = 60;

struct Pictures {
  std::vector<Chart> charts;
  std::size_t left_out = 0;  ///< beyond charts_max
};
/// A plan without axes has none: its one cell is in the tables.
[[nodiscard]] Pictures pictures(const Outcome& outcome);

/// The axes that are to be chosen (strategy, timeout, period, …), as opposed to what is given (load, objects, …).
[[nodiscard]] std::vector<std::size_t> choices(const Plan& plan);

}  // namespace gordian::experiments
